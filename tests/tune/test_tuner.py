"""The fastest of what is tried is taken, for all launches that are alike; a refused recipe is taken back; a tuning can be used again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from mosaic.errors import InputError, TargetError
from mosaic.graph import reference
from mosaic.pipeline import fuse
from mosaic.stitch.plan import Plan, Planner
from mosaic.targets.target import find
from mosaic.tiles.program import TileProgram
from mosaic.tune import tuner as module
from mosaic.tune.tuner import Tuner
from mosaic.tune.tuning import Tuning
from mosaic.tune.workers import Answer, Workers
from tests.stitch.graphs import linear, siblings

HOPPER = find("sm_90a")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[TileProgram], Answer]], list[int]]:
    """Lets a test say how long a program takes; gives the sizes of the batches that were timed."""

    def install(seconds: Callable[[TileProgram], Answer]) -> list[int]:
        batches: list[int] = []

        class Fake(Workers):
            def time(self, programs: Sequence[TileProgram], ranges: object, progress: object = None) -> list[Answer]:
                batches.append(len(programs))
                return [seconds(program) for program in programs]

        monkeypatch.setattr(module, "Workers", Fake)
        return batches

    return install


def planned() -> tuple[Planner, Plan]:
    planner = Planner(linear(2048, 512), HOPPER)
    return planner, planner.plan()


def blocks(program: TileProgram) -> Answer:
    """A clock by which few blocks are fast."""
    return (program.blocks * 1e-9,) * 3


def test_the_fastest_is_taken_and_the_rest_is_kept(clock: Callable[[Callable[[TileProgram], Answer]], list[int]]) -> None:
    batches = clock(blocks)
    planner, plan = planned()
    tuned, tuning = Tuner(planner, HOPPER).tune(plan)
    (found,) = tuning.launches
    assert found.seconds == min(trial.seconds for trial in found.trials)
    assert tuned.launches[0].program.blocks * 1e-9 == pytest.approx(found.seconds)
    assert tuned.launches[0].nodes == plan.launches[0].nodes
    assert found.trials[0].recipe == plan.launches[0].groups[0].recipe
    assert batches[-1] <= module.CONFIRMED
    assert len(batches) <= module.ROUNDS + 1


def test_what_does_not_run_is_not_taken(clock: Callable[[Callable[[TileProgram], Answer]], list[int]]) -> None:
    clock(lambda _: "it crashed")
    planner, plan = planned()
    tuned, tuning = Tuner(planner, HOPPER).tune(plan)
    assert tuned.launches[0].groups[0].recipe == plan.launches[0].groups[0].recipe
    assert {trial.failure for trial in tuning.launches[0].trials} == {"it crashed"}


def test_a_refused_recipe_is_taken_back_without_timing_again(clock: Callable[[Callable[[TileProgram], Answer]], list[int]]) -> None:
    batches = clock(lambda program: (1e-3 / program.blocks,) * 3)  # by which the plan's own is not the fastest
    planner, plan = planned()
    tuner = Tuner(planner, HOPPER)
    tuned, _ = tuner.tune(plan)
    count = len(batches)
    taken = tuned.launches[0].groups[0].recipe
    assert taken != plan.launches[0].groups[0].recipe
    assert tuner.refuse(tuned.launches[0])
    again, _ = tuner.tune(plan)
    assert again.launches[0].groups[0].recipe != taken
    assert len(batches) == count


def test_groups_that_are_faster_apart_are_launches_of_their_own(clock: Callable[[Callable[[TileProgram], Answer]], list[int]]) -> None:
    clock(lambda program: ((1e-6 if "_and_" not in program.name else 1e-4),) * 3)
    planner = Planner(siblings(512, 256), HOPPER)
    plan = planner.plan()
    assert [len(launch.groups) for launch in plan.launches] == [2]
    tuned, tuning = Tuner(planner, HOPPER).tune(plan)
    assert tuning.launches[0].apart
    assert sorted(launch.nodes for launch in tuned.launches) == [("left",), ("right",)]
    other = Planner(siblings(512, 256), HOPPER)
    again, _ = Tuner(other, HOPPER, known=tuning).tune(other.plan())
    assert [launch.groups[0].recipe for launch in again.launches] == [launch.groups[0].recipe for launch in tuned.launches]


def test_a_tuning_of_another_plan_is_refused() -> None:
    planner, plan = planned()
    with pytest.raises(InputError, match="says nothing of launch"):
        Tuner(planner, HOPPER, known=Tuning("a card", ())).tune(plan)


def test_a_recipe_that_does_not_fit_is_refused(clock: Callable[[Callable[[TileProgram], Answer]], list[int]]) -> None:
    clock(blocks)
    planner, plan = planned()
    _, tuning = Tuner(planner, HOPPER).tune(plan)
    (launch,) = tuning.launches
    wrong = replace(launch, taken=replace(launch.taken, choices=(replace(launch.taken.choices[0], depth=7), *launch.taken.choices[1:])))
    with pytest.raises(InputError, match="does not fit its kernels"):
        Tuner(planner, HOPPER, known=replace(tuning, launches=(wrong,))).tune(plan)


def test_a_tuned_graph_is_right_and_its_tuning_serves_again() -> None:
    """With real processes and times, on this machine."""
    graph = linear(16, 32)
    fused = fuse(graph, "cpu", tune=True)
    assert fused.tuning is not None
    assert {report.status for report in fused.reports.values()} == {"pass"}
    inputs = {"x": torch.randn(graph.tensors["x"].shape, generator=torch.Generator().manual_seed(0)).half()}
    wanted = reference.run(graph, inputs, precision="float64")
    for name, found in fused.run(inputs).items():
        assert torch.allclose(found.double(), wanted[name], atol=0.05)
    again = fuse(graph, "cpu", tune=fused.tuning, check=False)
    assert [lowered.source for lowered in again.lowered] == [lowered.source for lowered in fused.lowered]


def test_nothing_is_timed_for_a_target_that_is_not_here() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(TargetError, match="tune there"):
        fuse(linear(), "sm_90a", tune=True)
