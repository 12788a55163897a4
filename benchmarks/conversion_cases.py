"""Conversions between layouts as kernels meet them on NVIDIA's GPUs, all in blocks of whole warps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mosaic.layouts.atoms import Atom, mma, relabel, tile, wgmma
from mosaic.layouts.conversion import find_contraction, permute_contraction
from mosaic.layouts.layout import Layout

TO_A = {"m": "m", "n": "k"}
_WARPS = 4


@dataclass(frozen=True)
class Case:
    name: str
    source: Layout
    target: Layout
    source_dtype: str
    target_dtype: str


def transposed(layout: Layout) -> Layout:
    """The same places, the two indices exchanged."""
    first, second = (name for name, _ in layout.outputs)
    return relabel(layout, {first: second, second: first}, (first, second))


def rows(layout: Layout) -> Layout:
    """One warp above the other."""
    return tile(layout, {"m": _WARPS}, over="warp")


def columns(layout: Layout, name: str) -> Layout:
    """One warp beside the other."""
    return tile(layout, {name: _WARPS}, over="warp")


def output(atom: Atom, across: int, down: int = 1) -> Layout:
    """C of products side by side (and below each other), as the [m, k] of the next one."""
    return relabel(tile(atom.c, {"n": across, "m": down}), TO_A)


def operand(atom: Atom, across: int, down: int = 1) -> Layout:
    return tile(atom.operand("a"), {"k": across, "m": down})


def square(layout: Layout, across: str) -> Layout:
    """Two by two warps."""
    return tile(layout, {"m": 2, across: 2}, over="warp")


def _free_fp8() -> Case:
    """The order of the contraction that makes the hand-over of fp8 a renaming."""
    fp8 = mma("float8", 32)
    source, target = rows(output(fp8, 4)).linear, rows(operand(fp8, 1)).linear
    order, _ = find_contraction(source, target)
    return Case("mma C to A, k permuted", Layout.of(source), Layout.of(permute_contraction(target, order)), "float32", "float8_e4m3fn")


def cases() -> list[Case]:
    """Those with a cast from the accumulator's type, then the same layouts without one, which is what fusion emits."""
    found = _with_casts()
    kept = [replace(case, source_dtype=case.target_dtype) for case in found if case.source_dtype != case.target_dtype]
    return [*found, *dict.fromkeys(kept)]


def _with_casts() -> list[Case]:
    half, fp8, tf32 = mma("float16", 16), mma("float8", 32), mma("tfloat32", 8)
    wide, wide8 = wgmma("float16", 96), wgmma("float8", 96)
    to_b = {"m": "k", "n": "n"}
    turned = relabel(tile(half.c, {"n": 2, "m": 2}), {"m": "n", "n": "k"}, ("k", "n"))
    below = relabel(tile(half.c, {"n": 4}), to_b)
    both = square(output(half, 4, 2), "k")
    return [
        Case("mma C to A", rows(output(half, 8)), rows(operand(half, 4)), "float32", "float16"),
        Case("wgmma C to A, N = 96", relabel(wide.c, TO_A), tile(wide.operand("a"), {"k": 6}), "float32", "float16"),
        Case("mma C transposed to B", columns(turned, "n"), columns(tile(half.operand("b"), {"n": 4}), "n"), "float32", "bfloat16"),
        _free_fp8(),
        Case("mma C to A", rows(output(fp8, 8)), rows(operand(fp8, 2)), "float32", "float8_e4m3fn"),
        Case("mma C to A", rows(output(fp8, 8)), rows(operand(fp8, 2)), "int32", "int8"),
        Case("mma C to A", rows(output(tf32, 4)), rows(operand(tf32, 4)), "float32", "float32"),
        Case("mma C to A transposed", columns(output(half, 2), "k"), columns(transposed(output(half, 2)), "k"), "float32", "float16"),
        Case("mma C to B", columns(below, "n"), columns(tile(half.operand("b"), {"n": 4}), "n"), "float32", "float16"),
        Case("wgmma C to A", relabel(wgmma("float8", 64).c, TO_A), tile(wide8.operand("a"), {"k": 2}), "float32", "float8_e4m3fn"),
        Case("wgmma C to A, N = 96", relabel(wide8.c, TO_A), tile(wide8.operand("a"), {"k": 3}), "float32", "float8_e4m3fn"),
        Case(
            "wgmma C to A", relabel(wgmma("tfloat32", 32).c, TO_A), tile(wgmma("tfloat32", 32).operand("a"), {"k": 4}), "float32", "float32"
        ),
        Case("columns of warps to rows", columns(output(half, 4, 4), "k"), rows(operand(half, 8)), "float32", "float16"),
        Case("columns of warps to rows", columns(output(fp8, 4, 4), "k"), rows(operand(fp8, 4)), "float32", "float8_e4m3fn"),
        Case("columns of warps to rows, N = 96", columns(output(half, 3, 4), "k"), rows(operand(half, 6)), "float32", "float16"),
        Case("square of warps to rows", both, rows(operand(half, 4)), "float32", "float16"),
        Case("wgmma C to its transpose", wgmma("float16", 64).c, transposed(wgmma("float16", 64).c), "float32", "float16"),
        Case("wgmma C to its transpose", wgmma("float16", 64).c, transposed(wgmma("float16", 64).c), "float32", "float32"),
    ]
