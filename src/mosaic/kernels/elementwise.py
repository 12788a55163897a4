"""Element by element: bias, sums, products, residuals. Computed in float32, rounded once at the end."""

from typing import Any

import tilelang.language as T
import torch

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


def _add(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a + b


@kernel(
    inputs={"a": "M N : dtype", "b": "M N : dtype"},
    outputs={"c": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": (64, 128, 256)},
    reference=_add,
)
def add(M: int, N: int, dtype: str, block_M: int = 32, block_N: int = 32, threads: int = 64) -> Any:
    """c = a + b, each element straight from and to device memory."""

    @T.prim_func
    def main(a: T.Tensor((M, N), dtype), b: T.Tensor((M, N), dtype), c: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), T.ceildiv(N, block_N), threads=threads) as (bm, bn):
            for i, j in T.Parallel(block_M, block_N):
                c[bm * block_M + i, bn * block_N + j] = (
                    a[bm * block_M + i, bn * block_N + j].astype("float32") + b[bm * block_M + i, bn * block_N + j].astype("float32")
                ).astype(dtype)

    return main


def _multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a * b


@kernel(
    inputs={"a": "M N : dtype", "b": "M N : dtype"},
    outputs={"c": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_multiply,
)
def multiply(M: int, N: int, dtype: str, block_M: int = 16, block_N: int = 128, threads: int = 128) -> Any:
    """c = a · b, element by element, through float32 registers."""

    @T.prim_func
    def main(a: T.Tensor((M, N), dtype), b: T.Tensor((M, N), dtype), c: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            left = T.alloc_fragment((block_M, block_N), "float32")
            right = T.alloc_fragment((block_M, block_N), "float32")
            T.copy(a[by * block_M, bx * block_N], left)
            T.copy(b[by * block_M, bx * block_N], right)
            for i, j in T.Parallel(block_M, block_N):
                left[i, j] *= right[i, j]
            T.copy(left, c[by * block_M, bx * block_N])

    return main


def _scale(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x * factor


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    attributes={"factor": 1.0},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_scale,
)
def scale(M: int, N: int, dtype: str, factor: float, block_M: int = 16, block_N: int = 128, threads: int = 128) -> Any:
    """y = factor · x. A block goes through its rows' columns, a tile at a time."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            for n in T.serial(T.ceildiv(N, block_N)):
                for i, j in T.Parallel(block_M, block_N):
                    y[bm * block_M + i, n * block_N + j] = (x[bm * block_M + i, n * block_N + j].astype("float32") * factor).astype(dtype)

    return main
