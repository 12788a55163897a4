"""Layout plans: what is decided for known graphs, why, what contradicts what, and how long it takes."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from mosaic.layouts.atoms import relabel
from mosaic.layouts.facts import Limits
from mosaic.layouts.layout import Layout
from mosaic.layouts.plan import kinds, plan_layouts, without_annotations
from mosaic.layouts.solver import ConflictError
from tests.layouts.samples import AMPERE, CPU, GPUS, HOPPER, MI300X, attention, feed_forward, layers


@pytest.mark.parametrize("limits", GPUS)
def test_attention_keeps_its_weights_in_registers(limits: Limits) -> None:
    plan = plan_layouts(attention(limits))
    (choice,) = plan.choices
    assert choice.handover in ("identity", "permute")
    assert choice.memory == "register"
    assert plan.policy(plan.facts.products[0]) == plan.policy(plan.facts.products[1])
    assert choice.seconds == 0


def test_policies_are_chosen_for_the_conversion_and_not_for_one_product() -> None:
    """Squares read the fewest operands from shared memory, but their warps would have to exchange the scores."""
    facts = attention(AMPERE)
    plan = plan_layouts(facts)
    assert plan.policy(facts.products[0]) == "FullRow"
    asked = plan_layouts(replace(facts, annotations={"policy[scores]": "Square", "policy[out]": "Square"}))
    assert asked.choices[0].handover == "shared"
    assert asked.solution.seconds > plan.solution.seconds


@pytest.mark.parametrize(("dtype", "limits"), [("float8", AMPERE), ("tfloat32", AMPERE), ("int8", AMPERE)])
def test_a_static_weight_is_laid_out_for_the_conversion(dtype: str, limits: Limits) -> None:
    """fp8, tf32 and int8 accumulators shuffle to become the next A, unless the contraction runs in their own order."""
    rows = {"policy[scores]": "FullRow", "policy[out]": "FullRow"}
    fixed = plan_layouts(attention(limits, dtype=dtype, annotations=rows))
    assert fixed.choices[0].handover == "shuffle"
    free = plan_layouts(attention(limits, dtype=dtype, reorders=True))
    assert free.choices[0].handover in ("identity", "permute")
    assert free.reordered(free.facts.products[1])
    assert free.solution.seconds < fixed.solution.seconds


@pytest.mark.parametrize("limits", GPUS)
def test_epilogues_follow_the_accumulator(limits: Limits) -> None:
    plan = plan_layouts(feed_forward(limits))
    up, bias, down = plan.choices
    assert (up.handover, up.memory) == ("identity", "register")
    assert up.source == up.target == bias.source
    assert (down.handover, down.memory) == ("split", "device")
    assert plan.reason(down) == "recompute: it would be computed 32 times"
    assert plan.solution.optimal
    assert kinds(plan.choices)["split"] == 1


def test_a_processor_has_no_layouts_to_choose() -> None:
    plan = plan_layouts(replace(feed_forward(CPU), annotations={}))
    assert plan.instruction(plan.facts.products[0]) == "loops"
    assert plan.solution.optimal


def test_a_split_is_explained_by_what_forces_it() -> None:
    explanation = plan_layouts(feed_forward(HOPPER)).explain("gelu -> down")
    assert [constraint.name for constraint in explanation.forced] == ["recompute[gelu -> down]"]
    assert "computed 32 times" in explanation.forced[0].sentence
    assert {o.value: o.is_possible for o in explanation.memories} == {"shared": False, "device": True}


def test_a_split_for_want_of_room_names_both_limits() -> None:
    small = replace(HOPPER, shared_per_block=50_000, registers_per_thread=65_536 // (4 * 256))
    plan = plan_layouts(feed_forward(small))
    explanation = plan.explain("up -> bias")
    assert explanation.choice.memory == "device"
    assert {constraint.kind for constraint in explanation.forced} >= {"shared memory", "registers"}
    # Without any one of them it could stay on the chip.
    for constraint in explanation.forced:
        relaxed = plan.problem.without({constraint.name})
        relaxed.require("kept", "agreement", ("memory[up -> bias]",), lambda memory: memory != "device", "on the chip")
        from mosaic.layouts.solver import satisfiable

        assert satisfiable(relaxed)


def test_a_split_that_only_pays_says_what_would_make_the_other_cheaper() -> None:
    """Converting a large tile often costs more than device memory when nothing is to be moved there."""
    facts = feed_forward(HOPPER)
    edge = replace(facts.edges[0], memories=("shared",), runs=2000, tensor_bytes=1024)
    plan = plan_layouts(replace(facts, edges=(edge,)))
    explanation = plan.explain("up -> bias")
    assert explanation.choice.memory == "device"
    assert explanation.forced == ()
    on_chip = next(o for o in explanation.memories if o.value == "shared")
    assert on_chip.is_possible
    assert on_chip.seconds > plan.solution.seconds


def test_alternatives_cost_what_solving_with_them_costs() -> None:
    facts = feed_forward(AMPERE)
    plan = plan_layouts(facts)
    for option in plan.explain("bias -> gelu").memories:
        asked = plan_layouts(replace(facts, annotations={"memory[bias -> gelu]": str(option.value)}))
        assert asked.solution.seconds == pytest.approx(option.seconds, rel=1e-9)


# What contradicts itself


def test_an_annotation_against_the_instruction() -> None:
    """The author says that C of a 4x1 product lies as its transpose would."""
    facts = attention(AMPERE)
    plan = plan_layouts(facts)
    layout = plan.choices[0].source.layout
    assert layout is not None
    square = replace(facts, products=tuple(replace(p, policies=("FullRow",)) for p in facts.products))
    turned = Layout.from_table(layout.inputs, layout.outputs, layout.to_table().flip(0).roll(1, 1))
    with pytest.raises(ConflictError) as caught:
        plan_layouts(replace(square, layouts={"scores -> out": turned}))
    assert {constraint.kind for constraint in caught.value.constraints} == {"annotation", "instruction"}
    assert "instruction, policy and threads say where" in str(caught.value)
    assert plan_layouts(without_annotations(square)).solution.optimal


def test_the_instructions_own_layout_may_be_given() -> None:
    facts = attention(AMPERE)
    layout = plan_layouts(facts).choices[0].source.layout
    assert layout is not None
    given = plan_layouts(replace(facts, layouts={"scores -> out": relabel(layout, {})}))
    assert str(given.choices[0].source) == "the given layout of scores -> out"
    assert given.choices[0].handover in ("identity", "permute")


def test_a_layout_that_is_not_injective() -> None:
    facts = attention(AMPERE)
    layout = plan_layouts(facts).choices[0].source.layout
    assert layout is not None
    table = layout.to_table().clone()
    table[1] = table[0]  # two registers hold the same element
    doubled = Layout.from_table(layout.inputs, layout.outputs, table)
    with pytest.raises(ConflictError) as caught:
        plan_layouts(replace(facts, layouts={"scores -> out": doubled}))
    assert len(caught.value.constraints) == 2
    assert caught.value.smallest
    assert {c.kind for c in caught.value.constraints} <= {"annotation", "coverage", "instruction"}


def test_limits_that_nothing_satisfies() -> None:
    """One kernel's own tiles do not fit: no choice helps."""
    facts = attention(replace(AMPERE, shared_per_block=30_000))
    with pytest.raises(ConflictError) as caught:
        plan_layouts(facts)
    assert [constraint.name for constraint in caught.value.constraints] == ["shared[attention]"]
    assert "fit 30,000 bytes of shared memory" in str(caught.value)


def test_what_is_asked_for_is_contradicted_in_words() -> None:
    facts = replace(
        feed_forward(AMPERE), annotations={"memory[up -> bias]": "shared", "handover[up -> bias]": "identity", "policy[up]": "Square"}
    )
    with pytest.raises(ConflictError) as caught:
        plan_layouts(facts)
    names = {constraint.name for constraint in caught.value.constraints}
    assert names == {"class[up -> bias]", "memory[up -> bias]=shared", "handover[up -> bias]=identity"}
    assert "\n" not in str(caught.value)


# How long it takes


def test_layers_that_repeat_are_quick() -> None:
    """24 layers, 96 edges: less than 0.2 s, since what is alike is tabled once."""
    facts = layers(MI300X, 24)
    plan_layouts(layers(MI300X, 1))
    start = time.process_time()
    plan = plan_layouts(facts)
    elapsed = time.process_time() - start
    assert plan.solution.optimal
    assert len(plan.choices) == 96
    assert elapsed < 2.0


def test_the_same_at_every_run() -> None:
    first, second = (plan_layouts(layers(AMPERE, 3)) for _ in range(2))
    assert dict(first.solution.values) == dict(second.solution.values)
    assert torch.is_tensor(torch.tensor(first.solution.seconds))
