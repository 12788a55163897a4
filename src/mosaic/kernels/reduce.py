"""Reductions of rows and of sequences, summed in float32."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.graph.kernel import kernel
from mosaic.kernels.rows import row_layout, row_width, rows_fit


def _masked_mean_pool(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    kept = mask.ne(0).unsqueeze(-1)
    count = mask.ne(0).sum(1, keepdim=True).clamp(min=1)
    return torch.where(kept, x, torch.zeros_like(x)).sum(1) / count.to(x.dtype)


@kernel(
    inputs={"x": "B S D : dtype", "mask": "B S : int32"},
    outputs={"y": "B D : dtype"},
    tunables={"block_S": (16, 32, 64), "block_D": (32, 64, 128), "threads": (128, 256)},
    reference=_masked_mean_pool,
)
def masked_mean_pool(B: int, S: int, D: int, dtype: str, block_S: int = 32, block_D: int = 64, threads: int = 128) -> Any:
    """y[b] = mean of x[b, s] over the s with a mask other than 0; zeros where there is none."""

    @T.prim_func
    def main(x: T.Tensor((B, S, D), dtype), mask: T.Tensor((B, S), "int32"), y: T.Tensor((B, D), dtype)) -> None:
        with T.Kernel(T.ceildiv(D, block_D), B, threads=threads) as (bx, b):
            total = T.alloc_fragment((block_S, block_D), "float32")
            pooled = T.alloc_fragment((block_D,), "float32")
            kept = T.alloc_fragment((block_S,), "float32")
            count = T.alloc_fragment((1,), "float32")
            T.clear(total)
            T.clear(kept)
            for s in T.serial(T.ceildiv(S, block_S)):
                for i, j in T.Parallel(block_S, block_D):
                    total[i, j] += T.if_then_else(
                        mask[b, s * block_S + i] != 0, T.cast(x[b, s * block_S + i, bx * block_D + j], "float32"), 0.0
                    )
                for i in T.Parallel(block_S):
                    kept[i] += T.if_then_else(mask[b, s * block_S + i] != 0, 1.0, 0.0)
            T.reduce_sum(total, pooled, dim=0)
            T.reduce_sum(kept, count, dim=0)
            for j in T.Parallel(block_D):
                y[b, bx * block_D + j] = T.cast(pooled[j] / T.max(count[0], 1.0), dtype)

    return main


def _l2_normalize(x: torch.Tensor, eps: float) -> torch.Tensor:
    return x / torch.sqrt((x * x).sum(-1, keepdim=True)).clamp(min=eps)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    attributes={"eps": 1e-12},
    tunables={"block_M": (1, 2, 4, 8, 16, 32, 64, 128), "threads": (128, 256, 512)},
    reference=_l2_normalize,
    valid=rows_fit,
)
def l2_normalize(M: int, N: int, dtype: str, eps: float, block_M: int = 1, threads: int = 128) -> Any:
    """y = x / max(|x|, eps), row by row, with the Euclidean length |x|."""
    width = row_width(N, block_M, threads)
    layout = row_layout(block_M, width, threads, 8)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as by:
            row = T.alloc_fragment((block_M, width), "float32")
            square = T.alloc_fragment((block_M, width), "float32")
            length = T.alloc_fragment((block_M,), "float32")
            for i, j in T.Parallel(block_M, width, loop_layout=layout):
                row[i, j] = T.cast(x[by * block_M + i, j], "float32")
            for i, j in T.Parallel(block_M, width):
                square[i, j] = row[i, j] * row[i, j]
            T.reduce_sum(square, length, dim=1)
            for i in T.Parallel(block_M):
                length[i] = T.max(T.sqrt(length[i]), eps)
            for i, j in T.Parallel(block_M, width):
                row[i, j] = row[i, j] / length[i]
            T.copy(row, y[by * block_M, 0])

    return main
