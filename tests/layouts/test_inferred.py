"""The accumulators that TileLang infers, against Mosaic's own fragments: of real products, for each kind of matrix unit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from mosaic.layouts.atoms import mfma, mma, swap_operands, tile, wgmma
from mosaic.layouts.conversion import classify
from mosaic.layouts.layout import Layout
from mosaic.layouts.read import LayoutTable, read_layouts
from tests.layouts.programs import product


def as_layout(found: LayoutTable, lanes: int) -> Layout:
    """(register, lane, warp) to (m, n), from the table of where each element lies."""
    assert found.thread is not None
    assert found.register is not None
    rows, columns = found.shape
    elements = {}
    for row, column in itertools.product(range(rows), range(columns)):
        thread = int(found.thread[row, column, 0])
        elements[int(found.register[row, column]), thread % lanes, thread // lanes] = (row, column)
    warps = len(elements) // found.size // lanes
    return Layout.from_function(
        {"register": found.size, "lane": lanes, "warp": warps}, {"m": rows, "n": columns}, lambda r, t, w: elements[r, t, w]
    )


def over_warps(fragment: Layout, rows: int, columns: int) -> Layout:
    """Its 64 x 64 tile on 4 warps or 2 waves: each a part of `rows` times `columns` of them, filled with fragments."""
    size = dict(fragment.outputs)
    part = tile(fragment, {"n": 64 // columns // size["n"], "m": 64 // rows // size["m"]})
    return tile(part, {"m": rows, "n": columns}, over="warp")


@pytest.mark.parametrize(
    ("target", "lanes", "expected"),
    [
        ({"kind": "cuda", "arch": "sm_80"}, 32, over_warps(mma("float16", 16).c, 2, 2)),
        ({"kind": "cuda", "arch": "sm_90a"}, 32, wgmma("float16", 64).c),
        ({"kind": "hip", "mcpu": "gfx942"}, 64, over_warps(swap_operands(mfma("float16", 16, 16)).c, 2, 1)),
        ({"kind": "hip", "mcpu": "gfx950"}, 64, over_warps(swap_operands(mfma("float16", 16, 32)).c, 2, 1)),
    ],
    ids=["sm_80", "sm_90a", "gfx942", "gfx950"],
)
def test_an_inferred_accumulator_is_the_fragment(target: Mapping[str, str], lanes: int, expected: Layout) -> None:
    found = as_layout(read_layouts(product(64, 64, 64), target)["total"], lanes)
    assert found.is_linear
    conversion = classify(found, expected)
    assert conversion.is_free, (conversion, found.linear, expected.linear)
