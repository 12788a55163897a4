"""Topological order, cycles and convexity, against enumeration."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from mosaic.graph.order import find_cycle, is_convex, topological_order


@st.composite
def digraphs(draw: st.DrawFn) -> list[list[int]]:
    """For each of up to 7 nodes the nodes before it; any graph, with cycles, repeated edges and loops."""
    count = draw(st.integers(0, 7))
    return [draw(st.lists(st.integers(0, count - 1), max_size=3)) for _ in range(count)]


@st.composite
def acyclic_digraphs(draw: st.DrawFn) -> list[list[int]]:
    """The same without cycles; the numbers are an order."""
    return [draw(st.lists(st.integers(0, node - 1), max_size=3)) if node else [] for node in range(draw(st.integers(1, 8)))]


def reaches(before: list[list[int]]) -> set[tuple[int, int]]:
    """All pairs (a, b) with a path of at least one edge from a to b."""
    paths = {(earlier, node) for node, nodes in enumerate(before) for earlier in nodes}
    for middle, a, b in itertools.product(range(len(before)), repeat=3):
        if (a, middle) in paths and (middle, b) in paths:
            paths.add((a, b))
    return paths


@given(st.one_of(digraphs(), acyclic_digraphs()))
def test_an_order_or_a_cycle(before: list[list[int]]) -> None:
    order, cycle = topological_order(before), find_cycle(before)
    if any((node, node) in reaches(before) for node in range(len(before))):
        assert order is None
        assert len(set(cycle)) == len(cycle) > 0
        assert all(earlier in before[later] for earlier, later in zip(cycle, cycle[1:] + cycle[:1], strict=True))
    else:
        assert cycle == ()
        assert order is not None
        assert sorted(order) == list(range(len(before)))
        position = {node: index for index, node in enumerate(order)}
        assert all(position[earlier] < position[node] for node, nodes in enumerate(before) for earlier in nodes)
        smallest = next(p for p in itertools.permutations(range(len(before))) if all(p.index(a) < p.index(b) for a, b in reaches(before)))
        assert order == smallest  # permutations come in lexicographic order


@example([[], [0], [1], [2]], {0, 3})  # a path that stays outside for two nodes
@given(acyclic_digraphs(), st.sets(st.integers(0, 7)))
def test_convexity_is_that_no_path_returns(before: list[list[int]], group: set[int]) -> None:
    paths, order = reaches(before), range(len(before))
    inside = group & set(order)
    returns = any((a, x) in paths and (x, b) in paths for a in inside for b in inside for x in set(order) - inside)
    names = [str(node) for node in order]
    named = {str(node): [str(earlier) for earlier in nodes] for node, nodes in enumerate(before)}
    assert is_convex(names, named, {str(node) for node in inside}) is not returns


def test_deep_graphs_need_no_deep_stack() -> None:
    chain = [[], *([node] for node in range(100_000))]
    assert topological_order(chain) == tuple(range(100_001))
    assert find_cycle(chain) == ()
    ring = [[100_000], *chain[1:]]
    assert len(find_cycle(ring)) == 100_001
