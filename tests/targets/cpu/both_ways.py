"""Tile programs that TileLang's own 'c' target can compile too: on-chip memory is local, loops are serial."""

from typing import Any

import tilelang.language as T


def product_and_fold(M: int, N: int, K: int, block_M: int, block_K: int) -> Any:
    """C = ReLU(A B + bias) scaled above and below the diagonal of each block, and its row sums."""

    @T.prim_func
    def product_and_fold(
        A: T.Tensor((M, K), "float32"),
        B: T.Tensor((K, N), "float32"),
        bias: T.Tensor((N,), "float32"),
        C: T.Tensor((M, N), "float32"),
        total: T.Tensor((M,), "float32"),
    ) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=1) as b:
            left = T.alloc_local((block_M, block_K), "float32")
            right = T.alloc_local((block_K, N), "float32")
            c = T.alloc_local((block_M, N), "float32")
            sums = T.alloc_local((block_M,), "float32")
            T.clear(c)
            for k in T.serial(T.ceildiv(K, block_K)):
                T.copy(A[b * block_M, k * block_K], left)
                T.copy(B[k * block_K, 0], right)
                T.gemm(left, right, c)
            for i, j in T.grid(block_M, N):
                c[i, j] = T.max(c[i, j] + bias[j], 0.0) * T.if_then_else(i < j, T.exp(T.float32(0.5)), 0.25)
            T.reduce_sum(c, sums, dim=1)
            T.copy(c, C[b * block_M, 0])
            T.copy(sums, total[b * block_M])

    return product_and_fold


def shifted(M: int, N: int, by_rows: int, by_columns: int) -> Any:
    """y[i, j] = x[i + by_rows, j + by_columns], by a copy and by elements, wherever that may be."""

    @T.prim_func
    def shifted(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32"), z: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, 8), threads=1) as b:
            tile = T.alloc_local((8, N), "float32")
            T.copy(x[b * 8 + by_rows : b * 8 + by_rows + 8, by_columns : by_columns + N], tile)
            T.copy(tile, y[b * 8 : b * 8 + 8, 0:N])
            for i, j in T.grid(8, N):
                z[b * 8 + i, j] = x[b * 8 + i + by_rows, j + by_columns]

    return shifted


def integers(count: int) -> Any:
    """Division, shifts and bits of integers of all signs."""

    @T.prim_func
    def integers(a: T.Tensor((count,), "int32"), b: T.Tensor((count,), "int32"), y: T.Tensor((8, count), "int32")) -> None:
        with T.Kernel(1, threads=1) as _:
            for i in T.serial(count):
                y[0, i] = a[i] // b[i]
                y[1, i] = a[i] % b[i]
                y[2, i] = T.truncdiv(a[i], b[i])
                y[3, i] = T.truncmod(a[i], b[i])
                y[4, i] = T.shift_right(a[i], 3) ^ b[i]
                y[5, i] = T.max(a[i], b[i]) - T.min(a[i], b[i])
                y[6, i] = a[i] // 7 + a[i] % 7
                y[7, i] = T.if_then_else(T.Or(a[i] < 0, b[i] < a[i]), a[i] & b[i], ~b[i])

    return integers
