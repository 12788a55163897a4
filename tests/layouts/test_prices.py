"""Prices of choices: each of them worse where it should be, and by how much where that can be counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.layouts.conversion import Conversion
from mosaic.layouts.cost import cost
from mosaic.layouts.emit import emit
from mosaic.layouts.facts import Product
from mosaic.layouts.fragments import WarpGrid
from mosaic.layouts.places import EMPTY, Place, Room, conversion
from mosaic.layouts.prices import (
    FIXED_SECONDS,
    conversion_price,
    conversion_work,
    device_price,
    occupancy_price,
    operand_price,
    store_price,
)
from tests.layouts.samples import AMPERE, CPU, HOPPER

C = Place("C", 128, 64, "mma", WarpGrid(4, 1))
ROWS = Place("rows", 128, 64)


def test_device_memory() -> None:
    price = device_price(1 << 20, AMPERE)
    assert price("device") == 2 * (1 << 20) / AMPERE.bandwidth + AMPERE.launch_seconds + FIXED_SECONDS
    assert price("shared") == price("register") == 0
    assert device_price(1 << 20, CPU)("device") == 2 * (1 << 20) / CPU.bandwidth + CPU.launch_seconds


def test_costs_follow_the_class() -> None:
    def seconds(found: Conversion) -> float:
        return cost(conversion_work(found, 128 * 64 * 2, 128), "sm_80").seconds

    shuffle, select = Conversion("shuffle", False, 1, 1), Conversion("permute", False)
    assert seconds(Conversion("identity")) == seconds(Conversion("permute")) == 0
    assert 0 < seconds(select) < seconds(shuffle) < seconds(Conversion("shared"))


@pytest.mark.parametrize(
    ("target", "dtype"),
    [
        (Place("A", 128, 64, "mma", WarpGrid(4, 1), "float16", 16), "float16"),
        (Place("A", 128, 64, "mma", WarpGrid(4, 1), "float8", 32), "float8_e4m3fn"),
        (Place("C", 128, 64, "mma", WarpGrid(2, 2)), "float16"),
    ],
)
def test_about_what_is_emitted(target: Place, dtype: str) -> None:
    """Within a factor of two of the cost of the function that is emitted for the same two layouts."""
    assert C.layout is not None
    assert target.layout is not None
    emitted = emit(C.layout, target.layout, source_dtype=dtype, target_dtype=dtype, arch="sm_80", name="converted")
    size = 1 if dtype.startswith("float8") else 2
    ours, theirs = cost(conversion_work(conversion(C, target), 128 * 64 * size, 128), "sm_80"), cost(emitted, "sm_80")
    assert theirs.seconds / 2 <= ours.seconds <= 2 * theirs.seconds


def test_conversions_grow_with_what_is_handed_over() -> None:
    once = conversion_price(128, 64, 2, 1, AMPERE)
    often = conversion_price(128, 64, 2, 10, AMPERE)
    assert once("register", C, C, 0, 128) == once("device", C, ROWS, 0, 128) == 0
    staged = once("shared", C, ROWS, 0, 128)
    assert staged > once("shared", C, ROWS, 128, 128) > 0  # fewer bank conflicts
    assert abs(often("shared", C, ROWS, 0, 128) - 10 * staged) < 1e-18
    assert conversion_price(128, 64, 2, 1, CPU)("shared", C, ROWS, 0, 128) == 0


def test_narrow_stores() -> None:
    price = store_price(128, 64, 2, 1, AMPERE)
    # 4 bytes a lane instead of 16: four instructions for one, of which three are too many.
    extra = 128 * 64 * 2 / 32 * (1 / 4 - 1 / 16)
    assert abs(price("register", C) - extra / AMPERE.clock / AMPERE.processors) < 1e-18
    assert price("register", ROWS) == price("shared", C) == 0


def test_operands_are_read_by_each_warp_that_needs_them() -> None:
    product = Product("p", "g", 128, 64, 32, "float16")
    square, rows = (operand_price(product, 100, AMPERE)(policy, 128) for policy in ("Square", "FullRow"))
    # 2x2 warps read A and B twice; 4x1 warps read A once and B four times.
    assert abs(square / rows - (2 * 128 * 32 + 2 * 64 * 32) / (128 * 32 + 4 * 64 * 32)) < 1e-12
    held = operand_price(replace(product, a_in_registers=True), 100, AMPERE)
    assert held("FullRow", 128) < rows
    # A warpgroup of wgmma reads B once for its four warps.
    assert operand_price(product, 100, HOPPER)("FullRow", 128) < rows * AMPERE.processors / HOPPER.processors * 1.01
    assert operand_price(product, 100, CPU)("FullRow", 128) == 0


def test_waves_that_are_not_full() -> None:
    price = occupancy_price(100_000, 0, AMPERE.processors * 3, ((128, 1e-5),), AMPERE)
    # One block to a processor: three full waves. Two: one and a half.
    assert price(EMPTY, 128) == 0
    two = occupancy_price(80_000, 0, AMPERE.processors * 3, ((128, 1e-5),), AMPERE)
    assert abs(two(EMPTY, 128) - 1e-5 / 4) < 1e-12
    assert two(Room((20_000, 0, 0)), 128) == 0
    assert occupancy_price(80_000, 0, 5, ((128, 1e-5),), AMPERE)(EMPTY, 128) == 0
