"""Shuffles of layouts without a form."""

from __future__ import annotations

import pytest

from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.steps import Pack, Shuffle
from mosaic.layouts.emit.table import convert_table
from mosaic.layouts.linear import LayoutError
from tests.layouts.emit.family import nvidia_cases, random_table


def rounds(source: Places, target: Places, element_bytes: int) -> int:
    builder = Builder(source.threads, 32, element_bytes, casts_first=True)
    convert_table(builder, source, target)
    return sum(isinstance(step, Shuffle) for step in builder.steps)


@pytest.mark.parametrize("seed", range(3))
def test_at_most_twice_as_many_rounds_as_the_busiest_lane_needs(seed: int) -> None:
    source, target = (Places.of(random_table(4, 32, 1, 2 * seed + which, within=True), 32) for which in (0, 1))
    received = [len({row[lane] for row in target.elements} - {row[lane] for row in source.elements}) for lane in range(32)]
    assert max(received) <= rounds(source, target, 4) < 2 * max(received) + 1


def test_registers_that_go_the_same_way_share_a_word() -> None:
    source, target, *_ = nvidia_cases()["a_fp8"]
    places = Places.of(source, 32), Places.of(target, 32)
    assert (rounds(*places, 4), rounds(*places, 1)) == (16, 4)


def test_elements_that_nobody_needs_are_not_packed() -> None:
    layout = random_table(8, 32, 1, 1, within=True)
    source = Places.of(layout, 32)
    target = Places(source.elements[2:3], 32, source.extents, None)
    builder = Builder(32, 32, 4, casts_first=True)
    convert_table(builder, source, target)
    assert [step for step in builder.steps if isinstance(step, Pack)] == [Pack(0, (2,))]


def test_an_element_of_another_warp() -> None:
    source, target = (Places.of(random_table(2, 32, 2, seed, within=False), 32) for seed in (1, 2))
    with pytest.raises(LayoutError, match="no lane of the warp holds"):
        convert_table(Builder(64, 32, 4, casts_first=True), source, target)
