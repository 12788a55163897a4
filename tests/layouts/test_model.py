"""The problem of a graph: its variables and constraints, and that each constraint forbids what it says and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.layouts.facts import Edge, Facts, Limits
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.model import build, instruction_of
from mosaic.layouts.places import Place
from mosaic.layouts.solver import satisfiable, solve
from tests.layouts.samples import AMPERE, CPU, GPUS, HOPPER, attention, feed_forward


def test_every_choice_has_its_variable() -> None:
    problem = build(feed_forward(AMPERE))
    for name in ("threads[gelu]", "tile[gelu]", "stages[gelu]", "policy[up]", "instruction[up]", "order[up]", "swap[up]"):
        assert name in problem.variables
    for edge in ("up -> bias", "bias -> gelu", "gelu -> down"):
        for what in ("memory", "handover", "source", "target", "swizzle"):
            assert f"{what}[{edge}]" in problem.variables
    kinds = {constraint.kind for constraint in problem.constraints.values()}
    assert {"registers", "shared memory", "coverage", "agreement", "instruction", "legality"} <= kinds
    assert {cost.kind for cost in problem.costs.values()} == {
        "conversion",
        "occupancy",
        "vector width",
        "device memory",
        "compute",
    }


@pytest.mark.parametrize("limits", [*GPUS, CPU])
def test_splitting_everything_is_always_possible(limits: Limits) -> None:
    facts = feed_forward(AMPERE)
    problem = build(replace(facts, limits=limits))
    for edge in facts.edges:
        problem.pin(f"memory[{edge.name}]", "device", "everything through device memory")
    assert satisfiable(problem)


def test_the_handover_is_what_layouts_and_memory_make_it() -> None:
    """Every solution, by hand: of a split nothing is said of registers; in registers it is the conversion's class."""
    problem = build(attention(AMPERE))
    class_of = problem.constraints["class[scores -> out]"]
    c = next(p for p in problem.variables["source[scores -> out]"].domain if isinstance(p, Place) and "4x1" in str(p))
    a = next(p for p in problem.variables["target[scores -> out]"].domain if isinstance(p, Place) and "4x1" in str(p))
    other = next(p for p in problem.variables["target[scores -> out]"].domain if isinstance(p, Place) and "1x4" in str(p))
    assert class_of.holds("permute", "register", c, a)
    assert not class_of.holds("identity", "register", c, a)
    assert class_of.holds("shared", "register", c, other)
    assert class_of.holds("split", "device", c, other)
    assert not class_of.holds("split", "register", c, a)
    assert class_of.holds("shared", "shared", c, a)


def test_a_policy_says_where_c_lies() -> None:
    problem = build(attention(AMPERE))
    rule = problem.constraints["source[scores -> out]"]
    places = {str(place): place for place in problem.variables["source[scores -> out]"].domain}
    assert rule.holds(places["C of mma over 4x1 warps"], "FullRow", 128)
    assert not rule.holds(places["C of mma over 4x1 warps"], "FullCol", 128)
    assert rule.holds(places["C of mma over 1x4 warps"], "FullCol", 128)


def test_instructions() -> None:
    assert instruction_of("mma", "float16", 64) == "mma.k16"
    assert instruction_of("mma", "float16", 8) == "mma.k8"
    assert instruction_of("mfma", "float16", 64) == "mfma.k16"
    assert instruction_of("wgmma", "float8", 64) == "wgmma.k32"
    assert instruction_of(None, "float16", 64) == "loops"


def test_limits_bind() -> None:
    """Without room in registers tiles lie in shared memory; without room there, in registers; without either they are split."""
    facts = feed_forward(HOPPER)
    edges = ("up -> bias", "bias -> gelu")
    few = replace(HOPPER, registers_per_thread=65_536 // (4 * 256))  # what the product's own accumulator takes
    little = replace(HOPPER, shared_per_block=50_000)
    for limits, wanted in ((HOPPER, "register"), (few, "shared"), (little, "register"), (replace(few, shared_per_block=50_000), "device")):
        found = solve(build(replace(facts, limits=limits)))
        assert {found[f"memory[{edge}]"] for edge in edges} == {wanted}


def test_swizzles_must_fit_the_rows() -> None:
    edge = Edge("a -> b", "t", "a", "b", 1 << 20, "gelu", 64, 32, 2, memories=("shared",), swizzles=(0, 32, 64, 128))
    facts = replace(feed_forward(AMPERE), edges=(edge,))
    rule = build(facts).constraints["aligned[a -> b]"]
    assert [rule.holds(mode) for mode in (0, 32, 64, 128)] == [True, True, True, False]  # rows of 64 bytes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"products": (replace(feed_forward(AMPERE).products[0], group="absent"),)}, "group absent, which there is not"),
        ({"edges": (replace(feed_forward(AMPERE).edges[0], source="absent"),)}, "about absent, which there is not"),
        ({"annotations": {"policy[absent]": "Square"}}, r"no choice called policy\[absent\]"),
    ],
)
def test_facts_that_make_no_sense(change: dict[str, object], said: str) -> None:
    facts: Facts = replace(feed_forward(AMPERE), **change)  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match=said):
        build(facts)
