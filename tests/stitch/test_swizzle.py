"""Stages of a product's tile are swizzled, without conflicts and without narrower accesses; nothing else is, and results stay the same."""

from __future__ import annotations

from typing import Any

import pytest
import tilelang.language as T
import torch

from mosaic.layouts.read import table
from mosaic.stitch.swizzle import layout, stages, swizzled
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.lower import lower
from mosaic.targets.target import find

HOPPER = find("sm_90a")


def staged(columns: int = 128, rows: int = 64, dtype: str = "float16") -> Any:
    """A product whose tile goes through shared memory to be stored in rows."""

    @T.prim_func
    def main(a: T.Tensor((rows, 64), "float16"), b: T.Tensor((columns, 64), "float16"), c: T.Tensor((rows, columns), dtype)):  # type: ignore[no-untyped-def]
        with T.Kernel(1, threads=128) as _:
            a_tile = T.alloc_shared((rows, 64), "float16")
            b_tile = T.alloc_shared((columns, 64), "float16")
            rest = T.alloc_shared((rows, columns), dtype)
            acc = T.alloc_fragment((rows, columns), "float32")
            half = T.alloc_fragment((rows, columns), dtype)
            value = T.alloc_fragment((rows, columns), "float32")
            T.copy(a, a_tile)
            T.copy(b, b_tile)
            T.clear(acc)
            T.gemm(a_tile, b_tile, acc, transpose_B=True)
            for i, j in T.Parallel(rows, columns):
                half[i, j] = acc[i, j] * 2.0
            T.copy(half, rest)
            for i, j in T.Parallel(rows, columns):
                value[i, j] = rest[i, j] + 1.0
            T.copy(value, c)

    return main


def run(func: Any, *inputs: torch.Tensor) -> torch.Tensor:
    shape = [int(n) for n in func.buffer_map[func.params[-1]].shape]
    out = torch.full(shape, float("nan"), dtype=inputs[0].dtype)
    compile_cpu(func)(*inputs, out)
    return out


def test_only_what_a_products_tile_is_written_to_is_a_stage() -> None:
    assert list(stages(staged())) == ["rest"]
    assert stages(swizzled(staged())) == {}


def test_rows_that_no_swizzle_divides_stay() -> None:
    func = staged(columns=24)
    assert stages(func) == {}
    assert swizzled(func) is func


@pytest.mark.parametrize("columns", [16, 32, 64, 128, 192, 384])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_eight_rows_of_a_column_lie_in_different_banks(columns: int, dtype: str) -> None:
    """By enumeration: every element has a place, chunks of 16 bytes stay whole, and eight rows' chunks of one column share no bank."""
    func = staged(columns, dtype=dtype)
    (buffer,) = stages(func).values()
    found = table("rest", layout(buffer))
    assert found.offset is not None
    offset, size = found.offset.reshape(64, columns), torch.finfo(getattr(torch, dtype)).bits // 8
    assert sorted(offset.reshape(-1).tolist()) == list(range(64 * columns))
    chunk = 16 // size
    assert torch.equal(offset[:, 1::chunk] - offset[:, ::chunk], torch.ones_like(offset[:, ::chunk]))
    places = offset[:8, ::chunk] * size % 128 // 16
    assert all(len(set(column.tolist())) == 8 for column in places.T)


def test_accesses_are_as_wide_as_before_and_results_the_same() -> None:
    func = staged()
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(rows, 64, generator=draw).half() for rows in (64, 128))
    assert torch.equal(run(func, a, b), run(swizzled(func), a, b))
    plain, turned = (lower(each, HOPPER).emitted for each in (func, swizzled(func)))
    if plain is not None and turned is not None:
        assert {name: turned.families.get(name) for name in ("LDS", "STS", "STSM")} == {
            name: plain.families.get(name) for name in ("LDS", "STS", "STSM")
        }
