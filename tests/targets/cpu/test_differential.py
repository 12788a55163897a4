"""The same programs by TileLang's own 'c' target, which goes through its lowering passes: the two share no code."""

from __future__ import annotations

from typing import Any

import pytest
import tilelang
import torch
from tvm.target import Target

from mosaic.targets.cpu import compile_cpu
from tests.targets.cpu import both_ways


def by_tilelang(func: Any) -> Any:
    with Target("c"):
        # its vector types are incomplete: without vectors it compiles
        return tilelang.compile(
            func, target="c", target_host="c", execution_backend="cython", pass_configs={"tirx.disable_vectorize": True}
        )


@pytest.mark.parametrize(("M", "N", "K"), [(48, 32, 32), (50, 31, 40)])
def test_product_and_fold(M: int, N: int, K: int) -> None:
    func = both_ways.product_and_fold(M, N, K, 16, 16)
    inputs = (torch.randn(M, K), torch.randn(K, N), torch.randn(N))
    ours, theirs = ((torch.zeros(M, N), torch.zeros(M)) for _ in range(2))
    compile_cpu(func)(*inputs, *ours)
    by_tilelang(func)(*inputs, *theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("by_rows", "by_columns"), [(3, 2), (-3, 1), (-15, 0), (0, -2), (-20, 13)])
def test_what_lies_outside(by_rows: int, by_columns: int) -> None:
    """Zero, dropped, or counted from the end: whatever TileLang makes of a start before the tensor."""
    func = both_ways.shifted(13, 11, by_rows, by_columns)
    x = torch.randn(13, 11)
    ours, theirs = ((torch.ones(13, 11), torch.ones(13, 11)) for _ in range(2))
    compile_cpu(func)(x, *ours)
    by_tilelang(func)(x, *theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


def test_integers() -> None:
    edge = torch.tensor([-(2**31) + 1, -100, -7, -1, 1, 2, 7, 65536, 2**31 - 1], dtype=torch.int32)
    a, b = (column.contiguous() for column in torch.cartesian_prod(edge, edge).unbind(1))
    ours, theirs = torch.zeros(8, len(a), dtype=torch.int32), torch.zeros(8, len(a), dtype=torch.int32)
    func = both_ways.integers(len(a))
    compile_cpu(func)(a, b, ours)
    by_tilelang(func)(a, b, theirs)
    assert torch.equal(ours, theirs)
