"""Branch and bound for what is too wide to eliminate: depth first, with bounds from mini-buckets.

A mini-bucket adds up only some of the factors of a variable before it is minimised away, so that no table grows beyond a limit; the
sum of what the mini-buckets send on is then no more than the truth. With min-marginals shifted between the mini-buckets of one variable
until they agree, the bound is tighter. (Dechter and Rish, Mini-buckets: a general scheme for bounded inference, 2003; Ihler, Flerova,
Dechter and Otten, Join-graph based cost-shifting schemes, 2012.)

The search can be stopped: the best solution so far stands, and the least bound among what was not looked at is a lower bound.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from mosaic.layouts.factors import INFINITY, Factor, added

MINI: Final = 1 << 12
"""Entries of a mini-bucket's table."""

BROKEN: Final = float(1 << 44)
"""What the local search pays for a broken constraint, in ticks (17 seconds), so that it can climb out of where nothing is legal."""

RESTARTS: Final = 20
"""Starts of the local search before the tree is searched, each from another assignment."""


@dataclass
class Budget:
    """How long to search: nodes of the tree (the same at every run), and seconds by the clock (not)."""

    steps: int
    deadline: float | None = None
    used: int = 0

    @property
    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def is_spent(self) -> bool:
        return self.used >= self.steps or (self.used % 64 == 0 and self.is_late)


@dataclass(frozen=True)
class Found:
    """The best assignment (value numbers by variable; None if none was found), its cost, and a bound on every one, in ticks."""

    values: dict[int, int] | None
    cost: float
    bound: float


@dataclass
class _Row:
    """A factor as a list of rows, each over the values of `variable`, by the values of `context` with these strides."""

    context: tuple[int, ...]
    strides: tuple[int, ...]
    rows: list[list[float]]

    def at(self, values: dict[int, int]) -> list[float]:
        return self.rows[sum(values[variable] * stride for variable, stride in zip(self.context, self.strides, strict=True))]


@dataclass
class _Level:
    """What assigning `variable` adds to the bound: its factors and what was sent to it, less what its own mini-buckets sent on."""

    variable: int
    size: int
    plus: list[_Row] = field(default_factory=list)
    minus: list[_Row] = field(default_factory=list)

    def bounds(self, base: float, values: dict[int, int]) -> list[float]:
        start = base - sum(row.at(values)[0] for row in self.minus)
        total = [start] * self.size
        for row in self.plus:
            total = [a + b for a, b in zip(total, row.at(values), strict=True)]
        return total


def search(factors: Sequence[Factor], sizes: Sequence[int], budget: Budget, *, mini: int = MINI) -> Found:
    """The least sum of `factors`, over the variables that are in them; parts that share no variable are searched one after another."""
    values: dict[int, int] | None = {}
    cost = bound = 0.0
    for part in _components(factors):
        found = _search(part, sizes, budget, mini)
        cost, bound = cost + found.cost, bound + found.bound
        values = None if values is None or found.values is None else values | found.values
    return Found(values, cost, bound)


def _components(factors: Sequence[Factor]) -> list[list[Factor]]:
    parts: list[tuple[set[int], list[Factor]]] = []
    for factor in factors:
        mine, members = set(factor.scope), [factor]
        apart = []
        for variables, others in parts:
            if variables & mine:
                mine |= variables
                members = [*others, *members]
            else:
                apart.append((variables, others))
        parts = [*apart, (mine, members)]
    return [members for _, members in parts]


def _search(factors: Sequence[Factor], sizes: Sequence[int], budget: Budget, mini: int) -> Found:
    levels, base = _levels(factors, sizes, mini)
    best_values, best = _local(factors, sizes, [level.variable for level in levels], budget)
    if base >= best:
        return Found(best_values, best, min(base, best))
    values: dict[int, int] = {}
    # Of each level that is open: its values, the worst first, with their bounds.
    first = levels[0].bounds(base, values)
    stack = [sorted(((bound, value) for value, bound in enumerate(first) if bound < best), reverse=True)]
    while stack:
        depth = len(stack) - 1
        if not stack[-1] or stack[-1][-1][0] >= best:
            stack.pop()
            continue
        if budget.is_spent:
            return Found(best_values, best, min([best, *(bound for options in stack for bound, _ in options)]))
        budget.used += 1
        bound, value = stack[-1].pop()
        values[levels[depth].variable] = value
        if depth + 1 == len(levels):
            best, best_values = bound, dict(values)
            continue
        following = levels[depth + 1].bounds(bound, values)
        stack.append(sorted(((lower, v) for v, lower in enumerate(following) if lower < best), reverse=True))
    return Found(best_values, best, best)


def _levels(factors: Sequence[Factor], sizes: Sequence[int], mini: int) -> tuple[list[_Level], float]:
    """The levels of the tree, the first assigned first, and the bound at its root."""
    order = _order(factors, sizes)
    place = {variable: position for position, variable in enumerate(order)}
    buckets: list[list[Factor]] = [[] for _ in order]
    for factor in factors:
        buckets[min(place[variable] for variable in factor.scope)].append(factor)
    base = 0.0
    levels = []
    for position, variable in enumerate(order):
        level = _Level(variable, sizes[variable], plus=[_row(factor, variable) for factor in buckets[position]])
        for table in _matched(_partition(buckets[position], sizes, mini), variable, sizes):
            message = table.minimum([other for other in table.scope if other != variable])
            if message.scope:
                buckets[min(place[other] for other in message.scope)].append(message)
                level.minus.append(_row(message, None))
            else:
                base += float(message.values)
                level.minus.append(_row(message, None))
        levels.append(level)
    return levels[::-1], base


def _order(factors: Sequence[Factor], sizes: Sequence[int]) -> list[int]:
    """Variables in the order of elimination, the one with the fewest neighbours' combinations first."""
    neighbours: dict[int, set[int]] = {}
    for factor in factors:
        for variable in factor.scope:
            neighbours.setdefault(variable, set()).update(factor.scope)
    order = []
    while neighbours:
        least = min(neighbours, key=lambda v: (sum(math.log2(sizes[other]) for other in neighbours[v]), v))
        order.append(least)
        around = neighbours.pop(least) - {least}
        for other in around:
            neighbours[other].discard(least)
            neighbours[other] |= around
    return order


def _partition(factors: Sequence[Factor], sizes: Sequence[int], mini: int) -> list[Factor]:
    """Factors put together, the largest scopes first, into sums of at most `mini` entries (or one factor alone)."""
    groups: list[tuple[set[int], list[Factor]]] = []
    for factor in sorted(factors, key=lambda f: (-len(f.scope), f.scope)):
        for scope, members in groups:
            if math.prod(sizes[variable] for variable in scope | set(factor.scope)) <= mini:
                scope |= set(factor.scope)
                members.append(factor)
                break
        else:
            groups.append((set(factor.scope), [factor]))
    return [added(members, tuple(sorted(scope)), sizes) for scope, members in groups]


def _matched(tables: list[Factor], variable: int, sizes: Sequence[int]) -> list[Factor]:
    """The tables with costs shifted between them so that all have the same min-marginals of `variable`, up to a tick; their sum stays."""
    if len(tables) < 2:
        return tables
    marginals = [table.minimum([variable]).values for table in tables]
    total = torch.stack(marginals).sum(0)
    allowed = ~torch.isinf(total)
    share = torch.where(allowed, (total / len(tables)).round(), 0.0)
    found, given = [], torch.zeros_like(total)
    for number, (table, marginal) in enumerate(zip(tables, marginals, strict=True)):
        shift = torch.where(allowed, share - marginal, 0.0) if number + 1 < len(tables) else -given
        given = given + shift
        # Where one table forbids a value, all do.
        shift = torch.where(allowed, shift, INFINITY)
        found.append(Factor(table.scope, table.values + Factor((variable,), shift).expanded(table.scope)))
    return found


def _row(factor: Factor, variable: int | None) -> _Row:
    context = tuple(other for other in factor.scope if other != variable)
    order = [factor.scope.index(other) for other in context]
    values = factor.values.permute([*order, *([] if variable is None else [factor.scope.index(variable)])])
    shape = values.shape[: len(context)]
    strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(context)))
    return _Row(context, strides, values.reshape(math.prod(shape), -1).tolist())


def _local(
    factors: Sequence[Factor], sizes: Sequence[int], variables: Sequence[int], budget: Budget
) -> tuple[dict[int, int] | None, float]:
    """A good assignment: from several starts, each variable in turn takes its best value given the others, until nothing changes."""
    touching: dict[int, list[_Row]] = {variable: [] for variable in variables}
    for factor in factors:
        for variable in factor.scope:
            touching[variable].append(_row(Factor(factor.scope, factor.values.clamp(max=BROKEN)), variable))
    draw = random.Random(0)
    best: dict[int, int] | None = None
    best_cost = INFINITY
    for start in range(RESTARTS):
        if start and budget.is_late:
            break
        values = {variable: 0 if start == 0 else draw.randrange(sizes[variable]) for variable in variables}
        if best is not None and start % 2:  # half of the starts are the best one, shaken
            values = {variable: values[variable] if draw.random() < 0.2 else best[variable] for variable in variables}
        for _ in range(30):
            changed = False
            for variable in variables:
                totals = [0.0] * sizes[variable]
                for row in touching[variable]:
                    totals = [a + b for a, b in zip(totals, row.at(values), strict=True)]
                least = min(range(len(totals)), key=totals.__getitem__)
                if totals[least] < totals[values[variable]]:
                    values[variable], changed = least, True
            if not changed:
                break
        cost = sum(float(factor.values[tuple(values[variable] for variable in factor.scope)]) for factor in factors)
        if cost < best_cost:
            best, best_cost = dict(values), cost
    return best, best_cost
