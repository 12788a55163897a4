"""The least-cost solution of a `Problem`: exact, or the best that was found with a bound on how much better another could be.

First values that no constraint alone allows are removed (`factors`), then variables are eliminated one by one while tables stay small
(`elimination`), which on graphs like chains, trees and series-parallel ones is all of them. What is left is searched (`search`).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from mosaic.layouts.constraints import Constraint, Problem, Value
from mosaic.layouts.elimination import LIMIT, Elimination, eliminate
from mosaic.layouts.factors import INFINITY, TICKS, Network, Tables, network
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.search import MINI, Budget, search

STEPS: Final = 200_000
"""Nodes of the search tree that are looked at before the search gives its best so far."""


class ConflictError(LayoutError):
    """No assignment satisfies all constraints; `constraints` are some that together nothing satisfies, of which none can be left out."""

    def __init__(self, message: str, constraints: tuple[Constraint, ...] = (), *, smallest: bool = False) -> None:
        super().__init__(message)
        self.constraints = constraints
        self.smallest = smallest


@dataclass(frozen=True)
class Solution:
    """An assignment, its cost in seconds, and a lower bound on that of every other.

    optimal: the bound is the cost. steps: nodes of the search tree looked at, 0 if everything was eliminated.
    """

    values: Mapping[str, Value]
    seconds: float
    bound: float
    optimal: bool
    steps: int

    def __getitem__(self, name: str) -> Value:
        return self.values[name]


def solve(
    problem: Problem,
    *,
    seconds: float | None = None,
    steps: int = STEPS,
    limit: int = LIMIT,
    mini: int = MINI,
    tables: Tables | None = None,
) -> Solution:
    """The best assignment of all variables.

    It stops searching after `steps` nodes, which gives the same answer at every run, or after `seconds` by the clock, which may not.
    limit, mini: entries of the largest tables of the elimination and of the search's bounds. Of solutions that cost the same it is always
    the same one. Raises ConflictError if there is none (`conflict.explain` finds the constraints to blame), LayoutError if none was found
    in time.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    found = network(problem, tables)
    if found.dead is not None:
        raise ConflictError(f"nothing is left for {found.dead} that all constraints allow")
    # What is searched is looked at entry by entry, so its factors had better be small.
    eliminated = eliminate(found, limit=limit, otherwise=mini)
    if eliminated.constant == INFINITY:
        raise ConflictError("no assignment satisfies all constraints")
    budget = Budget(steps, deadline)
    rest = search(eliminated.left, found.sizes, budget, mini=mini)
    if rest.values is None:
        if rest.bound == INFINITY:
            raise ConflictError("no assignment satisfies all constraints")
        raise LayoutError(f"no solution was found in {budget.used:,} steps; give the search more of them, or more time")
    numbers = eliminated.extend(rest.values)
    values = {name: found.domains[position][numbers[position]] for position, name in enumerate(found.names)}
    cost, bound = eliminated.constant + rest.cost, eliminated.constant + rest.bound
    return Solution(values, cost / TICKS, bound / TICKS, rest.cost == rest.bound, budget.used)


def satisfiable(problem: Problem, *, steps: int = STEPS, tables: Tables | None = None) -> bool:
    """Whether some assignment satisfies all constraints, of any cost. What can't be told in `steps` counts as satisfiable."""
    try:
        solve(problem.only(problem.constraints), steps=steps, tables=tables)
    except ConflictError:
        return False
    except LayoutError:
        return True
    return True


@dataclass(frozen=True)
class Alternative:
    """A value of a variable, and the cost in seconds of the best solution that has it: infinite if there is none.

    exact: it is that; otherwise a solution of this cost is known and there may be a better one.
    """

    value: Value
    seconds: float
    exact: bool = True

    @property
    def is_possible(self) -> bool:
        return self.seconds != INFINITY


def alternatives(
    problem: Problem, names: Collection[str] | None = None, *, steps: int = STEPS // 20, tables: Tables | None = None
) -> dict[str, tuple[Alternative, ...]]:
    """For each variable of `names` (all without them) and each value of its domain, the best cost with everything else chosen anew.

    Where all variables can be eliminated, two passes give all of them at once; else each value is solved for, in `steps`.
    """
    wanted = tuple(problem.variables) if names is None else tuple(names)
    tables = tables or Tables()
    found = network(problem, tables)
    if found.dead is not None:
        raise ConflictError(f"nothing is left for {found.dead} that all constraints allow")
    eliminated = eliminate(found)
    if not eliminated.left:
        return _by_marginals(problem, wanted, found, eliminated)
    return {name: tuple(_pinned(problem, name, value, steps, tables) for value in problem.variables[name].domain) for name in wanted}


def _by_marginals(problem: Problem, wanted: Collection[str], found: Network, eliminated: Elimination) -> dict[str, tuple[Alternative, ...]]:
    marginals = eliminated.marginals()
    result = {}
    for position, name in enumerate(found.names):
        if name not in wanted:
            continue
        left = found.domains[position]
        # A variable that no factor is about any more costs the same with each of its values.
        costs = marginals.get(position, [eliminated.constant] * len(left))
        known = dict(zip(left, costs, strict=True))
        result[name] = tuple(Alternative(value, known.get(value, INFINITY) / TICKS) for value in problem.variables[name].domain)
    return result


def _pinned(problem: Problem, name: str, value: Value, steps: int, tables: Tables) -> Alternative:
    try:
        best = solve(problem.with_domains({name: (value,)}), steps=steps, tables=tables)
    except ConflictError:
        return Alternative(value, INFINITY)
    except LayoutError:
        return Alternative(value, INFINITY, exact=False)
    return Alternative(value, best.seconds, best.optimal)
