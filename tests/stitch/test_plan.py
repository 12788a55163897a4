"""Plans: what joins, what stays apart and why, what is planned around, and that the result computes the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mosaic.errors import KernelError
from mosaic.graph.graph import Graph
from mosaic.graph.kernel import kernel
from mosaic.stitch.legality import Refusal
from mosaic.stitch.plan import Plan, Planner, plan
from mosaic.targets.target import Target, find
from tests.stitch.graphs import constant, feed_forward, largest_error, linear, random_inputs, run_plan, siblings

CPU = find("cpu")
HOPPER = find("sm_90a")
PATIENT = replace(CPU, launch_seconds=1.0)
"""A device on which one launch less always pays."""


@pytest.fixture(scope="module")
def chain() -> tuple[Graph, Plan]:
    graph = feed_forward()
    return graph, plan(graph, PATIENT)


def test_a_chain_becomes_one_launch(chain: tuple[Graph, Plan]) -> None:
    graph, made = chain
    assert len(made.launches) == 1
    assert made.launches[0].nodes == tuple(n.name for n in graph.nodes)
    assert made.bytes_between() == 0
    assert {e.how for e in made.edges} == {"shared"}


def test_the_fused_chain_computes_the_same(chain: tuple[Graph, Plan]) -> None:
    graph, made = chain
    inputs = random_inputs(graph)
    assert largest_error(graph, inputs, run_plan(made, inputs)) < 5e-3


def test_nothing_is_fused_that_does_not_pay() -> None:
    graph = feed_forward()
    made = plan(graph, replace(CPU, launch_seconds=0.0, bandwidth=1e15))
    assert len(made.launches) > 1
    split = [e for e in made.edges if e.how == "split"]
    assert split
    assert all(e.reason.startswith("cost: together") for e in split)


def test_unfused_every_node_is_a_launch() -> None:
    graph = feed_forward()
    made = plan(graph, CPU, fuse=False)
    assert [launch.nodes for launch in made.launches] == [(n.name,) for n in graph.nodes]
    assert made.bytes_between() == graph.bytes_between()
    inputs = random_inputs(graph)
    assert largest_error(graph, inputs, run_plan(made, inputs)) < 5e-3


def test_independent_kernels_share_a_launch() -> None:
    graph = siblings()
    made = plan(graph, PATIENT)
    assert [set(launch.nodes) for launch in made.launches] == [{"left", "right"}]
    inputs = random_inputs(graph)
    assert largest_error(graph, inputs, run_plan(made, inputs)) < 5e-3


def test_what_is_refused_later_is_planned_otherwise() -> None:
    graph = linear()
    planner = Planner(graph, PATIENT)
    seen = []
    for _ in range(8):
        made = planner.plan()
        largest = max(made.launches, key=lambda launch: len(launch.nodes))
        seen.append(len(made.launches))
        if len(largest.nodes) == 1:
            break
        planner.refuse(largest, Refusal("lowering", "the target says no"))
    assert seen[0] == 1
    assert seen[-1] > 1
    assert any("the target says no" in e.reason for e in made.edges)
    inputs = random_inputs(graph)
    assert largest_error(graph, inputs, run_plan(made, inputs)) < 5e-3


def test_launches_side_by_side_can_be_refused() -> None:
    graph = siblings()
    planner = Planner(graph, PATIENT)
    planner.refuse(planner.plan().launches[0], Refusal("lowering", "no"))
    assert len(planner.plan().launches) == 2


def test_an_intermediate_that_is_an_output_is_still_written() -> None:
    g = Graph("kept")
    x = g.input("x", (40, 64), "float16")
    product = g.call("gemm_nt", x, constant(g, "w", 64, 64), name="product")
    g.output(product, g.call("bias", product, constant(g, "b", 64), name="biased"))
    made = plan(g, PATIENT)
    assert len(made.launches) == 1
    inputs = random_inputs(g)
    found = run_plan(made, inputs)
    assert set(found) == {"product", "biased"}
    assert largest_error(g, inputs, found) < 5e-3


def test_a_path_through_another_kernel_is_no_cycle() -> None:
    """a -> b -> c and a -> c, where b can't be inlined anywhere: a and c must not become one."""

    g = Graph("diamond")
    x = g.input("x", (64, 64), "float16")
    a = g.call("relu", x, name="a")
    b = g.call("transpose", a, name="b")
    g.output(g.call("add", a, b, name="c"))
    made = plan(g, PATIENT)
    inputs = random_inputs(g)
    assert largest_error(g, inputs, run_plan(made, inputs)) < 5e-3


def test_the_same_layers_share_a_key() -> None:
    g = Graph("layers")
    x = g.input("x", (32, 64), "float16")
    for layer in range(3):
        x = g.call("gemm_nt", x, constant(g, f"w{layer}", 64, 64), name=f"l{layer}.product")
        x = g.call("relu", x, name=f"l{layer}.relu")
        x = g.view(g.view(x, (2048,)), (32, 64))  # a view keeps the layers apart
    g.output(g.call("relu", x, name="last"))
    planner = Planner(g, PATIENT)
    made = planner.plan()
    assert len(made.launches) == 4
    assert len({planner.key(launch) for launch in made.launches}) == 2
    inputs = random_inputs(g)
    assert largest_error(g, inputs, run_plan(made, inputs)) < 5e-3


@pytest.mark.parametrize("target", [CPU, HOPPER, find("gfx942")], ids=lambda t: t.name)
def test_every_target_has_a_plan(target: Target) -> None:
    made = plan(linear(rows=1024), target)
    assert 1 <= len(made.launches) <= 3
    assert made.seconds <= made.unfused_seconds
    for launch in made.launches:
        assert target.kind == "cpu" or launch.program.shared_bytes < target.shared_per_block


def test_a_kernel_without_valid_tunables_is_named() -> None:
    @kernel(
        inputs={"x": "N : float32"},
        outputs={"y": "N : float32"},
        tunables={"block": (32,)},
        reference=torch.relu,
        valid=lambda block: False,
    )
    def never_valid(N: int, block: int = 32) -> None:
        raise AssertionError("is never built")

    g = Graph("impossible")
    g.output(g.call(never_valid, g.input("x", (8,), "float32"), name="node"))
    with pytest.raises(KernelError, match=r"no tunables of 'node' fit this device"):
        plan(g, CPU)
