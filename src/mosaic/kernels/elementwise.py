"""Element by element: bias, activations, gates, residuals. Computed in float32, rounded once at the end."""

import math
from typing import Any

import tilelang.language as T
import torch
from torch.nn import functional

from mosaic.graph.kernel import kernel

ROWS = (16, 32, 64, 128)
COLUMNS = (16, 32, 64, 128, 256, 384, 512)
THREADS = (128, 256)


def _bias(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return x + bias


@kernel(
    inputs={"x": "M N : dtype", "bias": "N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_bias,
)
def bias(M: int, N: int, dtype: str, block_M: int = 64, block_N: int = 64, threads: int = 128) -> Any:
    """y[i, j] = x[i, j] + bias[j], each element straight from and to device memory."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), bias: T.Tensor((N,), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            for i, j in T.Parallel(block_M, block_N):
                y[by * block_M + i, bx * block_N + j] = T.cast(
                    T.cast(x[by * block_M + i, bx * block_N + j], "float32") + T.cast(bias[bx * block_N + j], "float32"), dtype
                )

    return main


def _gelu_erf(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_gelu_erf,
)
def gelu_erf(M: int, N: int, dtype: str, block_M: int = 32, block_N: int = 128, threads: int = 256) -> Any:
    """y = x Φ(x), with the normal distribution's Φ by the error function. The tile is staged in shared memory."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            tile = T.alloc_shared((block_M, block_N), dtype)
            value = T.alloc_fragment((block_M, block_N), "float32")
            T.copy(x[by * block_M, bx * block_N], tile)
            for i, j in T.Parallel(block_M, block_N):
                value[i, j] = T.cast(tile[i, j], "float32")
            for i, j in T.Parallel(block_M, block_N):
                value[i, j] = 0.5 * value[i, j] * (1.0 + T.erf(value[i, j] * math.sqrt(0.5)))
            T.copy(value, y[by * block_M, bx * block_N])

    return main


def _residual_add(x: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    return x + residual


@kernel(
    inputs={"x": "M N : dtype", "residual": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_residual_add,
)
def residual_add(M: int, N: int, dtype: str, block_M: int = 16, block_N: int = 256, threads: int = 128) -> Any:
    """y = x + residual; both tiles pass through registers."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), residual: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), T.ceildiv(N, block_N), threads=threads) as (bm, bn):
            x_local = T.alloc_fragment((block_M, block_N), dtype)
            residual_local = T.alloc_fragment((block_M, block_N), dtype)
            T.copy(x[bm * block_M, bn * block_N], x_local)
            T.copy(residual[bm * block_M, bn * block_N], residual_local)
            for i, j in T.Parallel(block_M, block_N):
                x_local[i, j] = T.cast(T.cast(x_local[i, j], "float32") + T.cast(residual_local[i, j], "float32"), dtype)
            T.copy(x_local, y[bm * block_M, bn * block_N])

    return main
