"""Moving tensors without computing: copy, cast, transpose."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.dtypes import dtype as dtype_named
from mosaic.graph.kernel import kernel


def _copy(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": (16, 32, 64, 128), "block_N": (16, 32, 64, 128, 256, 384, 512), "threads": (64, 128, 256)},
    reference=_copy,
    valid=lambda block_M, block_N: block_M * block_N <= 32768,
)
def copy(M: int, N: int, dtype: str, block_M: int = 64, block_N: int = 64, threads: int = 128) -> Any:
    """y = x, by way of shared memory."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            tile = T.alloc_shared((block_M, block_N), dtype)
            T.copy(x[by * block_M, bx * block_N], tile)
            T.copy(tile, y[by * block_M, bx * block_N])

    return main


def _cast(x: torch.Tensor, to: str) -> torch.Tensor:
    # float64 stands for "no rounding", so it stays; integers become whatever is asked for
    return x if x.dtype is torch.float64 and dtype_named(to).is_float else x.to(dtype_named(to).torch)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : to"},
    attributes={"to": "float32"},
    tunables={"block_M": (16, 32, 64, 128), "block_N": (16, 32, 64, 128, 256, 384, 512), "threads": (128, 256)},
    reference=_cast,
)
def cast(M: int, N: int, dtype: str, to: str, block_M: int = 32, block_N: int = 128, threads: int = 128) -> Any:
    """y = x in the type `to`, rounded to nearest; a number beyond the type's range becomes whatever the hardware makes of it.

    gfx942 has no float8_e4m3fn: see `mosaic.kernels.quantize`.
    """

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), to)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), T.ceildiv(N, block_N), threads=threads) as (bm, bn):
            for i, j in T.Parallel(block_M, block_N):
                y[bm * block_M + i, bn * block_N + j] = T.cast(x[bm * block_M + i, bn * block_N + j], to)

    return main


def _transpose(x: torch.Tensor) -> torch.Tensor:
    return x.T.contiguous()


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "N M : dtype"},
    tunables={"block_M": (16, 32, 64, 128), "block_N": (16, 32, 64, 128), "threads": (128, 256)},
    reference=_transpose,
)
def transpose(M: int, N: int, dtype: str, block_M: int = 32, block_N: int = 32, threads: int = 128) -> Any:
    """y[j, i] = x[i, j]: read along rows of x into shared memory, written along rows of y."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((N, M), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            # one column of padding keeps a column's elements in different banks
            tile = T.alloc_shared((block_M, block_N + 1), dtype)
            for i, j in T.Parallel(block_M, block_N, coalesced_width=T.int32(1)):  # the padded rows do not take vectors
                tile[i, j] = x[by * block_M + i, bx * block_N + j]
            for j, i in T.Parallel(block_N, block_M):
                y[bx * block_N + j, by * block_M + i] = tile[i, j]

    return main
