"""Softmax of rows, in float32, after subtracting each row's largest element."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.graph.kernel import kernel
from mosaic.kernels.rows import MAX_ROW_REGISTERS

LONGEST_ROW = 8192
"""Rows up to this long are kept in registers; longer ones are read twice."""


def _power_of_two(N: int) -> int:
    """The smallest power of two that is at least N and a warp."""
    return max(32, 1 << (N - 1).bit_length())


def _softmax(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, -1)


def _rows_fit(N: int, block_M: int, threads: int) -> bool:
    return block_M * (_power_of_two(N) if N <= LONGEST_ROW else 1024) <= MAX_ROW_REGISTERS * threads


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": (1, 2, 4, 8, 16, 32, 64, 128), "threads": (128, 256)},
    reference=_softmax,
    valid=_rows_fit,
)
def softmax(M: int, N: int, dtype: str, block_M: int = 2, threads: int = 128) -> Any:
    """y = softmax of each row of x. A row lies in registers, padded to a power of two; one longer than 8192 is read twice."""
    if N > LONGEST_ROW:
        return _long_softmax(M, N, dtype, block_M, threads)
    width = _power_of_two(N)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            score = T.alloc_fragment((block_M, width), "float32")
            largest = T.alloc_fragment((block_M,), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.copy(x[bm * block_M, 0], score)
            for i, j in T.Parallel(block_M, width):
                score[i, j] = T.if_then_else(j < N, score[i, j], -T.infinity("float32"))
            T.reduce_max(score, largest, dim=1)
            for i, j in T.Parallel(block_M, width):
                score[i, j] = T.exp(score[i, j] - largest[i])
            T.reduce_sum(score, total, dim=1)
            for i, j in T.Parallel(block_M, width):
                score[i, j] /= total[i]
            T.copy(score, y[bm * block_M, 0])

    return main


def _long_softmax(M: int, N: int, dtype: str, block_M: int, threads: int) -> Any:
    """Keeps a running maximum and sum for each lane's columns, joins them at the end, and reads the row again to scale it."""
    chunk = 1024

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            score = T.alloc_fragment((block_M, chunk), "float32")
            largest = T.alloc_fragment((block_M,), "float32")
            before = T.alloc_fragment((block_M,), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            chunk_total = T.alloc_fragment((block_M,), "float32")
            T.fill(largest, -T.infinity("float32"))
            T.clear(total)
            for c in T.serial(T.ceildiv(N, chunk)):
                for i, j in T.Parallel(block_M, chunk):
                    score[i, j] = T.if_then_else(
                        c * chunk + j < N, x[bm * block_M + i, c * chunk + j].astype("float32"), -T.infinity("float32")
                    )
                T.copy(largest, before)
                T.reduce_max(score, largest, dim=1, clear=False)
                for i, j in T.Parallel(block_M, chunk):
                    score[i, j] = T.if_then_else(score[i, j] == -T.infinity("float32"), 0.0, T.exp(score[i, j] - largest[i]))
                T.reduce_sum(score, chunk_total, dim=1)
                for i in T.Parallel(block_M):
                    total[i] = T.if_then_else(total[i] == 0.0, 0.0, total[i] * T.exp(before[i] - largest[i])) + chunk_total[i]
            for c in T.serial(T.ceildiv(N, chunk)):
                for i, j in T.Parallel(block_M, chunk):
                    y[bm * block_M + i, c * chunk + j] = (
                        T.exp(x[bm * block_M + i, c * chunk + j].astype("float32") - largest[i]) / total[i]
                    ).astype(dtype)

    return main


def _softmax_masked(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    kept = mask.ne(0)
    largest = x.masked_fill(~kept, -torch.inf).amax(-1, keepdim=True)
    weights = torch.exp(x - largest).masked_fill(~kept, 0.0)
    return torch.where(kept.any(-1, keepdim=True), weights / weights.sum(-1, keepdim=True), torch.zeros_like(x))


@kernel(
    inputs={"x": "M N : dtype", "mask": "M N : int32"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": (4, 8, 16, 32, 64, 128), "block_N": (64, 128, 256, 512), "threads": (128, 256)},
    reference=_softmax_masked,
    valid=lambda block_M, block_N, threads: block_M * block_N <= 64 * threads,
)
def softmax_masked(M: int, N: int, dtype: str, block_M: int = 16, block_N: int = 128, threads: int = 128) -> Any:
    """Softmax over the elements of a row whose mask is not 0; zeros for the others. Goes through a row twice, a chunk at a time."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), mask: T.Tensor((M, N), "int32"), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as by:
            value = T.alloc_fragment((block_M, block_N), "float32")
            top = T.alloc_fragment((block_M,), "float32")
            old = T.alloc_fragment((block_M,), "float32")
            part = T.alloc_fragment((block_M,), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.fill(top, -1e38)
            T.clear(total)
            for n in T.serial(T.ceildiv(N, block_N)):
                for i, j in T.Parallel(block_M, block_N):
                    # beyond the row's end the mask reads as 0
                    value[i, j] = T.if_then_else(
                        mask[by * block_M + i, n * block_N + j] != 0, x[by * block_M + i, n * block_N + j].astype("float32"), -1e38
                    )
                T.copy(top, old)
                T.reduce_max(value, top, dim=1, clear=False)
                for i, j in T.Parallel(block_M, block_N):
                    value[i, j] = T.if_then_else(mask[by * block_M + i, n * block_N + j] != 0, T.exp(value[i, j] - top[i]), 0.0)
                T.reduce_sum(value, part, dim=1)
                for i in T.Parallel(block_M):
                    total[i] = total[i] * T.exp(old[i] - top[i]) + part[i]
            for n in T.serial(T.ceildiv(N, block_N)):
                for i, j in T.Parallel(block_M, block_N):
                    y[by * block_M + i, n * block_N + j] = T.if_then_else(
                        mask[by * block_M + i, n * block_N + j] != 0,
                        T.exp(x[by * block_M + i, n * block_N + j].astype("float32") - top[i]) / total[i],
                        0.0,
                    ).astype(dtype)

    return main
