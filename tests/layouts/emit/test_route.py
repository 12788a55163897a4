"""Rounds of shuffles: as few as any way has, and right (tests of `emit` carry them out)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.layouts import vectors
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.route import choose_shift
from mosaic.layouts.linear import Dims, LinearMap
from tests.layouts.emit.family import convert, spread

PLACES: Dims = (("register", 3), ("lane", 5), ("warp", 0))


@settings(max_examples=80)
@given(spread(PLACES, 8), spread(PLACES, 8))
def test_no_way_has_fewer_rounds(source: LinearMap, target: LinearMap) -> None:
    """A lane takes one word in a round, so the lane that misses most words says how many there must be."""
    held, wanted = Places.of(source, 32).elements, Places.of(target, 32).elements
    missing = max(len({row[lane] for row in wanted} - {row[lane] for row in held}) for lane in range(32))
    function, _ = convert(source, target, ("float32", "float32"))
    assert function.instructions.get("shuffle", 0) + function.instructions.get("shuffle_xor", 0) == missing


@given(st.lists(st.integers(0, 63), min_size=2, max_size=2), st.lists(st.integers(0, 63), min_size=3, max_size=3))
def test_shift_keeps_lanes_apart_or_alike(word: list[int], lane: list[int]) -> None:
    # Places are a lane of three bits and a word of three bits above it.
    shift = choose_shift(tuple(word), tuple(lane), 3)
    found = [
        [place ^ vectors.combine(word, moved) for place, moved in zip(lane, choice, strict=True)]
        for choice in ([shift] if shift is not None else [(a, b, c) for a in range(4) for b in range(4) for c in range(4)])
    ]
    fits = [len(vectors.echelon(place & 7 for place in places)) == len(vectors.echelon(places)) for places in found]
    assert fits == [True] if shift is not None else not any(fits)


def test_layouts_for_which_the_search_gives_up_go_another_way() -> None:
    # Four bits of registers are copies of lanes, and there is no f at all that the search could find.
    source = LinearMap((("register", 4), ("lane", 6)), (("e", 10),), (577, 513, 114, 512, 44, 304, 56, 164, 4, 749))
    target = LinearMap((("register", 3), ("lane", 6)), (("e", 10),), (584, 134, 2, 80, 705, 36, 186, 136, 128))
    for arch in ("gfx942", "gfx950"):
        function, _ = convert(source, target, arch=arch)
        assert function.kind == "shuffle"
