"""Places of tiles: what turning one into another is, and what it costs, against the classes and counts found apart."""

from __future__ import annotations

import pytest
import torch

from mosaic.layouts.fragments import WarpGrid
from mosaic.layouts.layout import Layout
from mosaic.layouts.places import EMPTY, Place, Room, conversion, improves, is_sound, stage_cycles, store_width

ROWS = Place("rows", 64, 64)
C = Place("C", 64, 64, "mma", WarpGrid(4, 1))
A = Place("A", 64, 64, "mma", WarpGrid(4, 1), "float16", 16)


def test_what_it_says() -> None:
    assert [str(place) for place in (ROWS, C, A)] == ["rows", "C of mma over 4x1 warps", "A of mma over 4x1 warps"]
    assert ROWS.layout is None
    assert C.layout is not None
    assert A.layout is not None
    assert dict(C.layout.outputs) == dict(A.layout.outputs)


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        (C, C, "identity"),
        (C, A, "identity"),
        (Place("C", 128, 64, "mma", WarpGrid(4, 1)), Place("A", 128, 64, "mma", WarpGrid(4, 1), "float16", 16), "permute"),
        (C, Place("A", 64, 64, "mma", WarpGrid(2, 2), "float16", 16), "shared"),
        (Place("C", 64, 64, "mma", WarpGrid(1, 4)), A, "shared"),
        (Place("C", 64, 64, "mma", WarpGrid(4, 1)), Place("A", 64, 64, "mma", WarpGrid(4, 1), "float8", 32), "shuffle"),
        (Place("C", 64, 64, "mfma", WarpGrid(2, 1)), Place("A", 64, 64, "mfma", WarpGrid(2, 1), "float16", 16), "permute"),
        (ROWS, A, "shared"),
        (C, Place("A", 64, 32, "mma", WarpGrid(4, 1), "float16", 16), "shared"),
    ],
)
def test_classes(source: Place, target: Place, kind: str) -> None:
    assert conversion(source, target).kind == kind


def test_another_order_of_the_contraction() -> None:
    fp8 = Place("A", 64, 64, "mma", WarpGrid(4, 1), "float8", 32)
    assert conversion(C, fp8, "permuted").is_free
    assert improves(C, fp8)
    assert not improves(C, A)


def test_a_stage_counts_bank_conflicts() -> None:
    """C of mma into rows of 128 bytes: eight rows of a store lie in the same four banks; a swizzle of 128 bytes parts them."""
    plain = stage_cycles(C, 2, 0, "sm_80", write=True)
    swizzled = stage_cycles(C, 2, 128, "sm_80", write=True)
    assert plain == 8 * swizzled
    assert swizzled == 64 * 64 * 2 / 128
    assert stage_cycles(ROWS, 2, 0, "sm_80", write=True) == 64
    assert stage_cycles(Place("C", 64, 96, "mma", WarpGrid(4, 1)), 2, 0, "sm_80", write=True) == 96  # not linear: whole wavefronts


def test_width_of_stores() -> None:
    assert store_width(C, 2) == 4  # two columns beside each other
    assert store_width(Place("C", 64, 64, "mfma", WarpGrid(2, 1)), 2) == 8  # four, as its operands are swapped
    assert store_width(ROWS, 2) == 16
    assert store_width(Place("C", 64, 96, "mma", WarpGrid(4, 1)), 2) == 2


def test_a_given_layout_may_be_unsound() -> None:
    table = torch.zeros(4, 2, 1, 2, dtype=torch.int64)
    for register in range(4):
        for lane in range(2):
            table[register, lane, 0] = torch.tensor([lane, register])
    inputs, outputs = (("register", 4), ("lane", 2), ("warp", 1)), (("m", 2), ("n", 4))
    good = Place("given", 2, 4, given=Layout.from_table(inputs, outputs, table), label="good")
    assert is_sound(good)
    table[3, :, :, 1] = 2  # two registers hold column 2, and none holds column 3
    assert not is_sound(Place("given", 2, 4, given=Layout.from_table(inputs, outputs, table), label="bad"))
    assert str(good) == "good"
    assert is_sound(C)


def test_room() -> None:
    assert (EMPTY.stages, EMPTY.last, EMPTY.most) == (0, 0, 0)
    assert Room((1, 2, 3)) == (1, 2, 3)
