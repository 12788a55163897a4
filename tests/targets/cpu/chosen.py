"""Tile programs for the tests of expressions."""

from typing import Any

import tilelang.language as T


def chosen() -> Any:
    """y[i] = table[index[i]] where that exists, else -1; the table is on chip."""

    @T.prim_func
    def chosen(index: T.Tensor((4,), "int32"), x: T.Tensor((8,), "float32"), y: T.Tensor((4,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            table = T.alloc_shared((8,), "float32")
            T.copy(x, table)
            for i in T.Parallel(4):
                y[i] = T.if_then_else(T.And(index[i] >= 0, index[i] < 8), table[index[i]], -1.0)

    return chosen


def shuffled() -> Any:
    """Exchanges values between the threads of a warp, which a CPU has not."""

    @T.prim_func
    def shuffled(x: T.Tensor((32,), "float32"), y: T.Tensor((32,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            for i in T.Parallel(32):
                y[i] = T.shfl_xor(x[i], 1)

    return shuffled
