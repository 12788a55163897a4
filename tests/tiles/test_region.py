"""Boxes of accesses against every element they touch, enumerated."""

from __future__ import annotations

import itertools
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from mosaic.tiles.affine import Affine, Interval, Var
from mosaic.tiles.program import Access, Loop
from mosaic.tiles.region import Box, box, covers, hull, inner_intervals, is_dense, sweep
from tests.tiles.trace import number

OUTER: Final = {Var(1, "bx"): (0, 2), Var(2, "by"): (0, 1)}
INNER: Final = {Var(3, "i"): (0, 3), Var(4, "j"): (0, 2), Var(5, "k"): (0, 0)}
Elements = set[tuple[int, ...]]


def one(var: Var) -> Affine:
    return Affine(((var, 1),))


@st.composite
def starts(draw: st.DrawFn) -> Affine:
    """A sum of variables with small factors, and perhaps a division or a remainder of one."""
    value = Affine((), draw(st.integers(0, 5)))
    for variable in (*OUTER, *INNER):
        value = value + one(variable) * draw(st.sampled_from((0, 0, 1, 1, 2, 3, 4, 8)))
    match draw(st.sampled_from(("plain", "plain", "//", "%"))):
        case "//":
            value = value // draw(st.integers(1, 5)) + one(Var(3, "i"))
        case "%":
            value = value % draw(st.integers(1, 9)) + one(Var(1, "bx")) * 4
    return value


@st.composite
def accesses(draw: st.DrawFn, rank: int = 2) -> Access:
    dims = [(draw(starts()), draw(st.integers(1, 4))) for _ in range(rank)]
    return Access("x", "write", "copy", tuple(s for s, _ in dims), tuple(e for _, e in dims))


def turns(ranges: dict[Var, Interval]) -> list[dict[Var, int]]:
    spans = [range(low, high + 1) for low, high in ranges.values()]
    return [dict(zip(ranges, point, strict=True)) for point in itertools.product(*spans)]


def elements(access: Access, outer: dict[Var, int]) -> Elements:
    found: Elements = set()
    for inner in turns(INNER):
        known = outer | inner
        spans = []
        for start, extent in zip(access.start, access.extent, strict=True):
            assert start is not None
            first = number(start, known)
            spans.append(range(first, first + extent))
        found.update(itertools.product(*spans))
    return found


def inside(found: Box, outer: dict[Var, int]) -> Elements:
    first = [number(s, outer) for s in found.start]
    return set(itertools.product(*(range(f, f + e) for f, e in zip(first, found.extent, strict=True))))


@given(accesses())
def test_a_box_holds_all_that_is_touched(access: Access) -> None:
    found = box(access, INNER, OUTER)
    assert found is not None
    for outer in turns(OUTER):
        assert elements(access, outer) <= inside(found, outer)


@given(accesses())
def test_a_dense_access_fills_its_box(access: Access) -> None:
    found = box(access, INNER, OUTER)
    assert found is not None
    if is_dense(access, INNER):
        for outer in turns(OUTER):
            assert elements(access, outer) == inside(found, outer)


@given(accesses(rank=1))
def test_density_of_plain_sums_is_found(access: Access) -> None:
    """In one dim, without divisions, where no factor is nil: nothing dense is missed."""
    (start,) = access.start
    assert start is not None
    plain = all(isinstance(atom, Var) for atom, _ in start.terms)
    whole = all(elements(access, outer) == inside(box_of(access), outer) for outer in turns(OUTER))
    if plain:
        assert is_dense(access, INNER) == whole


def box_of(access: Access) -> Box:
    found = box(access, INNER, OUTER)
    assert found is not None
    return found


@given(st.lists(accesses(), min_size=1, max_size=3))
def test_a_hull_holds_all_boxes(many: list[Access]) -> None:
    boxes = [box_of(a) for a in many]
    whole = hull(boxes, OUTER)
    assert whole is not None
    for outer in turns(OUTER):
        for each in boxes:
            assert inside(each, outer) <= inside(whole, outer)


@st.composite
def tilings(draw: st.DrawFn) -> list[Box]:
    """Boxes on a small grid that start at the same block index."""
    base = one(Var(1, "bx")) * 4
    spots = draw(st.lists(st.tuples(*[st.integers(0, 3)] * 2, *[st.integers(1, 4)] * 2), min_size=1, max_size=4))
    return [Box((base + y, Affine((), x)), (h, w)) for y, x, h, w in spots]


@given(tilings())
def test_boxes_that_cover_leave_nothing_out(boxes: list[Box]) -> None:
    whole = hull(boxes, OUTER)
    assert whole is not None
    outer = turns(OUTER)[1]
    if covers(boxes, whole):
        assert set().union(*(inside(b, outer) for b in boxes)) == inside(whole, outer)


def test_halves_cover() -> None:
    bx = one(Var(1, "bx")) * 8
    halves = [Box((bx,), (4,)), Box((bx + 4,), (4,))]
    whole = hull(halves, OUTER)
    assert whole == Box((bx,), (8,))
    assert covers(halves, whole)
    assert not covers(halves[:1], whole)
    assert str(whole) == "[8*bx : +8]"
    assert whole.elements == 8


def test_a_box_of_another_place_does_not_cover() -> None:
    """Its extent alone says nothing."""
    bx, by = one(Var(1, "bx")), one(Var(2, "by"))
    boxes = [Box((bx * 4,), (4,)), Box((by * 4,), (4,))]
    whole = hull(boxes, {Var(1, "bx"): (0, 0), Var(2, "by"): (0, 1)})
    assert whole == Box((Affine(),), (8,))
    assert not covers(boxes, whole)


def test_a_division_of_inner_and_outer_variables_is_bounded() -> None:
    start = (one(Var(1, "bx")) * 4 + one(Var(3, "i"))) // 3
    assert sweep(start, 2, INNER, OUTER) == (Affine(), 5)
    assert sweep(start, 2, INNER, {}) is None
    assert sweep(None, 1, INNER, OUTER) is None
    assert box(Access("x", "read", "load", (None,), (1,)), INNER, OUTER) is None
    assert hull([Box((one(Var(9, "t")),), (1,)), Box((Affine(),), (1,))], OUTER) is None


def test_intervals_of_inner_loops() -> None:
    k, i = Var(1, "k"), Var(2, "i")
    loops = (Loop(k, 4, "pipelined", 2), Loop(i, 8, "parallel"))
    access = Access("x", "read", "load", (one(i),), (1,), loops)
    assert inner_intervals([access], 0) == {k: (0, 3), i: (0, 7)}
    assert inner_intervals([access], 1) == {i: (0, 7)}
    endless = Access("x", "read", "load", (one(i),), (1,), (Loop(k, "n", "serial"),))
    assert inner_intervals([endless], 0) is None
    assert inner_intervals([endless], 1) == {}
    assert inner_intervals([Access("x", "read", "load", (one(i),), (1,), (Loop(k, "?", "while"),))], 0) == {}
