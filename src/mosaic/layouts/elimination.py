"""Bucket elimination: variables are minimised away one by one, exactly, while the tables that this makes stay small.

Eliminating x adds up the factors that x is in and minimises over x; the result is a factor over x's neighbours. After the last variable
a number is left, the least cost; going back, each variable takes its best value given those eliminated later. Time and memory are
exponential only in the width of the order. (Dechter, Bucket elimination: a unifying framework for reasoning, 1999; the pass back that
gives the least cost of every single value is Shafer and Shenoy's.)
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from mosaic.layouts.factors import INFINITY, Factor, Network, added

LIMIT: Final = 1 << 20
"""Entries of the largest table that is made; beyond it the variables that are left are searched."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """The step that eliminated `variable`: `table` over it and its neighbours, `message` over these alone.

    children: buckets whose messages are added up in the table.
    """

    variable: int
    table: Factor
    message: Factor
    children: tuple[int, ...]


@dataclass
class Elimination:
    """What was eliminated, in order, and the factors that are left over the rest; `constant` in ticks.

    roots: buckets whose message is a number, added to the constant; `origins` says of each factor that is left which bucket's message it
    is, -1 for one of the network's own.
    """

    network: Network
    buckets: list[Bucket] = field(default_factory=list)
    left: list[Factor] = field(default_factory=list)
    constant: float = 0.0
    roots: list[int] = field(default_factory=list)

    @property
    def rest(self) -> tuple[int, ...]:
        """The variables that no bucket eliminated, ascending."""
        return tuple(sorted({variable for factor in self.left for variable in factor.scope}))

    def extend(self, chosen: dict[int, int]) -> dict[int, int]:
        """The best values of the eliminated variables, given those of the rest; the first of equal ones."""
        values = dict(chosen)
        for bucket in reversed(self.buckets):
            axis = bucket.table.scope.index(bucket.variable)
            place = tuple(slice(None) if variable == bucket.variable else values[variable] for variable in bucket.table.scope)
            assert bucket.table.scope[axis] == bucket.variable
            values[bucket.variable] = int(bucket.table.values[place].argmin())
        for variable, domain in enumerate(self.network.domains):
            if variable not in values:  # no factor says anything of it
                values[variable] = 0
                assert domain
        return values

    def marginals(self) -> dict[int, list[float]]:
        """For each eliminated variable and value, the least cost of all solutions with that value, in ticks. Nothing may be left."""
        assert not self.left
        parent = {child: number for number, bucket in enumerate(self.buckets) for child in bucket.children}
        beliefs: dict[int, torch.Tensor] = {}
        found: dict[int, list[float]] = {}
        for number in range(len(self.buckets) - 1, -1, -1):
            bucket = self.buckets[number]
            if number in parent:
                above = self.buckets[parent[number]].table.scope
                outside = Factor(above, _less(beliefs[parent[number]], bucket.message.expanded(above))).minimum(bucket.message.scope)
            else:
                outside = Factor((), torch.tensor(self.constant - float(bucket.message.values), dtype=torch.float64))
            belief = beliefs[number] = bucket.table.values + outside.expanded(bucket.table.scope)
            axis = bucket.table.scope.index(bucket.variable)
            others = [other for other in range(belief.ndim) if other != axis]
            found[bucket.variable] = (belief.amin(others) if others else belief).tolist()
        return found


def _less(belief: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
    """A bucket's belief without one of its messages; where that is infinite the rest does not matter."""
    return torch.where(torch.isinf(message), INFINITY, belief - message)


def eliminate(found: Network, *, limit: int = LIMIT, otherwise: int | None = None) -> Elimination:
    """Eliminate every variable whose bucket has at most `limit` entries, the smallest bucket first.

    otherwise: the limit if that one leaves variables over.
    """
    sizes = found.sizes
    result = Elimination(found, constant=found.constant)
    active: dict[int, tuple[Factor, int]] = {number: (factor, -1) for number, factor in enumerate(found.factors)}
    using: dict[int, set[int]] = {}
    neighbours: dict[int, set[int]] = {}
    for number, factor in enumerate(found.factors):
        for variable in factor.scope:
            using.setdefault(variable, set()).add(number)
            neighbours.setdefault(variable, set()).update(factor.scope)
    following = len(found.factors)
    order = _order({variable: set(around) for variable, around in neighbours.items()}, sizes, limit)
    if otherwise is not None and otherwise < limit and len(order) < len(neighbours):
        order = _order(neighbours, sizes, otherwise)
    for variable in order:
        mine = sorted(using.pop(variable))
        parts = [active.pop(number) for number in mine]
        scope = tuple(sorted({other for factor, _ in parts for other in factor.scope}))
        for number, (factor, _) in zip(mine, parts, strict=True):
            for other in factor.scope:
                if other != variable:
                    using[other].discard(number)
        table = added((factor for factor, _ in parts), scope, sizes)
        message = table.minimum([other for other in scope if other != variable])
        result.buckets.append(Bucket(variable, table, message, tuple(origin for _, origin in parts if origin >= 0)))
        if message.scope:
            active[following] = message, len(result.buckets) - 1
            for other in message.scope:
                using[other].add(following)
            following += 1
        else:
            result.constant += float(message.values)
            result.roots.append(len(result.buckets) - 1)
    result.left = [factor for factor, _ in active.values()]
    return result


def _order(neighbours: dict[int, set[int]], sizes: Sequence[int], limit: int) -> list[int]:
    """The order of elimination: always a variable whose table is smallest, of those the one that joins fewest new pairs, then the first.

    Stops at a table of more than `limit` entries. `neighbours` hold the variable itself, and are used up.
    """

    def weigh(variable: int) -> tuple[float, int, int]:
        around = neighbours[variable]
        entries = math.prod(sizes[other] for other in around)
        new = sum(len(around - neighbours[other]) for other in around) if len(around) <= 12 else len(around) ** 2
        return entries, new, variable

    current = {variable: weigh(variable) for variable in neighbours}
    heap = sorted(current.values())
    order = []
    while heap:
        weight = heapq.heappop(heap)
        variable = weight[2]
        if current.get(variable) != weight:
            continue
        if weight[0] > limit:
            break
        order.append(variable)
        del current[variable]
        around = neighbours.pop(variable) - {variable}
        for other in around:
            neighbours[other].discard(variable)
            neighbours[other] |= around
        for other in around:
            current[other] = weigh(other)
            heapq.heappush(heap, current[other])
    return order
