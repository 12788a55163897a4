"""Blocks that both layouts repeat: no bank conflicts where no swizzle of the whole tile is possible."""

from __future__ import annotations

import pytest

from mosaic.layouts.atoms import mma, relabel, tile, wgmma
from mosaic.layouts.banks import NVIDIA
from mosaic.layouts.emit import emit
from mosaic.layouts.emit.blocks import find_blocks
from mosaic.layouts.emit.interpret import interpret
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.repeated import find_repeats
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LinearMap
from tests.layouts.emit.family import TO_A

HALF = mma("float16", 16)


def columns(across: int, down: int, warps: int) -> Layout:
    """Warps side by side, each with `across` products of 8 columns and `down` of 16 rows."""
    return relabel(tile(tile(HALF.c, {"n": across, "m": down}), {"n": warps}, over="warp"), TO_A)


def rows(across: int, down: int, warps: int) -> Layout:
    return tile(tile(HALF.operand("a"), {"k": across, "m": down}), {"m": warps}, over="warp")


PAIRS = {
    "24 columns a warp": (columns(3, 4, 4), rows(6, 1, 4)),
    "40 columns a warp": (columns(5, 4, 4), rows(10, 1, 4)),
    "48 rows": (columns(4, 3, 3), rows(6, 1, 3)),
    "turned": (columns(3, 4, 4), relabel(columns(2, 6, 4), {"m": "k", "k": "m"}, ("m", "k"))),
    "wgmma, 80 columns": (
        relabel(wgmma("float16", 80).c, TO_A),
        relabel(tile(tile(HALF.c, {"n": 5, "m": 2}), {"n": 2, "m": 2}, over="warp"), TO_A),
    ),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
@pytest.mark.parametrize("name", PAIRS)
def test_no_conflicts(name: str, dtype: str) -> None:
    source, target = PAIRS[name]
    function = emit(source, target, source_dtype=dtype, target_dtype=dtype, arch="sm_90a", name="c", kind="shared")
    before, after = Places.of(source, 32), Places.of(target, 32)
    outcome = interpret(function.program, before.elements, NVIDIA)
    assert all(list(row) == outcome.target[register] for register, row in enumerate(after.elements))
    assert outcome.conflicts == 0


def test_blocks_cover_the_tile_once() -> None:
    source, target = (Places.of(layout, 32) for layout in PAIRS["24 columns a warp"])
    assert find_blocks(source, target) is None
    seen: list[LinearMap] = []

    def in_order(mine: LinearMap, theirs: LinearMap) -> dict[int, int]:
        seen.extend((mine, theirs))
        return {element: element for element in range(1 << mine.output_bits)}

    found = find_repeats(source, target, in_order)
    assert found is not None
    assert sorted(found.offset.values()) == list(range(64 * 96)) == list(range(found.size))
    assert seen[0].inputs == (("register", 2), ("lane", 5))
    assert sorted(register for group in found.source for register in group) == list(range(source.registers))


def test_threads_that_hold_nothing_are_left_to_others() -> None:
    half = Layout.of(LinearMap((("register", 1), ("lane", 4)), (("e", 5),), (1, 2, 4, 8, 16)))
    places = Places.of(half, 32)
    assert find_repeats(places, places, lambda _mine, _theirs: {}) is None


def test_rows_as_copies_have_them_do_not_conflict_either() -> None:
    """Lanes along rows of 96, of which three make no block with products of 8 columns: rows are padded instead."""
    source = tile(tile(relabel(HALF.c, TO_A), {"k": 6}), {"m": 8, "k": 2}, over="warp")
    flat = Layout.from_function(
        {"register": 24, "lane": 32, "warp": 16}, {"m": 128, "k": 96}, lambda r, lane, warp: (r // 3 * 16 + warp, r % 3 * 32 + lane)
    )
    function = emit(
        source, flat, source_dtype="float32", target_dtype="float32", arch="sm_80", name="c", kind="shared", shared_limit=1 << 17
    )
    outcome = interpret(function.program, Places.of(source, 32).elements, NVIDIA)
    assert all(list(row) == outcome.target[register] for register, row in enumerate(Places.of(flat, 32).elements))
    assert outcome.conflicts == 0
