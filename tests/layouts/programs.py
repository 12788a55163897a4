"""Kernels whose layouts the tests read."""

from typing import Any

import tilelang.language as T


def product(M: int, N: int, K: int, stages: int = 0, threads: int = 128) -> Any:
    """One 64x64 tile of a product a block, then its rows' sums."""

    @T.prim_func
    def main(
        a: T.Tensor((M, K), "float16"), b: T.Tensor((K, N), "float16"), c: T.Tensor((M, N), "float16"), s: T.Tensor((M,), "float32")
    ) -> None:
        with T.Kernel(T.ceildiv(M, 64), threads=threads) as bx:
            a_tile = T.alloc_shared((64, 32), "float16")
            b_tile = T.alloc_shared((32, 64), "float16")
            total = T.alloc_fragment((64, 64), "float32")
            sums = T.alloc_fragment((64,), "float32")
            T.clear(total)
            for k in T.Pipelined(T.ceildiv(K, 32), num_stages=stages):
                T.copy(a[bx * 64, k * 32], a_tile)
                T.copy(b[k * 32, 0], b_tile)
                T.gemm(a_tile, b_tile, total)
            T.reduce_sum(total, sums, dim=1)
            T.copy(total, c[bx * 64, 0])
            T.copy(sums, s[bx * 64])

    return main


def odd_product(rows: int) -> Any:
    """A product with a number of rows that no matrix unit takes."""

    @T.prim_func
    def main(a: T.Tensor((rows, 32), "float16"), b: T.Tensor((32, 64), "float16"), c: T.Tensor((rows, 64), "float16")) -> None:
        with T.Kernel(1, threads=128) as _:
            a_tile = T.alloc_shared((rows, 32), "float16")
            b_tile = T.alloc_shared((32, 64), "float16")
            total = T.alloc_fragment((rows, 64), "float32")
            T.copy(a, a_tile)
            T.copy(b, b_tile)
            T.clear(total)
            T.gemm(a_tile, b_tile, total)
            T.copy(total, c)

    return main
