"""Normalisation of rows. Statistics in float32; a row's variance is the mean square of what is left after subtracting its mean."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.graph.kernel import kernel
from mosaic.kernels.rows import MAX_ROW_REGISTERS, row_layout, row_width, rows_fit

LONGEST_ROW = 16384
"""Rows up to this long are kept in registers by `layer_norm`; longer ones are read three times."""

CHUNK = 2048
"""Columns of a longer row that are in registers at a time."""


def _layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered * torch.rsqrt((centered * centered).mean(-1, keepdim=True) + eps) * weight + bias


def _layer_norm_fits(N: int, block_M: int, threads: int) -> bool:
    return rows_fit(N if N <= LONGEST_ROW else CHUNK, block_M, threads)


@kernel(
    inputs={"x": "M N : dtype", "weight": "N : dtype", "bias": "N : dtype"},
    outputs={"y": "M N : dtype"},
    attributes={"eps": 1e-5},
    tunables={"block_M": (1, 2, 4, 8, 16, 32, 64, 128), "threads": (128, 256, 512)},
    reference=_layer_norm,
    valid=_layer_norm_fits,
)
def layer_norm(M: int, N: int, dtype: str, eps: float, block_M: int = 4, threads: int = 128) -> Any:
    """y = (x - mean) / sqrt(variance + eps) · weight + bias, row by row; a block holds whole rows in registers."""
    if N > LONGEST_ROW:
        return _long_layer_norm(M, N, dtype, eps, block_M, threads)
    width = row_width(N, block_M, threads)
    layout = row_layout(block_M, width, threads, 4)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), weight: T.Tensor((N,), dtype), bias: T.Tensor((N,), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            value = T.alloc_fragment((block_M, width), "float32")
            square = T.alloc_fragment((block_M, width), "float32")
            mean = T.alloc_fragment((block_M,), "float32")
            variance = T.alloc_fragment((block_M,), "float32")
            for i, j in T.Parallel(block_M, width, loop_layout=layout):
                value[i, j] = T.cast(x[bm * block_M + i, j], "float32")
            T.reduce_sum(value, mean, dim=1)
            for i, j in T.Parallel(block_M, width):
                value[i, j] = T.if_then_else(j < N, value[i, j] - mean[i] / N, 0.0)
            for i, j in T.Parallel(block_M, width):
                square[i, j] = value[i, j] * value[i, j]
            T.reduce_sum(square, variance, dim=1)
            for i, j in T.Parallel(block_M, width):
                y[bm * block_M + i, j] = T.cast(
                    value[i, j] * T.rsqrt(variance[i] / N + eps) * T.cast(weight[j], "float32") + T.cast(bias[j], "float32"), dtype
                )

    return main


def _long_layer_norm(M: int, N: int, dtype: str, eps: float, block_M: int, threads: int) -> Any:
    """Reads each row once for its mean, once for its variance, and once to write the result."""
    layout = row_layout(block_M, CHUNK, threads, 4)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), weight: T.Tensor((N,), dtype), bias: T.Tensor((N,), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            partial = T.alloc_fragment((block_M, CHUNK), "float32")
            mean = T.alloc_fragment((block_M,), "float32")
            variance = T.alloc_fragment((block_M,), "float32")
            T.clear(partial)
            for c in T.serial(T.ceildiv(N, CHUNK)):
                for i, j in T.Parallel(block_M, CHUNK, loop_layout=layout):
                    partial[i, j] += T.cast(x[bm * block_M + i, c * CHUNK + j], "float32")
            T.reduce_sum(partial, mean, dim=1)
            for i in T.Parallel(block_M):
                mean[i] = mean[i] / N
            T.clear(partial)
            for c in T.serial(T.ceildiv(N, CHUNK)):
                for i, j in T.Parallel(block_M, CHUNK):
                    partial[i, j] += T.if_then_else(
                        c * CHUNK + j < N,
                        (T.cast(x[bm * block_M + i, c * CHUNK + j], "float32") - mean[i])
                        * (T.cast(x[bm * block_M + i, c * CHUNK + j], "float32") - mean[i]),
                        0.0,
                    )
            T.reduce_sum(partial, variance, dim=1)
            for c in T.serial(T.ceildiv(N, CHUNK)):
                for i, j in T.Parallel(block_M, CHUNK):
                    y[bm * block_M + i, c * CHUNK + j] = T.cast(
                        (T.cast(x[bm * block_M + i, c * CHUNK + j], "float32") - mean[i])
                        * T.rsqrt(variance[i] / N + eps)
                        * T.cast(weight[c * CHUNK + j], "float32")
                        + T.cast(bias[c * CHUNK + j], "float32"),
                        dtype,
                    )

    return main


def _rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def _rms_norm_fits(N: int, block_M: int, block_N: int, threads: int) -> bool:
    lanes = max(32, threads // block_M)
    return block_N % lanes == 0 and block_M * block_N <= MAX_ROW_REGISTERS // 2 * threads


@kernel(
    inputs={"x": "M N : dtype", "weight": "N : dtype"},
    outputs={"y": "M N : dtype"},
    attributes={"eps": 1e-6},
    tunables={
        "block_M": (1, 2, 4, 8, 16, 32, 64, 128),
        "block_N": (64, 128, 256, 384, 512, 768, 1024, 2048, 4096),
        "threads": (128, 256),
    },
    reference=_rms_norm,
    valid=_rms_norm_fits,
)
def rms_norm(M: int, N: int, dtype: str, eps: float, block_M: int = 8, block_N: int = 512, threads: int = 256) -> Any:
    """y = x / sqrt(mean(x²) + eps) · weight. Goes through a row twice, `block_N` columns at a time; once if they cover it."""
    if block_N >= N:
        return _short_rms_norm(M, N, dtype, eps, block_M, block_N, threads)
    layout = row_layout(block_M, block_N, threads, 8)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), weight: T.Tensor((N,), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as by:
            squares = T.alloc_fragment((block_M, block_N), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.clear(squares)
            for n in T.serial(T.ceildiv(N, block_N)):
                for i, j in T.Parallel(block_M, block_N, loop_layout=layout):
                    squares[i, j] += x[by * block_M + i, n * block_N + j].astype("float32") * x[by * block_M + i, n * block_N + j].astype(
                        "float32"
                    )
            T.reduce_sum(squares, total, dim=1)
            for i in T.Parallel(block_M):
                total[i] = T.rsqrt(total[i] / N + eps)
            for n in T.serial(T.ceildiv(N, block_N)):
                for i, j in T.Parallel(block_M, block_N):
                    y[by * block_M + i, n * block_N + j] = (
                        x[by * block_M + i, n * block_N + j].astype("float32") * total[i] * weight[n * block_N + j].astype("float32")
                    ).astype(dtype)

    return main


def _short_rms_norm(M: int, N: int, dtype: str, eps: float, block_M: int, block_N: int, threads: int) -> Any:
    """The rows are staged in shared memory, and read from there for both passes."""
    width = min(block_N, row_width(N, block_M, threads))
    layout = row_layout(block_M, width, threads, 8)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), weight: T.Tensor((N,), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as by:
            rows = T.alloc_shared((block_M, width), dtype)
            squares = T.alloc_fragment((block_M, width), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.copy(x[by * block_M, 0], rows)
            for i, j in T.Parallel(block_M, width, loop_layout=layout):
                squares[i, j] = rows[i, j].astype("float32") * rows[i, j].astype("float32")
            T.reduce_sum(squares, total, dim=1)
            for i in T.Parallel(block_M):
                total[i] = T.rsqrt(total[i] / N + eps)
            for i, j in T.Parallel(block_M, width):
                squares[i, j] = rows[i, j].astype("float32") * total[i] * weight[j].astype("float32")
            T.copy(squares, y[by * block_M, 0])

    return main
