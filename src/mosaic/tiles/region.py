"""The part of a tensor that a block, or one turn of a loop, touches.

A `Box` is, per dim, a start (affine in the variables that stay free) and an extent. `hull` is the
smallest box around some accesses while inner loops run; `is_dense` and `covers` say whether they touch all of it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mosaic.tiles.affine import Affine, Atom, Interval, Var
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


def sweep(start: Affine | None, extent: int, inner: Mapping[Var, Interval], ranges: Mapping[Var, Interval]) -> tuple[Affine, int] | None:
    """One dim of an access while the variables of `inner` run over their intervals.

    before   start 64*by + 8*i + j, extent 1, inner i in 0..3, j in 0..7
    after    start 64*by, extent 32

    Where inner and other variables can't be told apart, as in (64*by + i) // 3, the answer holds for all
    values that the others have by `ranges`. None where the start can't be followed at all.
    """
    if start is None:
        return None
    free: dict[Atom, int] = {}
    moved: dict[Atom, int] = {}
    for atom, c in start.terms:
        names = {atom} if isinstance(atom, Var) else set(atom.value.variables())
        (moved if names & inner.keys() else free)[atom] = c
    span = Affine.of(moved, start.constant).interval({**ranges, **inner})
    return None if span is None else (Affine.of(free, span[0]), span[1] - span[0] + extent)


def box(access: Access, inner: Mapping[Var, Interval], ranges: Mapping[Var, Interval]) -> Box | None:
    """The box of one access while `inner` runs; None where it can't be followed. `ranges` are those of the other variables."""
    dims = [sweep(s, e, inner, ranges) for s, e in zip(access.start, access.extent, strict=True)]
    found = [dim for dim in dims if dim is not None]
    return Box(tuple(s for s, _ in found), tuple(e for _, e in found)) if len(found) == len(dims) else None


def hull(boxes: Sequence[Box], ranges: Mapping[Var, Interval]) -> Box | None:
    """The smallest box around `boxes`.

    Along a dim where their starts differ by more than a constant, it is one for all values that `ranges`
    allows; None if these are not known.
    """
    starts, extents = [], []
    for d, first in enumerate(boxes[0].start):
        offsets = [b.start[d] - first for b in boxes]
        base = first
        if not all(offset.is_constant for offset in offsets):
            base, offsets = Affine(), [b.start[d] for b in boxes]
        spans = [offset.interval(ranges) for offset in offsets]
        known = [span for span in spans if span is not None]
        if len(known) < len(spans):
            return None
        low = min(span[0] for span in known)
        high = max(span[1] + b.extent[d] for span, b in zip(known, boxes, strict=True))
        starts.append(base + low)
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
    """Whether dense boxes fill `whole`, their hull: one alone does, or disjoint ones add up to it."""
    if whole in boxes:
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
