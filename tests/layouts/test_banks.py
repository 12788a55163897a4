"""Widths and bank conflicts, against every address counted out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mosaic.layouts.banks import GFX942, GFX950, NVIDIA, Banks, Direction, access_cost, access_cost_of, vector_width
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError, LinearMap
from tests.layouts.oracle import enumerate_map

ALL = st.sampled_from([NVIDIA, GFX942, GFX950])
DIRECTIONS: st.SearchStrategy[Direction] = st.sampled_from(["read", "write"])


def access(registers: list[int], lanes: list[int], bits: int = 12) -> LinearMap:
    return LinearMap((("register", len(registers)), ("lane", len(lanes))), (("offset", bits),), (*registers, *lanes))


def test_phases_are_the_published_ones() -> None:
    assert NVIDIA.phases(4, "read") == (tuple(range(32)),)
    assert NVIDIA.phases(8, "write") == (tuple(range(16)), tuple(range(16, 32)))
    assert NVIDIA.phases(16, "read") == tuple(tuple(range(start, start + 8)) for start in (0, 8, 16, 24))
    assert GFX942.phases(16, "write") == tuple(tuple(range(start, start + 8)) for start in range(0, 64, 8))
    assert sorted(GFX942.phases(16, "read")) == sorted(
        (*range(first, first + 4), *range(second, second + 4))
        for first, second in [(0, 20), (4, 16), (8, 28), (12, 24), (32, 52), (36, 48), (40, 60), (44, 56)]
    )
    groups = [(0, 12, 20, 24), (4, 8, 16, 28), (32, 44, 52, 56), (36, 40, 48, 60)]
    assert sorted(GFX950.phases(16, "read")) == sorted(
        tuple(lane for start in group for lane in range(start, start + 4)) for group in groups
    )


@given(ALL, st.sampled_from([1, 2, 4, 8, 16]), DIRECTIONS)
def test_every_lane_is_in_one_phase_that_fills_the_banks(banks: Banks, width: int, direction: Direction) -> None:
    phases = banks.phases(width, direction)
    assert sorted(lane for phase in phases for lane in phase) == list(range(banks.lanes))
    assert {len(phase) for phase in phases} == {min(banks.lanes, banks.count * 4 // max(width, 4))}


def cycles_by_hand(addresses: list[int], width: int, banks: Banks) -> int:
    """One cycle takes one word from each bank."""
    waiting = {(address + byte) // 4 for address in addresses for byte in range(width)}
    cycles = 0
    while waiting:
        taken: dict[int, int] = {}
        for word in waiting:
            taken.setdefault(word % banks.count, word)
        waiting -= set(taken.values())
        cycles += 1
    return cycles


@st.composite
def vector_accesses(draw: st.DrawFn) -> tuple[LinearMap, int, int, Banks]:
    """(access, bytes of an element, elements of a vector, banks): the lowest bits of the register number a vector's elements."""
    banks = draw(ALL)
    size = draw(st.sampled_from([0, 1, 2]))
    vector = draw(st.integers(0, 4 - size))
    image = st.integers(0, (1 << 12 - vector) - 1).map(lambda value: value << vector)
    lanes = draw(st.lists(image, min_size=(banks.lanes - 1).bit_length(), max_size=(banks.lanes - 1).bit_length()))
    more = draw(st.lists(image, max_size=2))
    return access([1 << bit for bit in range(vector)] + more, lanes), 1 << size, 1 << vector, banks


@given(vector_accesses(), DIRECTIONS)
def test_conflicts_are_what_banks_do_by_hand(case: tuple[LinearMap, int, int, Banks], direction: Direction) -> None:
    found, size, elements, banks = case
    width = size * elements
    table = enumerate_map(found)
    wavefronts = least = 0
    registers = 1 << found.bits("register")
    for first in range(0, registers, elements):
        for phase in banks.phases(width, direction):
            wavefronts += cycles_by_hand([table[first, lane][0] * size for lane in phase], width, banks)
            least += 1
    general = access_cost_of(Layout.of(found), size, banks, direction, width=width)
    assert (general.wavefronts, general.conflicts, general.instructions) == (wavefronts, wavefronts - least, registers // elements)
    assume(found.restrict("register").is_injective)  # what a thread would access twice, the algebra accesses once
    assert access_cost(found, size, banks, direction, width=width) == general


@given(st.lists(st.integers(0, 63), max_size=4), st.sampled_from([1, 2, 4]))
def test_the_width_is_the_widest_aligned_run_of_any_thread(registers: list[int], size: int) -> None:
    found = access(registers, [1, 32], 6)
    table = enumerate_map(found)
    widest = size
    while widest < 16:
        run = 2 * widest // size
        held = [{table[register, lane][0] for register in range(1 << len(registers))} for lane in range(4)]
        if not all({offset // run * run + step for step in range(run)} <= thread for thread in held for offset in thread):
            break
        widest *= 2
    assert vector_width(found, size) == widest


def test_textbook_accesses() -> None:
    """float16 rows of 64: a warp reading 16 bytes down a column of chunks hits one bank group eight times; along a row never."""
    down = access([1, 2, 4], [64 << bit for bit in range(5)])
    assert access_cost(down, 2, NVIDIA, "read").wavefronts == 32
    along = access([1, 2, 4], [8 << bit for bit in range(5)])
    assert access_cost(along, 2, NVIDIA, "read").conflicts == 0
    assert access_cost(along, 2, NVIDIA, "read", width=4).instructions == 4
    everyone = access([1], [0] * 5)
    assert access_cost(everyone, 2, NVIDIA, "read").wavefronts == 1
    padded = Layout.from_function({"register": 8, "lane": 32}, {"offset": 72 * 32}, lambda register, lane: (72 * lane + register,))
    assert access_cost_of(padded, 2, NVIDIA, "read", width=16).conflicts == 0


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: NVIDIA.phase(12, "read"), "no instruction accesses 12 bytes"),
        (lambda: access_cost(access([2], [4]), 2, NVIDIA, "read", width=4), "can't access 4 bytes"),
        (lambda: access_cost(access([1], [0] * 6), 2, NVIDIA, "read"), "does not fit a warp"),
        (lambda: vector_width(LinearMap.identity((("register", 1),)), 2), "one output, its offset"),
        (lambda: access_cost_of(Layout.of(access([2], [4])), 2, NVIDIA, "read", width=4), "no aligned run"),
        (lambda: access_cost_of(Layout.of(access([1], [0] * 6)), 2, NVIDIA, "read", width=4), "are not accessed in vectors"),
        (lambda: access_cost_of(Layout.of(LinearMap.identity((("lane", 1),))), 2, NVIDIA, "read"), "has the inputs register and lane"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(action: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        action()
