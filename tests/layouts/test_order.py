"""Orders of a contraction: what they are, and which one leaves elements where they are."""

from __future__ import annotations

import pytest
import torch

from mosaic.layouts.atoms import mfma, mma, relabel, swap_operands, tile
from mosaic.layouts.conversion import classify, contraction_indices, find_contraction
from mosaic.layouts.layout import Layout
from mosaic.layouts.order import free_order, moved, permuted

TO_A = {"m": "m", "n": "k"}


def test_an_index_moves_by_bits() -> None:
    order = (0, 3, 1, 2)
    assert [moved(k, order) for k in range(16)] == contraction_indices(order)
    assert [moved(k, order) for k in range(16, 32)] == [16 + k for k in contraction_indices(order)]
    assert moved(torch.arange(48), order).tolist() == [moved(k, order) for k in range(48)]


def test_the_order_of_a_fragment() -> None:
    fp8 = mma("float8", 32)
    source, target = relabel(tile(fp8.c, {"n": 12}), {"m": "m", "n": "k"}), tile(fp8.operand("a"), {"k": 3})
    order = free_order(source, target, 1)
    assert order == (0, 3, 1, 2)
    assert classify(source, target).kind == "shuffle"
    assert classify(source, permuted(target, 1, order)).kind == "permute"
    # Along rows nothing helps.
    assert free_order(source, target, 0) is None


def test_no_order_brings_back_what_other_warps_hold() -> None:
    c = relabel(tile(mma("float8", 32).c, {"n": 4}), {"m": "m", "n": "k"})
    beside = tile(c, {"k": 2}, over="warp")
    below = tile(tile(mma("float8", 32).operand("a"), {"k": 2}), {"m": 1}, over="warp")
    assert free_order(beside, Layout.of(below.linear), 1) is None


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize(
    ("atom", "across"), [(mma("float8", 32), 4), (mma("int8", 32), 4), (mma("tfloat32", 8), 1), (swap_operands(mfma("float16", 16, 32)), 2)]
)
def test_it_is_the_one_that_a_search_finds(atom: object, across: int, blocks: int) -> None:
    source, target = relabel(tile(atom.c, {"n": across * blocks}), TO_A), tile(atom.operand("a"), {"k": blocks})  # type: ignore[attr-defined]
    order = free_order(source, target, 1)
    assert order is not None
    assert classify(source, permuted(target, 1, order)).kind in ("identity", "permute")
    if blocks == 1:
        searched, found = find_contraction(source.linear, target.linear)
        assert found.is_free
        assert [moved(k, order) for k in range(1 << len(searched))] == contraction_indices(searched)
