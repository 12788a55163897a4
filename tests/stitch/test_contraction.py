"""Orders of the contraction in kernels: what they make free, where they are allowed, and that both operands are in one order."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tilelang.language as T
import torch

from mosaic.layouts.order import moved
from mosaic.layouts.read import read_layouts
from mosaic.stitch.contraction import Order, find_contraction, order_of, reorder
from mosaic.stitch.convert import replay
from mosaic.targets.cache import Cache
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.lower import lower
from mosaic.targets.target import find
from tests.layouts.chain import Chain, build
from tests.layouts.checked import check

# k = 0, 1, 8, 9, 2, ... of fp8, and what the same idea gives for tf32 and for wide instructions of gfx950 and k_pack = 2.
FREE = [
    (Chain("a", 64, 64, 32, 32, 128, mid="float8_e4m3fn"), "sm_90a", [0, 3, 1, 2]),
    (Chain("a", 64, 96, 32, 32, 128, mid="float8_e4m3fn"), "sm_90a", [0, 3, 1, 2]),
    (Chain("a", 64, 64, 32, 32, 128, dtype="int8", mid="int8"), "sm_80", [0, 3, 1, 2]),
    (Chain("a", 64, 64, 32, 32, 128, mid="float32"), "sm_80", [1, 2, 0]),
    (Chain("a", 64, 64, 32, 32, 128, mid="float8_e4m3fn"), "gfx950", [0, 1, 4, 2, 3]),
    (Chain("a", 64, 64, 32, 32, 128, dtype="int8", mid="int8"), "gfx942", [0, 1, 4, 2, 3]),
    (Chain("a", 64, 64, 32, 32, 128, k_pack=2), "gfx950", [0, 1, 4, 2, 3]),
    (Chain("norm", 64, 64, 32, 32, 128, mid="float8_e4m3fn"), "sm_90a", [0, 3, 1, 2]),
]


@pytest.mark.parametrize(("chain", "target", "order"), FREE, ids=[f"{chain.name}-{target}" for chain, target, _ in FREE])
def test_handovers_stay_in_registers(chain: Chain, target: str, order: list[int], tmp_path: Path) -> None:
    lowered = lower(build(chain), target, binary=False, cache=Cache(tmp_path))
    assert order in [each["order"] for each in lowered.conversions]
    assert {each["kind"] for each in lowered.conversions} <= {"identity", "permute"}
    assert "shfl" not in lowered.source.split("__global__")[1]
    assert not check(chain.tensors(), chain.steps(), compile_cpu(lowered.program, poison=True), device="cpu", tf32=False).failures


@pytest.mark.parametrize("dtype", ["float16", "float8_e4m3fnuz"])
def test_the_8_bit_float_of_gfx942(dtype: str, tmp_path: Path) -> None:
    """Its format has another exponent bias (fnuz), which the CPU target does not have: there, what was cut and permuted runs in e4m3fn."""
    chain = Chain("a", 64, 64, 32, 32, 128, dtype=dtype, mid="float8_e4m3fnuz")
    lowered = lower(build(chain), "gfx942", binary=False, cache=Cache(tmp_path))
    assert [(each["kind"], each["order"]) for each in lowered.conversions] == [("permute", [0, 1, 4, 2, 3])]
    assert "mfma_f32_16x16x32_fp8_fp8" in lowered.source
    assert lowered.cuts is not None
    twin = replace(chain, mid="float8_e4m3fn", dtype="float8_e4m3fn" if dtype.startswith("float8") else dtype)
    converted = replay(build(twin), lowered.cuts)
    assert not check(twin.tensors(), twin.steps(), compile_cpu(converted, poison=True), device="cpu", tf32=False).failures


@pytest.mark.parametrize("consumer", ["bt", "b"])
def test_elements_along_rows_are_not_copied_one_by_one(consumer: str, tmp_path: Path) -> None:
    """The other operand of `b` is [q, k]: another order of k would tear its rows apart."""
    lowered = lower(build(Chain(consumer, 64, 64, 32, 32, 128, mid="float32")), "sm_80", binary=False, cache=Cache(tmp_path))
    assert [each["order"] for each in lowered.conversions] == [[]]


def test_a_name_says_the_order() -> None:
    assert order_of("mosaic_convert_12_axis1_order0312") == (1, (0, 3, 1, 2))
    assert order_of("mosaic_convert_12") is None
    assert order_of("mosaic_convert_3" + Order(0, (1, 0), ("b",)).suffix) == (0, (1, 0))


def _kernel(*, reused: bool = False, sliced: bool = False, shifted: bool = False) -> Any:
    @T.prim_func
    def main(a: T.Tensor((32, 64), "float16"), b: T.Tensor((2, 64, 32), "float32"), o: T.Tensor((32, 32), "float32")) -> None:
        with T.Kernel(1, threads=64) as _:
            b_tile = T.alloc_shared((64, 32), "float16")
            g = T.alloc_fragment((32, 64), "float16")
            h = T.alloc_fragment((32, 64), "float16")
            total = T.alloc_fragment((32, 32), "float32")
            T.copy(a, g)
            T.evaluate(T.call_extern("handle", "mosaic_convert_0", g.data, h.data))
            if shifted:
                for i, j in T.Parallel(64, 32):
                    b_tile[i, j] = T.cast(b[1, i, j], "float16")
            else:
                T.copy(b[1, 0:64, 0:32], b_tile)
            T.clear(total)
            T.gemm(h, b_tile, total)
            if sliced:
                T.gemm(h[0:32, 0:32], b_tile[0:32, 0:32], total)
            if reused:
                for i, j in T.Parallel(32, 32):
                    total[i, j] += T.cast(b_tile[i, j], "float32")
            T.copy(total, o)

    return main


def test_what_goes_along_is_found() -> None:
    found = find_contraction(_kernel(), "h")
    assert found is not None
    assert (found.axis, found.rows_of) == (1, ("b_tile",))


@pytest.mark.parametrize("how", ["reused", "sliced", "shifted"])
def test_what_is_used_otherwise_stays_in_order(how: str) -> None:
    assert find_contraction(_kernel(**{how: True}), "h") is None
    assert find_contraction(_kernel(**{how: True}), "nothing") is None


def test_rows_are_copied_in_the_order() -> None:
    order = (0, 2, 1)
    program = reorder(_kernel(), {"b_tile": order})
    assert reorder(_kernel(), {}) is not program
    b = torch.randn(2, 64, 32)
    out = torch.empty(32, 32)
    a = torch.randn(32, 64, dtype=torch.float16)
    compile_cpu(program)(a, b, out)
    rows = [moved(k, order) for k in range(64)]
    assert torch.allclose(out, a.float() @ b[1].half().float()[rows], atol=1e-2)


@pytest.mark.parametrize("target", ["sm_80", "sm_90a", "gfx942", "gfx950"])
def test_the_emitted_copy_brings_rows_where_the_product_looks(target: str, tmp_path: Path) -> None:
    """The address arithmetic of the source itself, worked out for every thread, against TileLang's layout of the shared tile."""
    chain = Chain("a", 128, 64, 32, 64, 256, mid="float32")
    lowered = lower(build(chain), target, binary=False, cache=Cache(tmp_path))
    (handed,) = lowered.conversions
    copies = r"for \(int (\w+) = 0; \w+ < (\d+);[^\n]*\n[^\n]*\(\(\(float\*\)d_tile\) \+ (.+)\) = \*\(float4\*\)\(d \+ (.+)\);"
    ((loop, count, to, come),) = re.findall(copies, lowered.source)
    tiles = read_layouts(lowered.program, find(target).upstream, {"tl.disable_warp_specialized": True})["d_tile"].offset
    assert tiles is not None
    place = {int(tiles[k, n]): (k, n) for k in range(64) for n in range(64)}
    seen = set()
    for thread, turn in itertools.product(range(256), range(int(count))):
        names = {"thread": thread, loop: turn}
        first, origin = (eval(text.replace("((int)threadIdx.x)", "thread"), {}, names) for text in (to, come))
        for element in range(4):
            k, n = place[first + element]
            assert divmod(origin + element, 64) == (moved(k, handed["order"]), n)
            seen.add((k, n))
    assert len(seen) == 64 * 64
