"""Problems as tables: every entry is what the functions say, and no value is removed that a solution has."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings

from mosaic.layouts.constraints import Problem
from mosaic.layouts.factors import TICKS, Factor, Tables, added, network
from mosaic.layouts.linear import LayoutError
from tests.layouts.problems import assignments, nanoseconds, problems


@settings(max_examples=300, deadline=None)
@given(problems())
def test_the_network_says_what_the_problem_says(problem: Problem) -> None:
    found = network(problem)
    legal = [a for a in assignments(problem) if not problem.violated(a)]
    if found.dead is not None:
        assert legal == []
        return
    numbers = [{value: place for place, value in enumerate(domain)} for domain in found.domains]
    for assignment in assignments(problem):
        if any(assignment[name] not in known for name, known in zip(found.names, numbers, strict=True)):
            assert assignment not in legal, "a value was removed that a solution has"
            continue
        places = [numbers[position][assignment[name]] for position, name in enumerate(found.names)]
        total = found.constant + sum(float(f.values[tuple(places[v] for v in f.scope)]) for f in found.factors)
        wanted = nanoseconds(problem, assignment) * 1000.0 if assignment in legal else math.inf
        assert total == wanted


@settings(max_examples=100, deadline=None)
@given(problems())
def test_one_factor_a_scope(problem: Problem) -> None:
    found = network(problem)
    if found.dead is None:
        scopes = [factor.scope for factor in found.factors]
        assert len(set(scopes)) == len(scopes)
        assert all(list(scope) == sorted(set(scope)) for scope in scopes)
        assert not any(len(found.domains[variable]) == 1 for scope in scopes for variable in scope)


def test_a_sum_and_a_minimum() -> None:
    first = Factor((0, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double())
    second = Factor((1,), torch.tensor([10.0, 20.0, 30.0]).double())
    total = added([first, second], (0, 1, 2), [2, 3, 2])
    for a, b, c in itertools.product(range(2), range(3), range(2)):
        assert float(total.values[a, b, c]) == float(first.values[a, c]) + float(second.values[b])
    assert total.minimum([0, 2]).values.tolist() == [[11.0, 12.0], [13.0, 14.0]]
    assert total.minimum([1]).values.tolist() == [11.0, 21.0, 31.0]
    assert float(total.minimum([]).values) == 11.0


def test_a_function_is_asked_once_for_equal_domains() -> None:
    asked = []

    def seconds(value: int) -> float:
        asked.append(value)
        return value / TICKS

    problem = Problem()
    for number in range(5):
        problem.choose(f"x{number}", (1, 2, 3) if number else (1, 2))
        problem.minimise(f"c{number}", "conversion", (f"x{number}",), seconds)
    tables = Tables()
    network(problem, tables)
    network(problem, tables)
    assert asked == [1, 2, 1, 2, 3]


@pytest.mark.parametrize("cost", [-1e-9, math.inf, math.nan])
def test_a_cost_that_is_no_time(cost: float) -> None:
    problem = Problem()
    problem.choose("x", (0, 1))
    problem.minimise("bad", "conversion", ("x",), lambda x: cost if x else 0.0)
    with pytest.raises(LayoutError, match="bad is negative or not finite"):
        network(problem)


def test_what_is_removed_removes_more() -> None:
    """A chain of equalities whose ends differ: no value is left anywhere."""
    problem = Problem()
    for number in range(6):
        problem.choose(f"x{number}", (0, 1))
    for number in range(5):
        problem.require(f"equal{number}", "agreement", (f"x{number}", f"x{number + 1}"), lambda a, b: a == b, "equal")
    assert network(problem).dead is None
    problem.pin("x0", 0, "zero")
    assert list(network(problem).domains) == [(0,)] * 6
    problem.pin("x5", 1, "one")
    assert network(problem).dead is not None
