"""Rows picked from tables: token embeddings and positions."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.errors import KernelError
from mosaic.graph.kernel import kernel


def _embedding(ids: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return table[ids.long()]


@kernel(
    inputs={"ids": "M : int32", "table": "V N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": (8, 16, 32, 64, 128), "block_N": (32, 64, 128, 256, 384, 512), "threads": (64, 128, 256)},
    reference=_embedding,
)
def embedding(M: int, N: int, V: int, dtype: str, block_M: int = 16, block_N: int = 128, threads: int = 128) -> Any:
    """y[i] = table[ids[i]]. An id outside the table gives zeros, so that no memory outside it is read."""

    @T.prim_func
    def main(ids: T.Tensor((M,), "int32"), table: T.Tensor((V, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            for i, j in T.Parallel(block_M, block_N):
                y[by * block_M + i, bx * block_N + j] = table[ids[by * block_M + i], bx * block_N + j]

    return main


def _add_positions(x: torch.Tensor, table: torch.Tensor, S: int) -> torch.Tensor:
    length = S or x.shape[0]
    return x + table[torch.arange(x.shape[0], device=x.device) % length]


@kernel(
    inputs={"x": "M N : dtype", "table": "P N : dtype"},
    outputs={"y": "M N : dtype"},
    attributes={"S": 0},
    tunables={"block_M": (8, 16, 32, 64, 128), "block_N": (32, 64, 128, 256, 384, 512), "threads": (128, 256)},
    reference=_add_positions,
)
def add_positions(M: int, N: int, P: int, S: int, dtype: str, block_M: int = 32, block_N: int = 64, threads: int = 128) -> Any:
    """y[i] = x[i] + table[i % S]: rows of a batch of sequences of S rows each, plus their positions' rows.

    `S` = 0 stands for one sequence. Raises KernelError if the table has fewer rows than a sequence.
    """
    length = S or M
    if min(length, M) > P:
        raise KernelError(f"kernel 'add_positions': sequences of {min(length, M)} rows need as many positions, but `table` has only {P}")

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), table: T.Tensor((P, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            x_local = T.alloc_fragment((block_M, block_N), dtype)
            T.copy(x[by * block_M, bx * block_N], x_local)
            for i, j in T.Parallel(block_M, block_N):
                x_local[i, j] = T.cast(
                    T.cast(x_local[i, j], "float32") + T.cast(table[(by * block_M + i) % length, bx * block_N + j], "float32"), dtype
                )
            T.copy(x_local, y[by * block_M, bx * block_N])

    return main
