"""Decisions in a plan: handovers move to registers, policies change, all of it still computes the same, and can be taken back."""

from __future__ import annotations

import pytest
import torch

from mosaic.layouts.solver import ConflictError
from mosaic.stitch.decide import Decider
from mosaic.stitch.legality import Refusal
from mosaic.stitch.plan import Plan, Planner
from mosaic.stitch.swizzle import stages
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.limits import limits_of
from mosaic.targets.target import find
from mosaic.tiles.verify import verify
from tests.stitch.chains import feed_forward

SM_80 = find("sm_80")


@pytest.fixture(scope="module")
def planned() -> tuple[Planner, Plan]:
    """Planning is what takes time: one plan for all that do not change what the planner offers."""
    planner = Planner(feed_forward(), SM_80)
    return planner, planner.plan()


def decider(planner: Planner, **asked: str) -> Decider:
    """`__` in the name of a choice stands for the arrow of an edge."""
    return Decider(planner, limits_of(SM_80), {name.replace("__", " -> "): value for name, value in asked.items()})


def how(plan: Plan, producer: str, consumer: str) -> str:
    return next(e.how for e in plan.edges if (e.producer, e.consumer) == (producer, consumer))


def test_handovers_move_to_registers(planned: tuple[Planner, Plan]) -> None:
    planner, before = planned
    after, layouts = decider(planner, **{"memory[up__bias]": "register", "memory[bias__gelu]": "register"}).decide(before)
    assert how(before, "up", "bias") == "shared"
    assert how(after, "up", "bias") == "register"
    for choice in layouts.choices:
        done = how(after, choice.edge.producer, choice.edge.consumer)
        assert choice.memory == ("device" if done == "split" else done), choice.edge.name
    launch = next(launch for launch in after.launches if "up" in launch.nodes)
    verify(launch.program)
    assert any(buffer.scope == "local.fragment" for buffer in launch.program.buffers)


def test_stages_that_stay_are_swizzled(planned: tuple[Planner, Plan]) -> None:
    planner, before = planned
    after, layouts = decider(planner, **{"memory[up__bias]": "shared"}).decide(before)
    assert layouts.choice("up -> bias").swizzle == 128
    old, new = (next(launch for launch in plan.launches if "up" in launch.nodes) for plan in (before, after))
    assert "up_stage" in stages(old.program.func)
    assert "up_stage" not in stages(new.program.func), "it has its layout"
    plain, _ = decider(planner, **{"memory[up__bias]": "shared", "swizzle[up__bias]": "0"}).decide(before)
    assert "up_stage" in stages(next(launch for launch in plain.launches if "up" in launch.nodes).program.func)


def test_what_was_decided_computes_the_same(planned: tuple[Planner, Plan]) -> None:
    planner, before = planned
    after, _ = decider(planner).decide(before)
    draw = torch.Generator().manual_seed(1)
    for old, new in zip(before.launches, after.launches, strict=True):
        shapes = {p.name: [int(n) for n in p.shape] for p in old.program.params}
        inputs = {p.name: (torch.randn(shapes[p.name], generator=draw) * 0.1).half() for p in old.program.params if p.mode == "read"}
        results = []
        for program in (old.program, new.program):
            tensors = {p.name: inputs.get(p.name, torch.full(shapes[p.name], float("nan"), dtype=torch.float16)) for p in program.params}
            tensors = {name: tensor if name in inputs else tensor.clone() for name, tensor in tensors.items()}
            compile_cpu(program.func, poison=True)(*tensors.values())
            results.append({name: tensor for name, tensor in tensors.items() if name not in inputs})
        # What is handed over is rounded to float16 in either memory.
        assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_decision_can_be_taken_back(planned: tuple[Planner, Plan]) -> None:
    planner, plan = planned
    found = decider(planner)
    after, _ = found.decide(plan)
    launch = next(launch for launch in after.launches if "up" in launch.nodes)
    assert found.refuse(launch, Refusal("lowering", "the target refuses it"))
    again, layouts = found.decide(plan)
    assert how(again, "up", "bias") == layouts.choice("up -> bias").memory == "shared"
    same = next(launch for launch in again.launches if "up" in launch.nodes)
    assert not found.refuse(same, Refusal("lowering", "refused as it was planned"))


def test_what_the_user_asks_for_is_done(planned: tuple[Planner, Plan]) -> None:
    planner, plan = planned
    after, layouts = decider(planner, **{"memory[up__bias]": "shared", "policy[up]": "FullCol"}).decide(plan)
    assert how(after, "up", "bias") == layouts.choice("up -> bias").memory == "shared"
    launch = next(launch for launch in after.launches if "up" in launch.nodes)
    assert ("FullCol",) in {choice.policies for group in launch.groups for choice in group.recipe.choices}


def test_contradictions_are_said(planned: tuple[Planner, Plan]) -> None:
    planner, plan = planned
    found = decider(planner, **{"memory[up__bias]": "shared", "handover[up__bias]": "identity"})
    with pytest.raises(ConflictError, match="these 3 requirements contradict each other"):
        found.decide(plan)


def test_an_edge_asked_to_be_split_is_planned_apart() -> None:
    found = decider(Planner(feed_forward(), SM_80), **{"memory[bias__gelu]": "device"})
    after, layouts = found.decide(found.planner.plan())
    assert how(after, "bias", "gelu") == layouts.choice("bias -> gelu").handover == "split"
    owner = {node: launch.name for launch in after.launches for node in launch.nodes}
    assert owner["bias"] != owner["gelu"]


def test_a_processor_changes_nothing() -> None:
    device = find("cpu")
    planner = Planner(feed_forward(), device)
    before = planner.plan()
    after, _ = Decider(planner, limits_of(device)).decide(before)
    assert after.launches == before.launches
