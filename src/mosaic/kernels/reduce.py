"""Reductions of rows and of sequences, summed in float32."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.graph.kernel import kernel
from mosaic.kernels.rows import MAX_ROW_REGISTERS, row_layout, row_width, rows_fit


def _chunks_fit(block_M: int, block_N: int, threads: int) -> bool:
    return block_N % max(32, threads // block_M) == 0 and block_M * block_N <= MAX_ROW_REGISTERS // 2 * threads


def _row_sum(x: torch.Tensor) -> torch.Tensor:
    return x.sum(-1)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M : dtype"},
    tunables={"block_M": (1, 4, 16, 32, 64, 128), "block_N": (64, 128, 256, 384, 512), "threads": (128, 256)},
    reference=_row_sum,
    valid=_chunks_fit,
)
def row_sum(M: int, N: int, dtype: str, block_M: int = 16, block_N: int = 128, threads: int = 128) -> Any:
    """y[i] = sum of row i. Every lane adds up its columns of all chunks; the lanes meet once, at the end."""
    layout = row_layout(block_M, block_N, threads, 4)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M,), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            partial = T.alloc_fragment((block_M, block_N), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.clear(partial)
            for n in T.serial(T.ceildiv(N, block_N)):
                for i, j in T.Parallel(block_M, block_N, loop_layout=layout):
                    partial[i, j] += x[bm * block_M + i, n * block_N + j].astype("float32")
            T.reduce_sum(partial, total, dim=1)
            T.copy(total, y[bm * block_M])

    return main


def _row_max(x: torch.Tensor) -> torch.Tensor:
    return x.amax(-1)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M : dtype"},
    tunables={"block_M": (1, 4, 16, 32, 64, 128), "block_N": (64, 128, 256, 512), "threads": (128, 256)},
    reference=_row_max,
    valid=_chunks_fit,
)
def row_max(M: int, N: int, dtype: str, block_M: int = 4, block_N: int = 512, threads: int = 128) -> Any:
    """y[i] = largest element of row i, leaving out any NaN; each chunk of columns is reduced by itself."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M,), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            value = T.alloc_fragment((block_M, block_N), "float32")
            largest = T.alloc_fragment((block_M,), "float32")
            T.fill(largest, -T.infinity("float32"))
            for n in T.serial(T.ceildiv(N, block_N)):
                T.copy(x[bm * block_M, n * block_N], value)
                for i, j in T.Parallel(block_M, block_N):
                    value[i, j] = T.if_then_else(n * block_N + j < N, value[i, j], -T.infinity("float32"))
                T.reduce_max(value, largest, dim=1, clear=False)
            for i in T.Parallel(block_M):
                y[bm * block_M + i] = largest[i].astype(dtype)

    return main


def _row_mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean(-1)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M : dtype"},
    tunables={"block_M": (1, 4, 16, 32, 64, 128), "block_N": (64, 128, 256, 512), "threads": (128, 256), "num_stages": (1, 2)},
    reference=_row_mean,
    valid=_chunks_fit,
)
def row_mean(M: int, N: int, dtype: str, block_M: int = 32, block_N: int = 64, threads: int = 128, num_stages: int = 2) -> Any:
    """y[i] = mean of row i; chunks of columns stream through shared memory."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M,), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as by:
            tile = T.alloc_shared((block_M, block_N), dtype)
            value = T.alloc_fragment((block_M, block_N), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.clear(total)
            for n in T.Pipelined(T.ceildiv(N, block_N), num_stages=num_stages):
                T.copy(x[by * block_M, n * block_N], tile)
                T.copy(tile, value)
                T.reduce_sum(value, total, dim=1, clear=False)
            for i in T.Parallel(block_M):
                y[by * block_M + i] = (total[i] / N).astype(dtype)

    return main


def _argmax(x: torch.Tensor) -> torch.Tensor:
    columns = torch.arange(x.shape[1], device=x.device).expand_as(x)
    return torch.where(x == x.amax(-1, keepdim=True), columns, x.shape[1]).amin(-1).to(torch.int32)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M : int32"},
    tunables={"block_M": (1, 2, 4, 8, 16), "block_N": (128, 256, 512, 1024, 2048), "threads": (128, 256)},
    reference=_argmax,
    valid=lambda block_M, block_N, threads: block_N % max(32, threads // block_M) == 0 and block_M * block_N <= 32 * threads,
)
def argmax(M: int, N: int, dtype: str, block_M: int = 1, block_N: int = 1024, threads: int = 128) -> Any:
    """y[i] = column of the largest element of row i, the first of equal ones. Rows must not hold NaN."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M,), "int32")) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            value = T.alloc_fragment((block_M, block_N), "float32")
            column = T.alloc_fragment((block_M, block_N), "int32")
            best = T.alloc_fragment((block_M,), "float32")
            best_column = T.alloc_fragment((block_M,), "int32")
            chunk_best = T.alloc_fragment((block_M,), "float32")
            chunk_column = T.alloc_fragment((block_M,), "int32")
            T.fill(best, -T.infinity("float32"))
            T.fill(best_column, N)
            for n in T.serial(T.ceildiv(N, block_N)):
                for i, j in T.Parallel(block_M, block_N):
                    value[i, j] = T.if_then_else(
                        n * block_N + j < N, x[bm * block_M + i, n * block_N + j].astype("float32"), -T.infinity("float32")
                    )
                T.reduce_max(value, chunk_best, dim=1)
                for i, j in T.Parallel(block_M, block_N):
                    column[i, j] = T.if_then_else(value[i, j] == chunk_best[i], n * block_N + j, N)
                T.reduce_min(column, chunk_column, dim=1)
                for i in T.Parallel(block_M):
                    # a tie between chunks goes to the earlier one, except that the first chunk has nothing to beat
                    best_column[i] = T.if_then_else(
                        chunk_best[i] > best[i],
                        chunk_column[i],
                        T.min(best_column[i], T.if_then_else(chunk_best[i] == best[i], chunk_column[i], N)),
                    )
                    best[i] = T.max(best[i], chunk_best[i])
            for i in T.Parallel(block_M):
                y[bm * block_M + i] = best_column[i]

    return main


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
