"""Cores: minimal and smallest against every subset of the constraints, and what is said of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings

from mosaic.layouts.conflict import core, explain
from mosaic.layouts.constraints import Problem
from mosaic.layouts.solver import ConflictError, satisfiable
from tests.layouts.problems import assignments, problems


def possible(problem: Problem, names: set[str]) -> bool:
    chosen = [problem.constraints[name] for name in names]
    return any(all(c.holds(*(a[v] for v in c.scope)) for c in chosen) for a in assignments(problem))


@settings(max_examples=600, deadline=None)
@given(problems(costs=False, least=0.05))
def test_a_core_is_the_smallest(problem: Problem) -> None:
    names = list(problem.constraints)
    if possible(problem, set(names)):
        with pytest.raises(ValueError, match="can be satisfied"):
            core(problem)
        return
    found, smallest = core(problem)
    chosen = {c.name for c in found}
    assert not possible(problem, chosen)
    for name in chosen:
        assert possible(problem, chosen - {name}), "a constraint could be left out"
    assert smallest
    least = next(
        size for size in range(len(names) + 1) for subset in itertools.combinations(names, size) if not possible(problem, set(subset))
    )
    # Parts that share no variable are looked at in turn: the first that contradicts itself is the one explained.
    assert len(chosen) >= least
    if _connected(problem):
        assert len(chosen) == least
    assert [c.name for c in found] == [name for name in names if name in chosen]


def _connected(problem: Problem) -> bool:
    scopes = [set(c.scope) for c in problem.constraints.values()]
    reached = scopes.pop(0)
    while True:
        touching = [scope for scope in scopes if scope & reached]
        if not touching:
            return not scopes
        scopes = [scope for scope in scopes if not scope & reached]
        reached.update(*touching)


def test_among_many_constraints_a_minimal_core_is_found() -> None:
    """200 constraints in a ring that all agree, and two pins at its ends."""
    problem = Problem()
    for number in range(200):
        problem.choose(f"x{number}", (0, 1, 2))
    for number in range(199):
        problem.require(f"e{number}", "agreement", (f"x{number}", f"x{number + 1}"), lambda a, b: a == b, "neighbours agree")
    problem.pin("x40", 0, "the first wants 0")
    problem.pin("x60", 1, "the second wants 1")
    found, smallest = core(problem)
    assert {c.name for c in found} == {"x40=0", "x60=1", *(f"e{number}" for number in range(40, 60))}
    assert not smallest  # more constraints than a smallest core is searched among


def test_given_constraints_do_not_count() -> None:
    problem = Problem()
    problem.choose("x", (0, 1))
    problem.pin("x", 0, "zero")
    problem.pin("x", 1, "one")
    assert [c.name for c in core(problem, given=["x=0"])[0]] == ["x=1"]
    assert core(problem, given=["x=0", "x=1"]) == ((), True)


def test_it_is_said_in_words() -> None:
    problem = Problem()
    problem.choose("policy[scores]", ("FullRow", "Square"))
    problem.choose("memory[scores]", ("register", "shared"))
    problem.require("rows", "agreement", ("policy[scores]", "memory[scores]"), lambda p, m: (p, m) != ("Square", "register"), "rows agree")
    problem.pin("policy[scores]", "Square", "the author annotates Square")
    problem.pin("memory[scores]", "register", "the author wants registers")
    assert not satisfiable(problem)
    error = explain(problem)
    assert isinstance(error, ConflictError)
    assert [c.kind for c in error.constraints] == ["agreement", "annotation", "annotation"]
    text = str(error)
    for part in ("these 3 requirements contradict each other", "the author annotates Square", "rows agree", "FullRow, Square"):
        assert part in text
    assert "\n" not in text
    single = Problem()
    single.choose("threads", (128, 256))
    single.pin("threads", 96, "the author wants 96 threads")
    assert str(explain(single)).startswith("no choice satisfies this requirement: the author wants 96 threads")
