"""Register layouts as numbers."""

from __future__ import annotations

import pytest

from mosaic.layouts.atoms import mma, wgmma
from mosaic.layouts.emit.places import Places, element_table
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError, LinearMap


def test_places_are_row_major_and_thread_by_thread() -> None:
    layout = wgmma("float16", 96).c
    places = Places.of(layout, 32)
    assert (places.registers, places.threads, places.warps, places.lanes, places.extents) == (48, 128, 4, 32, (64, 96))
    for register, lane, warp in ((0, 0, 0), (3, 6, 0), (47, 31, 3)):
        found = layout(register=register, lane=lane, warp=warp)
        assert places.elements[register][32 * warp + lane] == 96 * found["m"] + found["n"]
    assert places.linear is None


def test_linear_layouts_keep_their_map_with_one_dim() -> None:
    layout = mma("float16", 16).c
    places = Places.of(layout, 32)
    assert places.linear is not None
    for register in range(4):
        for lane in range(32):
            assert places.linear(register=register, lane=lane, warp=0)["element"] == places.elements[register][lane]


def test_lanes_that_take_no_part() -> None:
    places = Places.of(LinearMap((("register", 1), ("lane", 3)), (("e", 4),), (1, 2, 4, 8)), 32)
    assert places.lanes == 8
    assert places.elements[0][:9] == (0, 2, 4, 6, 8, 10, 12, 14, None)


def test_layouts_that_are_none_in_registers() -> None:
    with pytest.raises(LayoutError, match="does not fit warps of 32"):
        Places.of(LinearMap((("lane", 6),), (("e", 6),), (1, 2, 4, 8, 16, 32)), 32)
    with pytest.raises(LayoutError, match="not row"):
        element_table(Layout.of(LinearMap((("row", 1),), (("e", 1),), (1,))))
