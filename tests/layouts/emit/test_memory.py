"""Where a stage puts elements: vectors as wide as can be, no conflicts between linear layouts, few between others."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings

from mosaic.layouts.banks import GFX942, GFX950, NVIDIA, WIDEST
from mosaic.layouts.emit.memory import group_registers, plan_memory, split_by_registers, straightened, wavefronts
from mosaic.layouts.emit.places import Places
from mosaic.layouts.linear import Dims, LinearMap
from mosaic.layouts.swizzle import optimal_swizzle, staging_cost
from tests.layouts.emit.family import nvidia_cases, random_table, spread

PLACES: Dims = (("register", 4), ("lane", 5), ("warp", 1))


def places(name: str) -> tuple[Places, Places]:
    source, target, *_ = nvidia_cases()[name]
    return Places.of(source, 32), Places.of(target, 32)


@settings(max_examples=30)
@given(spread(PLACES, 10), spread(PLACES, 10))
def test_linear_layouts_have_the_widths_of_the_best_swizzle(source: LinearMap, target: LinearMap) -> None:
    memory = plan_memory(Places.of(source, 32), Places.of(target, 32), 2, NVIDIA, 1 << 20)
    best = optimal_swizzle(source, target, 2, NVIDIA)
    assert (2 * len(memory.write[0]), 2 * len(memory.read[0])) == (best.write.width, best.read.width)
    assert sorted(memory.offset.values()) == list(range(1 << 10))


def test_lanes_do_not_turn_vectors_round_if_they_need_not() -> None:
    # Lane 0 moves by one element within the vector too: with its images as they are, odd lanes would have their pairs the other way round.
    source = LinearMap((("register", 1), ("lane", 5)), (("e", 6),), (1, 2 ^ 1, 4, 8, 16, 32))
    target = LinearMap(source.inputs, source.outputs, (1, 32, 16, 8, 4, 2 ^ 1))
    best = optimal_swizzle(source, target, 2, NVIDIA)
    memory = straightened(best, source, target, 2, NVIDIA)
    assert [memory.invert().apply(image) & 1 for image in source.images("lane")] == [0] * 5
    again = staging_cost(memory, source, target, 2, NVIDIA)
    assert (again.instructions, again.wavefronts) == (best.instructions, best.wavefronts)


@settings(max_examples=30)
@given(spread(PLACES, 10), spread(PLACES, 10))
def test_straightening_costs_nothing(source: LinearMap, target: LinearMap) -> None:
    best = optimal_swizzle(source, target, 2, NVIDIA)
    memory = straightened(best, source, target, 2, NVIDIA)
    assert memory.is_injective
    again = staging_cost(memory, source, target, 2, NVIDIA)
    assert (again.instructions, again.wavefronts) <= (best.instructions, best.wavefronts)


@settings(max_examples=30)
@given(spread(PLACES, 10), spread(PLACES, 10))
def test_splitting_keeps_the_banks(source: LinearMap, target: LinearMap) -> None:
    best = optimal_swizzle(source, target, 2, NVIDIA)
    memory = split_by_registers(best.memory, source, target, 3, 6, 2)
    assert memory.is_injective
    again = staging_cost(memory, source, target, 2, NVIDIA)
    assert (again.instructions, again.wavefronts) == (best.instructions, best.wavefronts)


@pytest.mark.parametrize("element_bytes", [1, 2, 4])
@pytest.mark.parametrize("name", ["wgmma_fp8_96", "three_warps", "policies_fp16"])
def test_every_element_has_one_place_and_every_access_is_a_run(name: str, element_bytes: int) -> None:
    source, target = places(name)
    memory = plan_memory(source, target, element_bytes, NVIDIA, 1 << 20)
    assert len(set(memory.offset.values())) == len(memory.offset)
    assert max(memory.offset.values()) < memory.size
    for layout, runs in ((source, memory.write), (target, memory.read)):
        assert sorted(itertools.chain(*runs)) == list(range(layout.registers))
        for run in runs:
            assert len(run) * element_bytes <= WIDEST
            for thread in range(layout.threads):
                offsets = sorted(memory.offset[element] for at in run if (element := layout.elements[at][thread]) is not None)
                assert offsets == list(range(offsets[0], offsets[0] + len(run)))
                assert offsets[0] % len(run) == 0


def test_a_tile_of_96_columns_is_swizzled_block_by_block() -> None:
    source, target = places("wgmma_fp8_96")
    memory = plan_memory(source, target, 1, NVIDIA, 1 << 20)
    assert memory.size == 64 * 96
    assert {len(run) for run in memory.write} == {16}


def test_layouts_of_no_form_still_have_a_stage() -> None:
    source, target = (Places.of(random_table(4, 32, 3, seed, within=False), 32) for seed in (1, 2))
    memory = plan_memory(source, target, 4, NVIDIA, 1 << 20)
    # One of the two sides is free to have its own order: whole vectors.
    assert 4 in (len(memory.write[0]), len(memory.read[0]))
    assert set(memory.offset) == set(range(4 * 32 * 3))


def test_registers_that_repeat_others_are_left_out() -> None:
    source = LinearMap((("register", 2), ("lane", 5)), (("e", 6),), (0, 32, 1, 2, 4, 8, 16))
    assert group_registers(Places.of(source, 32).elements, {element: element for element in range(64)}, 4) == ((0,), (2,))


def test_wavefronts_as_the_banks_have_them() -> None:
    for banks, lanes in ((NVIDIA, 32), (GFX942, 64), (GFX950, 64)):
        row = [4 * lane for lane in range(lanes)]
        assert wavefronts(row, 4, banks, "read") == len(banks.phases(4, "read"))
        column = [banks.row * lane for lane in range(lanes)]
        assert wavefronts(column, 4, banks, "read") == lanes
        assert wavefronts([0] * lanes, 4, banks, "read") == len(banks.phases(4, "read"))
        assert wavefronts([None] * lanes, 4, banks, "read") == 0
