"""Normalisation of rows. Statistics in float32; a row's variance is the mean square of what is left after subtracting its mean."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.graph.kernel import kernel
from mosaic.kernels.rows import row_layout, row_width, rows_fit


def _layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> torch.Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered * torch.rsqrt((centered * centered).mean(-1, keepdim=True) + eps) * weight + bias


@kernel(
    inputs={"x": "M N : dtype", "weight": "N : dtype", "bias": "N : dtype"},
    outputs={"y": "M N : dtype"},
    attributes={"eps": 1e-5},
    tunables={"block_M": (1, 2, 4, 8, 16, 32, 64, 128), "threads": (128, 256, 512)},
    reference=_layer_norm,
    valid=rows_fit,
)
def layer_norm(M: int, N: int, dtype: str, eps: float, block_M: int = 4, threads: int = 128) -> Any:
    """y = (x - mean) / sqrt(variance + eps) · weight + bias, row by row; a block holds whole rows in registers."""
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
