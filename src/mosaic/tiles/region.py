"""The part of a tensor that a block, or one turn of a loop, touches.

A `Box` is, per dim, a start (affine in the variables that stay free) and an extent. `hull` is the
smallest box around some accesses while inner loops run; `covers` says whether they touch all of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mosaic.tiles.affine import Affine, Interval, Var
from mosaic.tiles.program import Access


@dataclass(frozen=True)
class Box:
    """start[d] ... start[d] + extent[d] - 1 in each dim."""

    start: tuple[Affine, ...]
    extent: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.extent)

    def __str__(self) -> str:
        return "[" + ", ".join(f"{s!r} : +{e}" for s, e in zip(self.start, self.extent, strict=True)) + "]"


def sweep(start: Affine | None, extent: int, inner: Mapping[Var, Interval], size: int) -> tuple[Affine, int]:
    """One dim of an access while the variables of `inner` run over their intervals.

    before   start 64*by + 8*i + j, extent 1, inner i in 0..3, j in 0..7
    after    start 64*by, extent 32

    Where the start can't be followed, the answer is the whole dim: start 0, extent `size`.
    """
    if start is None:
        return Affine(), size
    free: dict[object, int] = {}
    low = high = start.constant
    for atom, c in start.terms:
        names = {atom} if isinstance(atom, Var) else set(atom.value.variables())
        if not names & inner.keys():
            free[atom] = c
            continue
        found = Affine(((atom, 1),)).interval(inner)
        if found is None:  # a division that mixes inner and free variables
            return Affine(), size
        ends = (c * found[0], c * found[1])
        low, high = low + min(ends), high + max(ends)
    return Affine.of(free, low), high - low + extent  # type: ignore[arg-type]


def box(access: Access, inner: Mapping[Var, Interval], shape: Sequence[int]) -> Box:
    """The box of one access while `inner` runs."""
    dims = [sweep(s, e, inner, size) for s, e, size in zip(access.start, access.extent, shape, strict=True)]
    return Box(tuple(s for s, _ in dims), tuple(e for _, e in dims))


def hull(boxes: Sequence[Box], shape: Sequence[int]) -> Box:
    """The smallest box around `boxes`; a whole dim where their starts differ by more than a constant."""
    starts, extents = [], []
    for d, size in enumerate(shape):
        first = boxes[0].start[d]
        offsets = [b.start[d] - first for b in boxes]
        if not all(offset.is_constant for offset in offsets):
            starts.append(Affine())
            extents.append(size)
            continue
        low = min(offset.constant for offset in offsets)
        high = max(offset.constant + b.extent[d] for offset, b in zip(offsets, boxes, strict=True))
        starts.append(first + low)
        extents.append(high - low)
    return Box(tuple(starts), tuple(extents))


def is_dense(access: Access, inner: Mapping[Var, Interval]) -> bool:
    """Whether an access touches every element of its box while `inner` runs.

    Per dim the inner variables must count without gaps, like digits of a mixed-radix number, and
    no variable may move two dims at once (a diagonal). Divisions of inner variables are not followed.
    """
    seen: set[Var] = set()
    for start, extent in zip(access.start, access.extent, strict=True):
        if start is None:
            return False
        digits: list[tuple[int, int]] = []
        for atom, c in start.terms:
            names = {atom} if isinstance(atom, Var) else set(atom.value.variables())
            touched = names & inner.keys()
            if not touched:
                continue
            if not isinstance(atom, Var) or touched & seen:
                return False
            seen |= touched
            digits.append((abs(c), inner[atom][1] - inner[atom][0] + 1))
        reach = extent
        for stride, count in sorted(digits):
            if count > 1 and stride > reach:
                return False
            reach += stride * (count - 1)
    return True


def covers(boxes: Sequence[Box], whole: Box) -> bool:
    """Whether boxes that are dense fill `whole`: one alone does, or disjoint ones add up to it."""
    if any(b.extent == whole.extent for b in boxes):
        return True
    unique = list(dict.fromkeys(boxes))
    disjoint = all(_apart(a, b) for i, a in enumerate(unique) for b in unique[:i])
    return disjoint and sum(b.elements for b in unique) == whole.elements


def _apart(a: Box, b: Box) -> bool:
    for sa, ea, sb, eb in zip(a.start, a.extent, b.start, b.extent, strict=True):
        gap = sb - sa
        if gap.is_constant and (gap.constant >= ea or -gap.constant >= eb):
            return True
    return False


def inner_intervals(accesses: Collection[Access], depth: int) -> dict[Var, Interval] | None:
    """Intervals of the loop variables deeper than `depth` loops; None if one has no known extent."""
    found: dict[Var, Interval] = {}
    for access in accesses:
        for loop in access.loops[depth:]:
            if loop.kind == "while":
                continue
            if not isinstance(loop.extent, int):
                return None
            found[loop.var] = (0, loop.extent - 1)
    return found
