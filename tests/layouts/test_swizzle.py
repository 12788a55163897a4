"""Swizzles: the hardware's modes against TileLang's, and the best one against all others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilelang import tvm  # noqa: F401  (puts TileLang's own tvm on the path)
from tilelang.layout import make_full_bank_swizzled_layout, make_half_bank_swizzled_layout, make_quarter_bank_swizzled_layout
from tilelang.layout.swizzle_mode import SwizzleMode
from tvm import tirx

from mosaic.layouts import vectors
from mosaic.layouts.atoms import mma, relabel, tile
from mosaic.layouts.banks import GFX942, GFX950, NVIDIA, Banks, access_cost
from mosaic.layouts.linear import Dims, LayoutError, LinearMap
from mosaic.layouts.read import table
from mosaic.layouts.swizzle import MODES, alignment, optimal_swizzle, staging_cost, xor_swizzle
from tests.layouts.oracle import enumerate_map, invertible_maps

UPSTREAM = {32: make_quarter_bank_swizzled_layout, 64: make_half_bank_swizzled_layout, 128: make_full_bank_swizzled_layout}


@pytest.mark.parametrize("mode", [32, 64, 128])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_modes_move_the_chunks_of_eight_rows(mode: int, size: int) -> None:
    """By hand, in bytes: chunk c of row r of the mode's width goes to chunk c xor (its 128-byte line, modulo the chunks)."""
    bits = 13 - size.bit_length()
    found = enumerate_map(xor_swizzle(mode, size, bits))
    for (offset,), (place,) in found.items():
        byte = offset * size
        line, chunk, rest = byte // 128, byte % mode // 16, byte % 16
        expected = byte // mode * mode + (chunk ^ line % (mode // 16)) * 16 + rest
        assert place * size == expected


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_its_own_inverse_and_repeats_at_its_alignment(mode: int) -> None:
    found = xor_swizzle(mode, 1, 12)
    assert found.then(found) == LinearMap.identity((("offset", 12),))
    pattern = {offset: found(offset=offset)["offset"] for offset in range(4096)}
    repeats = [period for period in (128, 256, 512, 1024) if all(pattern[o] - o == pattern[o % period] - o % period for o in range(4096))]
    assert alignment(mode) == repeats[0]


@pytest.mark.parametrize("mode", [32, 64, 128])
def test_tilelang_swizzles_alike(mode: int) -> None:
    """Its functions for a buffer as wide as the mode, at every element, and its table of alignments."""
    columns = mode // 2
    upstream = table("A", UPSTREAM[mode](tirx.decl_buffer((64, columns), "float16")))
    assert upstream.offset is not None
    found = xor_swizzle(mode, 2, (64 * columns - 1).bit_length())
    assert upstream.offset.reshape(-1).tolist() == [found(offset=offset)["offset"] for offset in range(64 * columns)]
    kind = {32: SwizzleMode.SWIZZLE_32B, 64: SwizzleMode.SWIZZLE_64B, 128: SwizzleMode.SWIZZLE_128B}[mode]
    assert kind.smem_alignment() == alignment(mode)


def test_the_widest_mode_takes_rows_and_columns_without_conflicts() -> None:
    """A tile [64, 64] of float16: chunks along rows (as TMA writes) and down columns (as ldmatrix reads)."""
    tiles: Dims = (("offset", 12),)
    down = LinearMap((("register", 3), ("lane", 5)), tiles, (1, 2, 4, *(64 << bit for bit in range(5))))
    along = LinearMap((("register", 3), ("lane", 5)), tiles, (1, 2, 4, *(8 << bit for bit in range(5))))
    conflicts = {
        mode: [access_cost(found.then(xor_swizzle(mode, 2, 12)), 2, NVIDIA, "read").conflicts for found in (down, along)] for mode in MODES
    }
    assert conflicts == {0: [28, 0], 32: [12, 0], 64: [4, 0], 128: [0, 0]}


TOY = Banks("toy", 4, 4)
PLACE: Dims = (("register", 2), ("lane", 2))
ELEMENT: Dims = (("i", 2), ("j", 2))


def all_memories() -> Iterator[LinearMap]:
    """Every linear order of 16 elements, up to how the rows of banks are numbered, which no cost depends on: 3,360 of 20,160."""
    for columns in itertools.product(range(1, 16), repeat=4):
        found = LinearMap((("offset", 4),), ELEMENT, columns)
        if found.is_injective and columns[2:] == vectors.echelon(columns[2:]):
            yield found


PAIRS = [
    ((1, 2, 4, 8), (4, 8, 1, 2)),  # nothing in common
    ((1, 2, 4, 8), (2, 4, 1, 8)),  # one register bit in common
    ((1, 2, 4, 8), (1, 8, 2, 4)),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_no_linear_order_of_the_elements_is_better(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """4-byte elements and 4 banks; a vector of 4 fills them."""
    source, target = (LinearMap(PLACE, ELEMENT, columns) for columns in (first, second))
    assert sum(1 for _ in all_memories()) == 3360
    best = min(
        (found.instructions, found.wavefronts) for memory in all_memories() for found in [staging_cost(memory, source, target, 4, TOY)]
    )
    found = optimal_swizzle(source, target, 4, TOY)
    assert (found.instructions, found.wavefronts) == best


BIG: Dims = (("register", 4), ("lane", 5))
WAVE: Dims = (("register", 3), ("lane", 6))
TILE: Dims = (("row", 4), ("column", 5))


@settings(max_examples=60)
@given(st.data(), st.sampled_from([NVIDIA, GFX942, GFX950]), st.sampled_from([1, 2, 4, 8]))
def test_any_two_layouts_are_staged_without_conflicts(data: st.DataObject, banks: Banks, size: int) -> None:
    dims = BIG if banks is NVIDIA else WAVE
    source, target = data.draw(invertible_maps(dims, TILE)), data.draw(invertible_maps(dims, TILE))
    found = optimal_swizzle(source, target, size, banks)
    assert found.memory.is_injective
    assert found.memory.is_surjective
    assert (found.write.conflicts, found.read.conflicts) == (0, 0)
    again = staging_cost(found.memory, source, target, size, banks)
    assert (again.write, again.read) == (found.write, found.read)


def test_a_product_is_transposed_through_shared_memory_in_wide_vectors() -> None:
    """mma's C of 32 x 32 in float16 as the transposed C: written in pairs, and one side wider where registers allow it."""
    c = relabel(tile(mma("float16", 16).c, {"n": 4, "m": 2}), {"m": "i", "n": "j"}).linear
    turned = c.rename({"i": "j", "j": "i"}).order_outputs("i", "j")
    found = optimal_swizzle(c, turned, 2, NVIDIA)
    assert (found.write.conflicts, found.read.conflicts) == (0, 0)
    row_major = LinearMap((("offset", 10),), c.outputs, (32, 64, 128, 256, 512, 1, 2, 4, 8, 16))
    naive = staging_cost(row_major, c, turned, 2, NVIDIA)
    assert found.instructions < naive.instructions
    assert found.wavefronts < naive.wavefronts


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: alignment(16), "no swizzle of 16 bytes"),
        (lambda: xor_swizzle(128, 2, 8), "shorter than the 1024 bytes"),
        (lambda: optimal_swizzle(LinearMap.identity(PLACE), LinearMap.identity(ELEMENT), 4, TOY), "different tiles"),
        (
            lambda: optimal_swizzle(LinearMap(PLACE, ELEMENT, (1, 2, 4, 4)), LinearMap(PLACE, ELEMENT, (1, 2, 4, 8)), 4, TOY),
            "does not hold all elements",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(action: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        action()
