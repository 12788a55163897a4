"""Conversions that the tests of their code share, random layouts, and what must hold for all of them."""

from __future__ import annotations

import random
from typing import Literal

import torch
from hypothesis import strategies as st

from mosaic.layouts.atoms import mfma, mma, relabel, swap_operands, tile, wgmma
from mosaic.layouts.conversion import Kind
from mosaic.layouts.emit import DeviceFunction, emit
from mosaic.layouts.emit.dialect import dialect
from mosaic.layouts.emit.interpret import Outcome, interpret
from mosaic.layouts.emit.places import Places
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import Dims, LinearMap

Case = tuple[Layout, Layout, str, str]
"""Source, target and their dtypes."""
TO_A = {"m": "m", "n": "k"}


def transposed(layout: Layout) -> Layout:
    """The same places, the two indices exchanged."""
    first, second = (name for name, _ in layout.outputs)
    return relabel(layout, {first: second, second: first}, (first, second))


def nvidia_cases() -> dict[str, Case]:
    half, fp8, tf32 = mma("float16", 16), mma("float8", 32), mma("tfloat32", 8)
    c16, c8 = relabel(tile(half.c, {"n": 2}), TO_A), relabel(tile(fp8.c, {"n": 4}), TO_A)
    square, wide8 = wgmma("float16", 64).c, wgmma("float8", 96)
    beside = relabel(tile(tile(half.c, {"n": 2, "m": 4}), {"n": 4}, over="warp"), TO_A)
    above = tile(tile(half.operand("a"), {"k": 4}), {"m": 4}, over="warp")
    turned = relabel(tile(half.c, {"n": 2}), {"m": "n", "n": "k"}, ("k", "n"))
    three = tile(tile(half.c, {"n": 6}), {"m": 3}, over="warp")
    return {
        "a_fp16": (c16, half.operand("a"), "float32", "float16"),
        "a_fp8": (c8, fp8.operand("a"), "float32", "float8_e4m3fn"),
        "a_fp8_kept": (c8, fp8.operand("a"), "float8_e4m3fn", "float8_e4m3fn"),
        "a_fp8_widened": (c8, fp8.operand("a"), "float8_e5m2", "float16"),
        "a_int8": (c8, fp8.operand("a"), "int32", "int8"),
        "a_tf32": (relabel(tf32.c, TO_A), tf32.operand("a"), "float32", "float32"),
        "at_fp16": (c16, transposed(c16), "float32", "float16"),
        "b_fp16": (relabel(half.c, {"m": "k", "n": "n"}), half.operand("b"), "float32", "float16"),
        "ct_b_bf16": (turned, tile(half.operand("b"), {"n": 2}), "float32", "bfloat16"),
        "wgmma_fp8": (relabel(wgmma("float8", 64).c, TO_A), tile(wide8.operand("a"), {"k": 2}), "float32", "float8_e4m3fn"),
        "wgmma_fp8_96": (relabel(wide8.c, TO_A), tile(wide8.operand("a"), {"k": 3}), "float32", "float8_e4m3fn"),
        "transpose_fp32": (square, transposed(square), "float32", "float32"),
        "transpose_fp16": (square, transposed(square), "float32", "float16"),
        "transpose_int8": (square, transposed(square), "int32", "int8"),
        "transpose_widened": (square, transposed(square), "int8", "float32"),
        "policies_fp16": (beside, above, "float32", "float16"),
        "three_warps": (three, transposed(three), "float32", "float16"),
    }


def amd_cases() -> dict[str, Case]:
    """For gfx950, which has all of gfx942's instructions too."""
    half, wide, tall = mfma("float16", 16, 16), mfma("float16", 16, 32), mfma("float16", 32, 16)
    fp8 = mfma("float8", 16, 32)
    return {
        "swapped_d_a": (relabel(swap_operands(half).c, TO_A), half.operand("a"), "float32", "float16"),
        "d_a": (relabel(half.c, TO_A), half.operand("a"), "float32", "float16"),
        "d_a_16x16x32": (relabel(tile(swap_operands(wide).c, {"n": 2}), TO_A), wide.operand("a"), "float32", "float16"),
        "d_a_32x32x16": (relabel(swap_operands(tall).c, TO_A), tile(tall.operand("a"), {"k": 2}), "float32", "float16"),
        "d_a_fp8": (relabel(tile(swap_operands(fp8).c, {"n": 2}), TO_A), fp8.operand("a"), "float32", "float8_e4m3fn"),
        "transposed": (half.c, transposed(half.c), "float32", "bfloat16"),
        "warps": (tile(half.c, {"n": 2}, over="warp"), tile(half.c, {"n": 2}), "float32", "float16"),
    }


def random_table(registers: int, lanes: int, warps: int, seed: int, *, within: bool) -> Layout:
    """Any layout at all; `within`: each warp holds the same elements for every seed, so that two of them need only shuffles."""
    order = random.Random(seed)
    elements = [list(range(warp * registers * lanes, (warp + 1) * registers * lanes)) for warp in range(warps)]
    if not within:
        mixed = [element for row in elements for element in row]
        order.shuffle(mixed)
        elements = [mixed[at : at + registers * lanes] for at in range(0, len(mixed), registers * lanes)]
    for row in elements:
        order.shuffle(row)
    table = torch.tensor(elements).reshape(warps, registers, lanes).permute(1, 2, 0).unsqueeze(-1)
    return Layout.from_table((("register", registers), ("lane", lanes), ("warp", warps)), (("e", registers * lanes * warps),), table)


@st.composite
def spread(draw: st.DrawFn, inputs: Dims, bits: int, *, within: int = 0) -> LinearMap:
    """A linear map onto all of `bits` bits, maybe with copies; `within`: warps keep that many top bits to themselves."""
    count = sum(size for _, size in inputs)
    warp = dict(inputs).get("warp", 0) if within else 0
    free = count - warp
    columns = list(draw(st.permutations([1 << bit for bit in range(bits - warp)] + [0] * (free - bits + warp))))
    for _ in range(draw(st.integers(0, 2 * free))):
        first, second = draw(st.integers(0, free - 1)), draw(st.integers(0, free - 1))
        if first != second:
            columns[first] ^= columns[second]
    columns += [1 << bits - warp + bit ^ draw(st.integers(0, (1 << bits - warp) - 1)) for bit in range(warp)]
    return LinearMap(inputs, (("e", bits),), tuple(columns))


def convert(
    source: Layout | LinearMap,
    target: Layout | LinearMap,
    dtypes: tuple[str, str] = ("float32", "float16"),
    *,
    arch: str = "sm_90a",
    name: str = "conversion",
    kind: Kind | Literal["cheapest"] | None = None,
    limit: int = 48 << 10,
) -> tuple[DeviceFunction, Outcome]:
    """Emits a conversion and carries its steps out; every place of the target must hold its element."""
    function = emit(source, target, source_dtype=dtypes[0], target_dtype=dtypes[1], arch=arch, name=name, kind=kind, shared_limit=limit)
    how = dialect(arch)
    outcome = interpret(function.program, Places.of(source, how.warp_size).elements, how.banks)
    wanted = Places.of(target, how.warp_size)
    for register, row in enumerate(wanted.elements):
        for thread, element in enumerate(row):
            assert element is None or outcome.target[register][thread] == element, (register, thread)
    assert function.shared_bytes <= limit
    return function, outcome
