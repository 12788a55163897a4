"""The solver: optimal against every assignment and against Z3, quick on a thousand edges, honest about what it has not proven."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from mosaic.layouts.constraints import Problem
from mosaic.layouts.elimination import eliminate
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.solver import ConflictError, alternatives, satisfiable, solve
from tests.layouts.problems import (
    NANOSECOND,
    Edges,
    assignments,
    brute_force,
    chain,
    ladder,
    nanoseconds,
    on_edges,
    problems,
    random_problem,
    series_parallel,
    sparse,
    tree,
)

Shape = Callable[[int, random.Random], tuple[int, Edges]]


def check(problem: Problem, **settings: Any) -> None:
    wanted = brute_force(problem)
    if wanted is None:
        with pytest.raises(ConflictError):
            solve(problem, **settings)
        assert not satisfiable(problem)
        return
    found = solve(problem, **settings)
    assert problem.violated(found.values) == []
    assert nanoseconds(problem, found.values) == wanted
    assert found.optimal
    assert found.seconds == found.bound == pytest.approx(wanted * NANOSECOND, abs=1e-15)
    assert satisfiable(problem)


@pytest.mark.parametrize("seed", range(10))
def test_optimal_on_thousands_of_small_problems(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(400):
        check(random_problem(rng, variables=5))


@settings(max_examples=300, deadline=None)
@given(problems())
def test_optimal_where_most_is_searched(problem: Problem) -> None:
    check(problem, limit=1, mini=4)
    check(problem, limit=8, mini=8)


@settings(max_examples=200, deadline=None)
@given(problems(least=0.6))
def test_alternatives_are_the_best_with_each_value(problem: Problem) -> None:
    if brute_force(problem) is None:
        with pytest.raises(ConflictError):
            alternatives(problem)
        return
    legal = [a for a in assignments(problem) if not problem.violated(a)]
    for name, options in alternatives(problem).items():
        assert [option.value for option in options] == list(problem.variables[name].domain)
        for option in options:
            every = [nanoseconds(problem, a) for a in legal if a[name] == option.value]
            assert option.exact
            assert option.is_possible == bool(every)
            if every:
                assert option.seconds == pytest.approx(min(every) * NANOSECOND, abs=1e-15)


def test_alternatives_where_not_all_is_eliminated(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = on_edges(sparse, 24, 3, seed=2)
    by_marginals = alternatives(problem)
    monkeypatch.setattr("mosaic.layouts.solver.eliminate", lambda found, limit=4, otherwise=None: eliminate(found, limit=min(limit, 4)))
    assert alternatives(problem) == by_marginals


@pytest.mark.parametrize("shape", [chain, tree, series_parallel, ladder])
def test_a_thousand_edges_in_less_than_two_seconds(shape: Shape) -> None:
    problem = on_edges(shape, 1000, 5, seed=7)
    start = time.process_time()
    found = solve(problem)
    elapsed = time.process_time() - start
    assert found.optimal
    assert problem.violated(found.values) == []
    assert elapsed < 10.0


def test_a_thousand_edges_that_are_too_wide() -> None:
    """It stops when told, with a solution, and a bound that is not trivial."""
    problem = on_edges(sparse, 1000, 4, seed=7)
    start = time.process_time()
    found = solve(problem, seconds=1.2)
    elapsed = time.process_time() - start
    assert elapsed < 10.0
    assert problem.violated(found.values) == []
    assert found.seconds == pytest.approx(problem.seconds(found.values), rel=1e-9)
    assert not found.optimal
    assert 0.7 * found.seconds < found.bound < found.seconds


def test_the_bound_of_a_stopped_search_is_true() -> None:
    problem = on_edges(sparse, 60, 3, seed=11)
    best = solve(problem)
    assert best.optimal
    for steps in (0, 10, 100):
        found = solve(problem, steps=steps, limit=1, mini=9)
        assert found.bound <= best.seconds <= found.seconds
        assert found.optimal == (found.bound == found.seconds)


def test_the_same_answer_at_every_run() -> None:
    for problem in (on_edges(sparse, 150, 3, seed=3), on_edges(ladder, 200, 4, seed=3)):
        answers = [solve(problem, steps=500) for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]


def test_the_first_of_equal_values_is_taken() -> None:
    problem = Problem()
    for name in ("a", "b", "c"):
        problem.choose(name, ("first", "second"))
    problem.minimise("none", "conversion", ("a", "b"), lambda a, b: 0.0)
    assert dict(solve(problem).values) == {"a": "first", "b": "first", "c": "first"}


def test_nothing_found_in_time_is_said() -> None:
    """A colouring with three colours that local search does not find, and that no single constraint refuses."""
    rng = random.Random(5)
    hidden = [rng.randrange(3) for _ in range(80)]
    problem = Problem()
    for node in range(80):
        problem.choose(f"x{node}", range(3))
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < 190:
        a, b = sorted(rng.sample(range(80), 2))
        if hidden[a] != hidden[b]:
            pairs.add((a, b))
    for a, b in sorted(pairs):
        problem.require(f"{a}-{b}", "agreement", (f"x{a}", f"x{b}"), lambda p, q: p != q, "different colours")
    with pytest.raises(LayoutError, match="no solution was found in 1 steps"):
        solve(problem, steps=1, limit=27, mini=27)
    assert satisfiable(problem, steps=1)  # what can't be told counts as possible


@pytest.mark.parametrize("seed", range(6))
def test_z3_finds_nothing_better(seed: int) -> None:
    z3 = pytest.importorskip("z3")
    problem = on_edges(sparse, 10, 3, seed=seed)
    optimize = z3.Optimize()
    variables = {name: z3.Int(name) for name in problem.variables}
    for name, variable in problem.variables.items():
        optimize.add(variables[name] >= 0, variables[name] < len(variable.domain))
    total = []
    for constraint in problem.constraints.values():
        a, b = (variables[name] for name in constraint.scope)
        for x in range(3):
            for y in range(3):
                if not constraint.holds(x, y):
                    optimize.add(z3.Or(a != x, b != y))
    for cost in problem.costs.values():
        a, b = (variables[name] for name in cost.scope)
        for x in range(3):
            for y in range(3):
                total.append(z3.If(z3.And(a == x, b == y), round(cost.seconds(x, y) / NANOSECOND), 0))
    optimize.minimize(z3.Sum(total))
    assert optimize.check() == z3.sat
    model = optimize.model()
    theirs = {name: model[variable].as_long() if model[variable] is not None else 0 for name, variable in variables.items()}
    found = solve(problem)
    assert found.optimal
    assert problem.violated(theirs) == []
    assert nanoseconds(problem, found.values) == nanoseconds(problem, theirs)


def test_an_empty_problem() -> None:
    assert solve(Problem()).seconds == 0.0
    problem = Problem()
    problem.require("never", "agreement", (), lambda: False, "never")
    with pytest.raises(ConflictError):
        solve(problem)
    assert math.isinf(alternatives(_one_of_two())["x"][1].seconds)


def _one_of_two() -> Problem:
    problem = Problem()
    problem.choose("x", (0, 1))
    problem.pin("x", 0, "zero")
    return problem
