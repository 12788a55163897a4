"""Branch and bound: the least sum when it may finish, a true bound whenever it may not."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, settings

from mosaic.layouts.constraints import Problem
from mosaic.layouts.factors import Factor, network
from mosaic.layouts.search import MINI, Budget, _matched, search
from tests.layouts.problems import brute_force, on_edges, problems, sparse

LONG = 10**9


@settings(max_examples=400, deadline=None)
@given(problems())
def test_the_least_sum_with_bounds_of_any_quality(problem: Problem) -> None:
    found = network(problem)
    wanted = brute_force(problem)
    if found.dead is not None:
        return
    for mini in (1, 16, MINI):
        result = search(found.factors, found.sizes, Budget(LONG), mini=mini)
        if wanted is None:
            assert result.values is None
            assert result.bound == math.inf
        else:
            assert result.values is not None
            assert found.constant + result.cost == found.constant + result.bound == wanted * 1000.0
            total = sum(float(f.values[tuple(result.values[v] for v in f.scope)]) for f in found.factors)
            assert total == result.cost


@settings(max_examples=300, deadline=None)
@given(problems(least=0.6))
def test_stopped_early_it_bounds_the_truth(problem: Problem) -> None:
    found = network(problem)
    wanted = brute_force(problem)
    if found.dead is not None or wanted is None:
        return
    for steps in (0, 1, 3):
        result = search(found.factors, found.sizes, Budget(steps), mini=4)
        assert found.constant + result.bound <= wanted * 1000.0
        if result.values is not None:
            assert found.constant + result.cost >= wanted * 1000.0


def test_more_steps_never_worsen_what_is_known() -> None:
    found = network(on_edges(sparse, 90, 3, seed=4))
    previous = search(found.factors, found.sizes, Budget(0), mini=64)
    for steps in (100, 1_000, 10_000):
        result = search(found.factors, found.sizes, Budget(steps), mini=64)
        assert previous.bound <= result.bound <= result.cost <= previous.cost
        previous = result


def test_parts_that_share_nothing_add_up() -> None:
    """Ten copies of a ring of three: each is searched alone, so this takes tens of steps and not thousands."""
    rng = random.Random(0)
    ring = [torch.tensor([[float(rng.randrange(100)) for _ in range(3)] for _ in range(3)]).double() for _ in range(3)]
    factors = []
    for copy in range(10):
        a, b, c = 3 * copy, 3 * copy + 1, 3 * copy + 2
        factors += [Factor((a, b), ring[0]), Factor((b, c), ring[1]), Factor((a, c), ring[2])]
    least = min(float(ring[0][a, b] + ring[1][b, c] + ring[2][a, c]) for a in range(3) for b in range(3) for c in range(3))
    budget = Budget(LONG)
    result = search(factors, [3] * 30, budget, mini=1)
    assert (result.cost, result.bound) == (10 * least, 10 * least)
    assert budget.used < 10 * 40


@pytest.mark.parametrize("seed", range(20))
def test_shifting_costs_keeps_their_sum(seed: int) -> None:
    rng = random.Random(seed)

    def entry() -> float:
        return math.inf if rng.random() < 0.15 else float(rng.randrange(50))

    tables = [
        Factor((0, other), torch.tensor([[entry() for _ in range(3)] for _ in range(4)]).double()) for other in range(1, rng.randint(2, 4))
    ]
    shifted = _matched(tables, 0, [4, 3, 3, 3])
    for x in range(4):
        for places in range(3 ** len(tables)):
            digits = [places // 3**position % 3 for position in range(len(tables))]
            before = sum(float(table.values[x, d]) for table, d in zip(tables, digits, strict=True))
            after = sum(float(table.values[x, d]) for table, d in zip(shifted, digits, strict=True))
            assert before == after
    marginals = [table.minimum([0]).values for table in shifted]
    assert all(bool(((m - marginals[0]).abs() <= len(tables)).logical_or(torch.isinf(m)).all()) for m in marginals)
