"""Tile programs that fold: reductions along each axis, scans, reducers."""

from typing import Any

import tilelang.language as T


def reduced(shape: tuple[int, ...], axis: int, operation: str, dtype: str, target: str, clear: bool = True, keep: bool = False) -> Any:
    """y = the fold of x along an axis; started from what y holds unless cleared."""
    size = 1
    result = tuple(size if d == axis else n for d, n in enumerate(shape)) if keep else shape[:axis] + shape[axis + 1 :]

    @T.prim_func
    def reduced(x: T.Tensor(shape, dtype), y: T.Tensor(result, target)) -> None:
        with T.Kernel(1, threads=32) as _:
            source = T.alloc_fragment(shape, dtype)
            folded = T.alloc_fragment(result, target)
            T.copy(x, source)
            T.copy(y, folded)
            T.reduce(source, folded, operation, axis, clear)
            T.copy(folded, y)

    return reduced


def scanned(shape: tuple[int, int], axis: int, reverse: bool, largest: bool) -> Any:
    @T.prim_func
    def scanned(x: T.Tensor(shape, "float32"), y: T.Tensor(shape, "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_fragment(shape, "float32")
            result = T.alloc_fragment(shape, "float32")
            T.copy(x, tile)
            if largest:
                T.cummax(tile, result, dim=axis, reverse=reverse)
            else:
                T.cumsum(tile, result, dim=axis, reverse=reverse)
            T.copy(result, y)

    return scanned


def with_reducer(M: int, N: int, operation: str, dtype: str, start: float | None) -> Any:
    """y[i] = the fold of x[i, :] by T.alloc_reducer, over two loops, and `start` once."""

    @T.prim_func
    def with_reducer(x: T.Tensor((M, N), dtype), y: T.Tensor((M,), dtype)) -> None:
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_fragment((M, N), dtype)
            folded = T.alloc_reducer((M,), dtype, op=operation)
            result = T.alloc_fragment((M,), dtype)
            T.copy(x, tile)
            T.reducer_init(folded, start)
            for half in T.serial(2):
                for i, j in T.Parallel(M, N // 2):
                    T.reducer_update(folded[i], tile[i, half * (N // 2) + j])
            T.finalize_reducer(folded, result)
            T.copy(result, y)

    return with_reducer


def any_and_all(count: int) -> Any:
    """y = (any of x, all of x)."""

    @T.prim_func
    def any_and_all(x: T.Tensor((count,), "int32"), y: T.Tensor((2,), "int32")) -> None:
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_shared((count,), "int32")
            T.copy(x, tile)
            y[0] = T.if_then_else(T.any_of(tile), 1, 0)
            y[1] = T.if_then_else(T.all_of(tile), 1, 0)

    return any_and_all
