"""Hardware fragments against formulas written down apart from them, and against TileLang's own functions.

g = lane // 4 and t = lane % 4 on NVIDIA; l is one of 64 lanes on AMD; r, e, v count registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tilelang import tvm  # noqa: F401  (puts TileLang's own tvm on the path)
from tilelang.cuda.intrinsics.layout import mma_layout
from tilelang.rocm.intrinsics import mfma_layout

from mosaic.layouts import atoms
from mosaic.layouts.atoms import ATOMS, Atom, mfma, mma, relabel, swap_operands, tile, wgmma
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError

Place = tuple[int, int, int]
Formula = Callable[[int, int, int], tuple[int, int]]


def values(layout: Layout) -> dict[Place, tuple[int, int]]:
    """(register, lane, warp) to (row, column)."""
    extents = dict(layout.inputs)
    table = layout.to_table()
    found = {}
    for r in range(extents["register"]):
        for lane in range(extents["lane"]):
            for w in range(extents.get("warp", 1)):
                row, column = table[(r, lane, w) if "warp" in extents else (r, lane)].tolist()
                found[r, lane, w] = (row, column)
    return found


def by_hand(layout: Layout, formula: Formula) -> dict[Place, tuple[int, int]]:
    return {place: formula(*place) for place in values(layout)}


# The table of fragments, as formulas. 16 bits on NVIDIA are written out as in the PTX manual; other widths below.
MMA_16: dict[str, Formula] = {
    "a": lambda r, lane, w: (lane // 4 + 8 * ((r % 4) // 2), 2 * (lane % 4) + r % 2 + 8 * (r // 4)),
    "b": lambda r, lane, w: (2 * (lane % 4) + r % 2 + 8 * (r // 2), lane // 4),
    "c": lambda r, lane, w: (lane // 4 + 8 * (r // 2), 2 * (lane % 4) + r % 2),
}
MMA_8: dict[str, Formula] = {
    "a": lambda r, lane, w: (lane // 4 + 8 * ((r // 4) % 2), 4 * (lane % 4) + r % 4 + (16 if r >= 8 else 0)),
    "b": lambda r, lane, w: (4 * (lane % 4) + r % 4 + (16 if r >= 4 else 0), lane // 4),
    "c": MMA_16["c"],
}
MMA_32: dict[str, Formula] = {
    "a": lambda r, lane, w: (lane // 4 + 8 * (r % 2), lane % 4 + 4 * (r // 2)),
    "b": lambda r, lane, w: (lane % 4 + 4 * r, lane // 4),
    "c": MMA_16["c"],
}
BY_WIDTH = {"float16": MMA_16, "bfloat16": MMA_16, "tfloat32": MMA_32, "float8": MMA_8, "int8": MMA_8}


def mfma_formulas(mn: int, each: int) -> dict[str, Formula]:
    groups = 64 // mn
    rows: Formula = (
        (lambda v, l, w: (4 * (l // 16) + v, l % 16)) if mn == 16 else (lambda v, l, w: (8 * (v // 4) + 4 * (l // 32) + v % 4, l % 32))  # noqa: E741
    )
    assert groups in (4, 2)
    return {
        "a": lambda e, l, w: (l % mn, each * (l // mn) + e),  # noqa: E741
        "b": lambda e, l, w: (each * (l // mn) + e, l % mn),  # noqa: E741
        "c": rows,
    }


def formulas(atom: Atom) -> dict[str, Formula]:
    if atom.name.startswith("mfma"):
        return mfma_formulas(atom.m, atom.k * atom.m // 64)
    if atom.name.startswith("mma"):
        return BY_WIDTH[atom.dtype]
    one_warp = BY_WIDTH[atom.dtype]["a"]

    def a(r: int, lane: int, w: int) -> tuple[int, int]:
        row, k = one_warp(r, lane, 0)
        return row + 16 * w, k

    return {"a": a, "c": lambda r, lane, w: (16 * w + lane // 4 + 8 * ((r // 2) % 2), 8 * (r // 4) + 2 * (lane % 4) + r % 2)}


@pytest.mark.parametrize("atom", ATOMS, ids=lambda atom: f"{atom.name}-{atom.dtype}")
def test_every_fragment_is_what_the_manual_says(atom: Atom) -> None:
    for which, formula in formulas(atom).items():
        layout = atom.operand(which)  # type: ignore[arg-type]
        assert values(layout) == by_hand(layout, formula), which
        assert layout.is_linear
        assert dict(layout.outputs) == {name: getattr(atom, name) for name, _ in layout.outputs}


@pytest.mark.parametrize("atom", ATOMS, ids=lambda atom: f"{atom.name}-{atom.dtype}")
def test_every_element_is_held_once(atom: Atom) -> None:
    for layout in (atom.a, atom.b, atom.c):
        if layout is not None:
            (_, rows), (_, columns) = layout.outputs
            found = list(values(layout).values())
            assert len(found) == rows * columns
            assert set(found) == {(row, column) for row in range(rows) for column in range(columns)}


@pytest.mark.parametrize("n", [8, 24, 96, 104, 200, 256])
def test_wgmma_takes_any_multiple_of_8_columns(n: int) -> None:
    found = wgmma("float16", n)
    assert values(found.c) == by_hand(found.c, formulas(found)["c"])
    assert found.c.is_injective
    with pytest.raises(LayoutError, match="from shared memory"):
        found.operand("b")


@pytest.mark.parametrize("atom", [mma("float16", 16), mfma("float16", 32, 8), wgmma("float16", 24)], ids=lambda atom: atom.name)
def test_swapping_exchanges_the_operands_and_transposes_the_result(atom: Atom) -> None:
    swapped = swap_operands(atom)
    assert values(swapped.c) == {place: (column, row) for place, (row, column) in values(atom.c).items()}
    assert atom.a is not None
    assert values(swapped.operand("b")) == {place: (k, m) for place, (m, k) in values(atom.a).items()}
    assert (swapped.a is None) == (atom.b is None)
    again = swap_operands(swapped)
    assert (again.a, again.b, again.c, again.swapped) == (atom.a, atom.b, atom.c, False)


def test_fragments_are_tiled_over_registers_and_warps() -> None:
    base = mma("float16", 16).c
    whole = tile(tile(base, {"n": 3, "m": 2}), {"m": 4}, over="warp")
    assert dict(whole.inputs) == {"register": 24, "lane": 32, "warp": 4}
    assert dict(whole.outputs) == {"m": 128, "n": 24}
    assert values(whole) == by_hand(
        whole,
        lambda r, lane, w: (lane // 4 + 8 * ((r // 2) % 2) + 16 * (r // 12) + 32 * w, 2 * (lane % 4) + r % 2 + 8 * ((r // 4) % 3)),
    )


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: mma("float64", 16), "takes float64"),
        (lambda: mma("float16", 32), "no mma.m16n8k32 takes float16"),
        (lambda: mma("float32", 8), "no mma.m16n8k8 takes float32"),
        (lambda: wgmma("float16", 12), "n is a multiple of 8"),
        (lambda: mfma("float16", 16, 64), "no mfma 16x16x64 takes float16"),
        (lambda: mfma("float8", 16, 128), "no mfma 16x16x128 takes float8"),
        (lambda: mfma("float16", 8, 16), "no mfma 8x8x16"),
    ],
)
def test_instructions_that_do_not_exist_are_refused(action: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        action()


# TileLang's own functions. Its NVIDIA tiles are 16x16 (two instructions of n = 8 side by side), its B is given as [n, k].


def upstream(function: Any, layout: Layout) -> dict[Place, tuple[int, int]]:
    """(lane, register) to (row, column) of a TileLang function that takes plain numbers."""
    found = {}
    for register, lane, warp in values(layout):
        row, column = function(lane, register)
        found[register, lane, warp] = (int(row), int(column))
    return found


def upstream_inverse(function: Any, rows: int, columns: int) -> dict[Place, tuple[int, int]]:
    """The same of a function (row, column) to (lane, register)."""
    found = {}
    for row in range(rows):
        for column in range(columns):
            lane, register = (int(getattr(part, "value", part)) for part in function(row, column))
            found[register, lane, 0] = (row, column)
    return found


def two_of(atom: Atom, which: Any) -> Layout:
    """The fragment of 16 columns that TileLang makes of two instructions."""
    return tile(atom.operand(which), {"n": 2})


@pytest.mark.parametrize(
    ("atom", "a", "b", "a_back", "b_back"),
    [
        (
            mma("float16", 16),
            mma_layout.mma_load_a_32x8_to_shared_16x16_layout,
            mma_layout.mma_load_b_32x8_to_shared_16x16_layout,
            mma_layout.shared_16x16_to_mma_a_32x8_layout,
            mma_layout.shared_16x16_to_mma_b_32x8_layout,
        ),
        (
            mma("tfloat32", 8),
            mma_layout.mma_load_a_32x4_to_shared_16x8_layout,
            mma_layout.mma_load_b_32x4_to_shared_16x8_layout,
            mma_layout.shared_16x8_to_mma_a_32x4_layout,
            mma_layout.shared_16x8_to_mma_b_32x4_layout,
        ),
        (
            mma("int8", 32),
            mma_layout.mma_load_a_32x16_to_shared_16x32_layout,
            mma_layout.mma_load_b_32x16_to_shared_16x32_layout,
            mma_layout.shared_16x32_to_mma_a_32x16_layout,
            mma_layout.shared_16x32_to_mma_b_32x16_layout,
        ),
    ],
    ids=["float16", "tfloat32", "int8"],
)
def test_tilelang_has_the_same_mma_fragments(atom: Atom, a: Any, b: Any, a_back: Any, b_back: Any) -> None:
    first, second = atom.operand("a"), relabel(two_of(atom, "b"), {}, ("n", "k"))
    assert upstream(a, first) == values(first)
    assert upstream(b, second) == values(second)
    assert upstream_inverse(a_back, 16, atom.k) == values(first)
    assert upstream_inverse(b_back, 16, atom.k) == values(second)
    accumulator = two_of(atom, "c")
    assert upstream(mma_layout.mma_store_32x8_to_shared_16x16_layout, accumulator) == values(accumulator)


@pytest.mark.parametrize(
    ("atom", "suffix"),
    [
        (mfma("float16", 16, 16), "64x4_to_16x16"),
        (mfma("float16", 16, 32), "64x8_to_16x32"),
        (mfma("int8", 16, 64), "64x16_to_16x64"),
        (mfma("int8", 32, 32), "64x16_to_32x32"),
        (mfma("float32", 16, 4), "64x1_to_16x4"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tilelang_has_the_same_mfma_operands(atom: Atom, suffix: str) -> None:
    first = atom.operand("a")
    assert upstream(getattr(mfma_layout, f"thread_id_shared_access_{suffix}_layout_A"), first) == values(first)
    second = atom.operand("b")
    name = f"thread_id_shared_access_{suffix if '64x1_' not in suffix else '64x1_to_4x16'}_layout_B"
    found = upstream(getattr(mfma_layout, name), second)
    assert found == values(second)


def test_tilelang_issues_every_mfma_with_its_operands_swapped() -> None:
    """Its accumulator is the hardware's transposed, so it is ours after swap_operands; its unswapped variant is the hardware's own."""
    small, large = mfma("float16", 16, 16), mfma("int8", 32, 32)
    hardware = values(small.c)
    assert upstream(mfma_layout.thread_id_shared_access_64x4_to_16x16_layout_C_m_n, small.c) == hardware
    assert upstream(mfma_layout.thread_id_shared_access_64x4_to_16x16_layout_C_n_m, small.c) == values(swap_operands(small).c)
    both = (
        mfma_layout.thread_id_shared_access_64x16_to_32x32_layout_C_m_n,
        mfma_layout.thread_id_shared_access_64x16_to_32x32_layout_C_n_m,
    )
    for function in both:  # despite their names, both are the swapped form
        assert upstream(function, large.c) == values(swap_operands(large).c)
    assert atoms.swap_operands(large).swapped
