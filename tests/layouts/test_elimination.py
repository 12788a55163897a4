"""Bucket elimination against every assignment; and how much of a graph it eliminates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from mosaic.layouts.constraints import Problem
from mosaic.layouts.elimination import eliminate
from mosaic.layouts.factors import network
from tests.layouts.problems import assignments, brute_force, chain, ladder, nanoseconds, on_edges, problems, series_parallel, sparse, tree


@settings(max_examples=500, deadline=None)
@given(problems())
def test_least_cost_and_the_assignment_that_has_it(problem: Problem) -> None:
    found = network(problem)
    wanted = brute_force(problem)
    if found.dead is not None:
        assert wanted is None
        return
    result = eliminate(found)
    assert result.left == []
    assert result.constant == (math.inf if wanted is None else wanted * 1000.0)
    if wanted is not None:
        numbers = result.extend({})
        values = {name: found.domains[position][numbers[position]] for position, name in enumerate(found.names)}
        assert problem.violated(values) == []
        assert nanoseconds(problem, values) == wanted


@settings(max_examples=300, deadline=None)
@given(problems(least=0.6))
def test_marginals_of_every_value(problem: Problem) -> None:
    found = network(problem)
    if found.dead is not None or brute_force(problem) is None:
        return
    result = eliminate(found)
    marginals = result.marginals()
    for position, name in enumerate(found.names):
        for place, value in enumerate(found.domains[position]):
            every = [nanoseconds(problem, a) for a in assignments(problem) if a[name] == value and not problem.violated(a)]
            given_value = marginals.get(position, [result.constant] * len(found.domains[position]))[place]
            assert given_value == (min(every) * 1000.0 if every else math.inf)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_a_limit_leaves_factors_with_the_same_minimum(problem: Problem) -> None:
    """What is left and what was eliminated together still cost what the problem costs."""
    found = network(problem)
    if found.dead is not None:
        return
    result = eliminate(found, limit=6)
    assert all(math.prod(bucket.table.values.shape) <= 6 for bucket in result.buckets)
    best = math.inf
    rest = result.rest
    for places in _places([found.sizes[variable] for variable in rest]):
        chosen = dict(zip(rest, places, strict=True))
        total = result.constant + sum(float(f.values[tuple(chosen[v] for v in f.scope)]) for f in result.left)
        best = min(best, total)
    wanted = brute_force(problem)
    assert best == (math.inf if wanted is None else wanted * 1000.0)


def _places(sizes: list[int]) -> list[tuple[int, ...]]:
    places: list[tuple[int, ...]] = [()]
    for size in sizes:
        places = [(*place, value) for place in places for value in range(size)]
    return places


@pytest.mark.parametrize("shape", [chain, tree, series_parallel, ladder])
def test_graphs_like_trees_stay_small(shape: object) -> None:
    """Series-parallel graphs have width 2 and these ladders 4: no table needs more dims than that and one."""
    result = eliminate(network(on_edges(shape, 300, 3, seed=1)))  # type: ignore[arg-type]
    assert result.left == []
    most = {chain: 2, tree: 2, series_parallel: 3, ladder: 5}[shape]  # type: ignore[index]
    assert max(len(bucket.table.scope) for bucket in result.buckets) <= most


def test_a_wide_graph_is_left_where_it_is_wide() -> None:
    found = network(on_edges(sparse, 300, 3, seed=1))
    result = eliminate(found, limit=3**5)
    assert 0 < len(result.rest) < len(found.names)
    concerned = {variable for factor in found.factors for variable in factor.scope}
    assert len(result.rest) + len(result.buckets) == len(concerned)
