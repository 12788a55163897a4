"""A problem as tables: for each scope, the cost of every combination of values, infinite where a hard constraint is broken.

Costs are whole picoseconds in float64, so that their sums are exact (up to 2**53 ps, two and a half hours) and do not depend on
the order of addition: what is equal is equal, and what is least is least.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from mosaic.layouts.constraints import Problem, Value
from mosaic.layouts.linear import LayoutError

TICKS: Final = 1e12
"""Ticks a second: costs are rounded to picoseconds."""

INFINITY: Final = math.inf


@dataclass(frozen=True, eq=False)
class Factor:
    """A function of the variables numbered `scope`, in ascending order: float64, a dim for each, in ticks."""

    scope: tuple[int, ...]
    values: torch.Tensor

    def expanded(self, scope: Sequence[int]) -> torch.Tensor:
        """Its values with dims for all of a larger ascending scope, those it does not have of size 1."""
        if len(scope) == len(self.scope):
            return self.values
        sizes = iter(self.values.shape)
        mine = set(self.scope)
        return self.values.reshape([next(sizes) if variable in mine else 1 for variable in scope])

    def minimum(self, keep: Sequence[int]) -> Factor:
        """Minimised over all variables but those in `keep`, an ascending part of the scope."""
        kept = set(keep)
        dims = [axis for axis, variable in enumerate(self.scope) if variable not in kept]
        return Factor(tuple(keep), self.values.amin(dims) if dims else self.values)


def added(factors: Iterable[Factor], scope: Sequence[int], sizes: Sequence[int]) -> Factor:
    """The sum of factors as one over `scope`, which holds all of their scopes; every dim in full size."""
    total = torch.zeros([sizes[variable] for variable in scope], dtype=torch.float64)
    for factor in factors:
        total += factor.expanded(scope)
    return Factor(tuple(scope), total)


@dataclass
class Network:
    """A problem ready to be solved: names and the values left of each variable, and at most one factor for each scope.

    constant: ticks that every solution costs. `dead`: a variable that has no value left, if there is one.
    """

    names: tuple[str, ...]
    domains: list[tuple[Value, ...]]
    factors: list[Factor]
    constant: float = 0.0
    dead: str | None = None

    @property
    def sizes(self) -> list[int]:
        return [len(domain) for domain in self.domains]


class Tables:
    """Evaluates functions over domains, each function over the same domains once; can be kept for several problems with like parts."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, tuple[tuple[Value, ...], ...]], torch.Tensor] = {}
        self._alive: list[Any] = []  # numbers of objects are only theirs while they live

    def of(self, name: str, function: Callable[..., Any], domains: tuple[tuple[Value, ...], ...], *, hard: bool) -> torch.Tensor:
        """The table of a constraint or cost. Raises LayoutError for a cost that is negative or not finite."""
        key = id(function), domains
        if key not in self._found:
            rows = [function(*values) for values in itertools.product(*domains)]
            if not hard and not all(math.isfinite(row) and row >= 0 for row in rows):
                raise LayoutError(f"the cost {name} is negative or not finite for some values")
            ticks = [0.0 if row else INFINITY for row in rows] if hard else [float(round(row * TICKS)) for row in rows]
            self._found[key] = torch.tensor(ticks, dtype=torch.float64).reshape([len(domain) for domain in domains])
            self._alive.append(function)
        return self._found[key]


def network(problem: Problem, tables: Tables | None = None) -> Network:
    """The problem as tables, with the values removed that no constraint alone allows, again and again (arc consistency)."""
    tables = tables or Tables()
    names = tuple(problem.variables)
    number = {name: position for position, name in enumerate(names)}
    domains = [variable.domain for variable in problem.variables.values()]
    by_scope: dict[tuple[int, ...], torch.Tensor] = {}
    parts: list[tuple[str, Callable[..., Any], tuple[str, ...], bool]]
    parts = [(c.name, c.holds, c.scope, True) for c in problem.constraints.values()]
    parts += [(c.name, c.seconds, c.scope, False) for c in problem.costs.values()]
    for name, function, scope, hard in parts:
        places = [number[variable] for variable in scope]
        table = tables.of(name, function, tuple(domains[place] for place in places), hard=hard)
        order = sorted(range(len(places)), key=places.__getitem__)
        key = tuple(places[axis] for axis in order)
        table = table.permute(order)
        by_scope[key] = by_scope[key] + table if key in by_scope else table
    constant = float(by_scope.pop((), torch.tensor(0.0)))
    found = Network(names, domains, [Factor(scope, values) for scope, values in by_scope.items()], constant)
    if constant == INFINITY:
        found.dead = names[0] if names else ""
        return found
    return _consistent(found)


def _consistent(found: Network) -> Network:
    """Remove values that some factor allows in no combination of the values that are left of its other variables."""
    allowed = [torch.ones(size, dtype=torch.bool) for size in found.sizes]
    limiting = [bool(torch.isinf(factor.values).any()) for factor in found.factors]
    touching: list[list[int]] = [[] for _ in found.names]
    for position, factor in enumerate(found.factors):
        if limiting[position]:
            for variable in factor.scope:
                touching[variable].append(position)
    waiting = deque(position for position, limits in enumerate(limiting) if limits)
    queued = set(waiting)
    while waiting:
        position = waiting.popleft()
        queued.discard(position)
        factor = found.factors[position]
        values = factor.values
        for axis, variable in enumerate(factor.scope):
            if not bool(allowed[variable].all()):
                values = values.index_select(axis, allowed[variable].nonzero().flatten())
        for axis, variable in enumerate(factor.scope):
            others = [other for other in range(values.ndim) if other != axis]
            least = values.amin(others) if others else values
            gone = torch.isinf(least)
            if not bool(gone.any()):
                continue
            left = allowed[variable].nonzero().flatten()
            allowed[variable][left[gone]] = False
            if bool(gone.all()):
                found.dead = found.names[variable]
                return found
            values = values.index_select(axis, (~gone).nonzero().flatten())
            for other in touching[variable]:
                if other not in queued:
                    queued.add(other)
                    waiting.append(other)
    return _restricted(found, allowed)


def _restricted(found: Network, allowed: Sequence[torch.Tensor]) -> Network:
    """The network over the values that are left; of a variable with one value only the factor's part for that value is kept."""
    kept = [mask.nonzero().flatten() for mask in allowed]
    whole = [bool(mask.all()) for mask in allowed]
    domains = [tuple(domain[place] for place in places.tolist()) for domain, places in zip(found.domains, kept, strict=True)]
    single = [len(domain) == 1 for domain in domains]
    by_scope: dict[tuple[int, ...], torch.Tensor] = {}
    for factor in found.factors:
        values = factor.values
        for axis, variable in enumerate(factor.scope):
            if not whole[variable]:
                values = values.index_select(axis, kept[variable])
        scope = tuple(variable for variable in factor.scope if not single[variable])
        if len(scope) < len(factor.scope):
            values = values.reshape([len(domains[variable]) for variable in scope])
        by_scope[scope] = by_scope[scope] + values if scope in by_scope else values
    constant = found.constant + float(by_scope.pop((), torch.tensor(0.0)))
    return Network(found.names, domains, [Factor(scope, values) for scope, values in by_scope.items()], constant)
