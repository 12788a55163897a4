"""Matrix products, accumulated in float32, with the second operand in either order.

With float32 inputs NVIDIA's tensor cores compute in tf32 (10 bits of mantissa); AMD's matrix cores and the CPU in float32.
"""

from typing import Any

import tilelang.language as T
import torch

from mosaic.dtypes import DTYPES
from mosaic.graph.kernel import kernel

MAX_ACCUMULATORS = 200
"""Float32 accumulators a thread may hold: a thread has 255 registers, and operands and addresses need the rest."""

MAX_SHARED_BYTES = 160 * 1024
"""Shared memory a block may use: what an A100 (sm_80) gives, with a few KB to spare."""


def warps_fit(block_M: int, block_N: int, threads: int) -> bool:
    """Whether the warps can share out a block of that size on every GPU.

    NVIDIA's warps (32 lanes) own multiples of 16 × 8 elements, AMD's (64 lanes) of 16 × 16.
    """

    def fit(warps: int, columns: int) -> bool:
        return any(block_M % (16 * m) == 0 and block_N % (columns * (warps // m)) == 0 for m in range(1, warps + 1) if warps % m == 0)

    return fit(threads // 32, 8) and fit(threads // 64, 16)


def tiles_fit(dtype: str, block_M: int, block_N: int, block_K: int, threads: int, num_stages: int) -> bool:
    """Whether warps, registers and shared memory suffice for both operands staged `num_stages` deep."""
    shared = (block_M + block_N) * block_K * DTYPES[dtype].bytes * num_stages
    return warps_fit(block_M, block_N, threads) and block_M * block_N <= MAX_ACCUMULATORS * threads and shared <= MAX_SHARED_BYTES


def _matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b


def _matmul_nt(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b.T


@kernel(
    inputs={"a": "M K : dtype", "b": "K N : dtype"},
    outputs={"c": "M N : dtype"},
    tunables={
        "block_M": (16, 32, 64, 128),
        "block_N": (16, 32, 64, 128, 256, 384, 512),
        "block_K": (16, 32, 64),
        "threads": (128, 256),
        "num_stages": (2, 3, 4),
    },
    reference=_matmul,
    valid=tiles_fit,
)
def gemm(
    M: int,
    N: int,
    K: int,
    dtype: str,
    block_M: int = 128,
    block_N: int = 128,
    block_K: int = 32,
    threads: int = 128,
    num_stages: int = 3,
) -> Any:
    """c = a b. The warps split the rows of a block first; blocks of one column of the grid share `b`."""

    @T.prim_func
    def main(a: T.Tensor((M, K), dtype), b: T.Tensor((K, N), dtype), c: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), T.ceildiv(N, block_N), threads=threads) as (bm, bn):
            a_tile = T.alloc_shared((block_M, block_K), dtype)
            b_tile = T.alloc_shared((block_K, block_N), dtype)
            acc = T.alloc_fragment((block_M, block_N), "float32")
            T.clear(acc)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=num_stages):
                T.copy(a[bm * block_M, k * block_K], a_tile)
                T.copy(b[k * block_K, bn * block_N], b_tile)
                T.gemm(a_tile, b_tile, acc, policy=T.GemmWarpPolicy.FullRow)
            T.copy(acc, c[bm * block_M, bn * block_N])

    return main


@kernel(
    inputs={"a": "M K : dtype", "b": "N K : dtype"},
    outputs={"c": "M N : dtype"},
    tunables={
        "block_M": (16, 32, 64, 128),
        "block_N": (16, 32, 64, 128, 256, 384, 512),
        "block_K": (32, 64, 128),
        "threads": (128, 256),
        "num_stages": (1, 2, 3),
    },
    reference=_matmul_nt,
    valid=tiles_fit,
)
def gemm_nt(
    M: int,
    N: int,
    K: int,
    dtype: str,
    block_M: int = 64,
    block_N: int = 64,
    block_K: int = 64,
    threads: int = 128,
    num_stages: int = 2,
) -> Any:
    """c = a bᵀ, with `b` as `torch.nn.Linear` stores its weight: one row for each output feature."""

    @T.prim_func
    def main(a: T.Tensor((M, K), dtype), b: T.Tensor((N, K), dtype), c: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            A_shared = T.alloc_shared((block_M, block_K), dtype)
            B_shared = T.alloc_shared((block_N, block_K), dtype)
            C_local = T.alloc_fragment((block_M, block_N), "float32")
            T.clear(C_local)
            for ko in T.Pipelined(T.ceildiv(K, block_K), num_stages=num_stages):
                T.copy(a[by * block_M, ko * block_K], A_shared)
                T.copy(b[bx * block_N, ko * block_K], B_shared)
                T.gemm(A_shared, B_shared, C_local, transpose_B=True)
            T.copy(C_local, c[by * block_M, bx * block_N])

    return main
