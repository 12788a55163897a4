"""Groups: searched once for each structure, built alike for each, refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.errors import KernelError
from mosaic.graph.graph import Graph
from mosaic.stitch.group import Group, Recipe, Searcher
from mosaic.stitch.legality import Refusal
from mosaic.stitch.library import Library
from mosaic.targets.target import find
from tests.stitch.graphs import constant, linear

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
