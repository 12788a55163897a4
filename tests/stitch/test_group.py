"""Groups: searched once for each structure, built alike for each, refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tilelang.language as T

from mosaic.errors import KernelError
from mosaic.graph.graph import Graph
from mosaic.graph.kernel import kernel
from mosaic.stitch.group import Searcher
from mosaic.stitch.legality import Refusal
from mosaic.stitch.library import Library
from mosaic.stitch.plan import Planner
from mosaic.stitch.recipe import Group, Recipe
from mosaic.targets.target import find
from tests.stitch.graphs import constant, largest_error, linear, random_inputs, run_plan

CPU = find("cpu")


def two_layers() -> Graph:
    g = Graph("two")
    x = g.input("x", (48, 64), "float16")
    for layer in "ab":
        t = g.call("gemm_nt", x, constant(g, f"w{layer}", 64, 64), name=f"{layer}.product")
        x = g.call("bias", t, constant(g, f"b{layer}", 64), name=f"{layer}.bias")
    g.output(x)
    return g


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    graph = two_layers()
    return Searcher(graph, Library(graph), CPU)


def pair(searcher: Searcher, layer: str) -> Group | Refusal:
    return searcher.search([searcher.graph.node(f"{layer}.product"), searcher.graph.node(f"{layer}.bias")])


def test_a_group_reads_its_inputs_and_writes_its_output(searcher: Searcher) -> None:
    found = pair(searcher, "b")
    assert isinstance(found, Group)
    assert {p.name: p.mode for p in found.program.params} == {"a_bias": "read", "wb": "read", "bb": "read", "b_bias": "write"}
    (move,) = found.moves
    assert (move.producer, move.tensors) == ("b.product", ("b.product",))
    assert move.recompute == 1


def test_like_groups_share_a_recipe_and_differ_in_names(searcher: Searcher) -> None:
    # the first layer's input is the graph's, the second's is made by a node: the same program
    first, second = pair(searcher, "a"), pair(searcher, "b")
    assert isinstance(first, Group)
    assert isinstance(second, Group)
    assert first.recipe == second.recipe
    assert first.program.name != second.program.name


def test_a_recipe_of_other_nodes_does_not_fit(searcher: Searcher) -> None:
    found = pair(searcher, "a")
    assert isinstance(found, Group)
    swapped = Recipe(tuple(reversed(found.recipe.choices)), found.recipe.threads)
    with pytest.raises(KernelError):
        searcher.build([searcher.graph.node(n) for n in found.nodes], swapped)


def test_what_was_refused_is_not_offered_again() -> None:
    graph = linear()
    searcher = Searcher(graph, Library(graph), CPU)
    nodes = [graph.node("product"), graph.node("biased")]
    said = Refusal("lowering", "no")
    recipes = []
    while isinstance(found := searcher.search(nodes), Group):
        recipes.append(found.recipe.choices)
        searcher.refuse(found, said)
    assert found == said
    assert len(set(recipes)) == len(recipes) > 1


def test_blocks_that_fit_no_device_are_refused() -> None:
    graph = linear()
    searcher = Searcher(graph, Library(graph), replace(find("sm_80"), shared_per_block=2048))
    found = searcher.search([graph.node("product")])
    assert isinstance(found, Refusal)
    assert found.check == "on-chip-limits"


def test_a_consumer_of_small_tiles_takes_several_of_them() -> None:
    """The product's tile is larger than any the consumer can be asked for: one block runs several of the consumer's."""

    @kernel(
        inputs={"x": "M N : float16"}, outputs={"y": "M N : float16"}, tunables={"block": (16, 32)}, reference=lambda x: x + x
    )  # fmt: skip
    def twice(M: int, N: int, block: int = 16) -> object:
        @T.prim_func
        def main(x: T.Tensor((M, N), "float16"), y: T.Tensor((M, N), "float16")) -> None:
            with T.Kernel(T.ceildiv(N, block), T.ceildiv(M, block), threads=128) as (bx, by):
                for i, j in T.Parallel(block, block):
                    y[by * block + i, bx * block + j] = x[by * block + i, bx * block + j] + x[by * block + i, bx * block + j]

        return main

    g = Graph("fine")
    x = g.input("x", (200, 96), "float16")
    g.output(g.call(twice, g.call("gemm_nt", x, constant(g, "w", 136, 96), name="product"), name="twice"))
    searcher = Searcher(g, Library(g), CPU)
    nodes = [g.node("product"), g.node("twice")]
    alone = [searcher.search([node]) for node in nodes]
    group = searcher.search(nodes, [part for part in alone if isinstance(part, Group)])
    assert isinstance(group, Group)
    assert max(group.recipe.choices[-1].coarse) > 1
    assert group.cost.seconds < min(g.cost.seconds for g in [searcher.search(nodes)] if isinstance(g, Group))
    plan = Planner(g, replace(CPU, launch_seconds=1.0)).plan()
    inputs = random_inputs(g)
    assert largest_error(g, inputs, run_plan(plan, inputs)) < 1e-2
