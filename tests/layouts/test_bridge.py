"""Tables of where elements lie, as layouts: every place, replicas and holes too."""

from __future__ import annotations

import pytest
import tilelang
import torch

from mosaic.layouts.bridge import EMPTY, layout_of, places
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.read import LayoutTable, read_layouts, table
from tests.layouts.programs import product


def fragment(shape: tuple[int, ...], place: object, replicate: int = 1) -> LayoutTable:
    if replicate == 1:
        return table("f", tilelang.layout.Fragment(list(shape), forward_fn=place), dtype="float32")
    assert isinstance(place, tuple)
    thread, register = place
    return table(
        "f",
        tilelang.layout.Fragment(list(shape), forward_thread_fn=thread, forward_index_fn=register, replicate=replicate),
        dtype="float32",
    )


def test_every_place_holds_what_the_table_says() -> None:
    found = read_layouts(product(64, 64, 64), {"kind": "cuda", "arch": "sm_80"})["total"]
    held = places(found, 128)
    assert held.shape == (found.size, 128)
    assert found.thread is not None
    assert found.register is not None
    for row, column in ((0, 0), (5, 17), (63, 63), (31, 8)):
        assert held[found.register[row, column], found.thread[row, column, 0]] == row * 64 + column
    layout = layout_of(found, 128, 32)
    assert layout is not None
    assert layout.is_linear
    for register, thread in ((0, 0), (3, 77), (31, 127)):
        place = layout(register=register, lane=thread % 32, warp=thread // 32)
        assert place["i0"] * 64 + place["i1"] == held[register, thread]


def test_replicas_stand_at_each_of_their_places() -> None:
    found = fragment((16,), (lambda i, rep: i * 4 + rep, lambda i: 0), replicate=4)
    held = places(found, 64)
    assert held.tolist() == [[thread // 4 for thread in range(64)]]
    assert layout_of(found, 64, 32) is not None


def test_holes_are_empty_and_make_no_layout() -> None:
    found = fragment((48,), lambda i: (i % 48, 0))
    held = places(found, 64)
    assert held[0, :48].tolist() == list(range(48))
    assert set(held[0, 48:].tolist()) == {EMPTY}
    assert layout_of(found, 64, 32) is None
    # Whole warps that hold nothing are no holes: they only are not there.
    assert dict(layout_of(fragment((32,), lambda i: (i % 32, 0)), 64, 32).inputs)["warp"] == 1  # type: ignore[union-attr]


def test_two_elements_in_one_register_are_an_error() -> None:
    with pytest.raises(LayoutError, match="not injective"):
        places(fragment((64,), lambda i: (i % 32, 0)), 64)
    with pytest.raises(LayoutError, match="leaves its block"):
        places(fragment((64,), lambda i: (i, 0)), 32)
    shared = LayoutTable("s", "shared", "float32", (4,), 4, "", offset=torch.arange(4))
    with pytest.raises(LayoutError, match="shared memory"):
        places(shared, 32)
