"""Tile programs of loops, conditions and variables."""

from typing import Any

import tilelang.language as T


def masked(M: int, N: int, rows: int, columns: int, shift: int) -> Any:
    """y = x where j <= i + shift, else -1: the conditions of a causal mask and of the tensor's edges meet in one loop."""

    @T.prim_func
    def masked(x: T.Tensor((M, N), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, columns), T.ceildiv(M, rows), threads=32) as (bx, by):
            tile = T.alloc_fragment((rows, columns), "float32")
            for i, j in T.Parallel(rows, columns):
                tile[i, j] = T.if_then_else(bx * columns + j <= by * rows + i + shift, x[by * rows + i, bx * columns + j], -1.0)
            for i, j in T.Parallel(rows, columns):
                row = by * rows + i
                column = bx * columns + j
                y[row, column] = tile[i, j]

    return masked


def padded(L: int, window: int, stride: int, padding: int, tile: int) -> Any:
    """y[o] = the sum of x[o stride + w - padding] over w, where that exists: conditions with a factor before the index."""
    size = (L + 2 * padding - window) // stride + 1

    @T.prim_func
    def padded(x: T.Tensor((L,), "float32"), y: T.Tensor((size,), "float32")) -> None:
        with T.Kernel(T.ceildiv(size, tile), threads=32) as b:
            total = T.alloc_fragment((tile,), "float32")
            T.clear(total)
            for w in T.serial(window):
                for o in T.Parallel(tile):
                    at = (b * tile + o) * stride + w - padding
                    total[o] += T.if_then_else(T.And(at >= 0, at < L), x[at], 0.0)
            T.copy(total, y[b * tile])

    return padded


def control(N: int) -> Any:
    """Loops of all kinds, variables, conditions with and without else, while, break."""

    @T.prim_func
    def control(x: T.Tensor((N,), "int32"), y: T.Tensor((8,), "int32")) -> None:
        with T.Kernel(1, threads=32) as _:
            count = T.alloc_var("int32")
            total = T.alloc_var("int32", init=100)
            steps = T.alloc_var("int32")
            for i in T.serial(N):
                if x[i] > 3:
                    count = count + 1
                else:
                    total = total + x[i]
            y[0] = count
            y[1] = total
            while total > 10:
                total = total // 2
                steps = steps + 1
            y[2] = total
            y[3] = steps
            for i in T.serial(N):
                if x[i] == 5:
                    T.loop_break()
                y[4] = i
            for i in T.serial(2, N, 3):
                y[5] = y[5] + i
            for i in T.unroll(4):
                y[6] = y[6] + i
            for i in T.vectorized(4):
                y[7] = y[7] + i

    return control


def viewed() -> Any:
    """One buffer seen in another shape and as another dtype of the same width."""

    @T.prim_func
    def viewed(x: T.Tensor((4, 8), "float32"), y: T.Tensor((32,), "float32"), z: T.Tensor((4, 8), "int32")) -> None:
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_shared((4, 8), "float32")
            flat = T.reshape(tile, (32,))
            whole = T.view(tile, (4, 8), "int32")
            T.copy(x, tile)
            for i in T.Parallel(32):
                flat[i] = flat[i] + 1.0
            T.copy(flat, y)
            T.copy(whole, z)

    return viewed


def persistent(M: int, blocks: int) -> Any:
    """y = 2 x by a few blocks that each take several tiles."""

    @T.prim_func
    def persistent(x: T.Tensor((M, 32), "float32"), y: T.Tensor((M, 32), "float32")) -> None:
        with T.Kernel(blocks, threads=32) as b:
            tile = T.alloc_fragment((16, 32), "float32")
            for i, j in T.Persistent([T.ceildiv(M, 16), 1], blocks, b):
                T.copy(x[i * 16, j * 32], tile)
                for k, n in T.Parallel(16, 32):
                    tile[k, n] = tile[k, n] * 2.0
                T.copy(tile, y[i * 16, j * 32])

    return persistent


def small_arrays() -> Any:
    """A buffer of a thread's own, written and read within one iteration."""

    @T.prim_func
    def small_arrays(x: T.Tensor((16, 4), "float16"), y: T.Tensor((16,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            mine = T.alloc_local((4,), "float16")
            for i in T.Parallel(16):
                for v in T.vectorized(4):
                    mine[v] = x[i, v]
                y[i] = T.cast(mine[0], "float32") + T.cast(mine[3], "float32")

    return small_arrays


def thread_indices(used: bool) -> Any:
    """Asks for its thread's index; uses it or not."""

    @T.prim_func
    def thread_indices(x: T.Tensor((32,), "float32"), y: T.Tensor((32,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            tx = T.get_thread_binding()
            warp = tx // 32  # noqa: F841
            if used:
                y[tx] = x[tx]
            else:
                T.copy(x, y)

    return thread_indices


def never_written(size: int) -> Any:
    """Reads an on-chip buffer that nothing wrote."""

    @T.prim_func
    def never_written(y: T.Tensor((size,), "float32"), n: T.Tensor((size,), "int32"), v: T.Tensor((1,), "int32")) -> None:
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_shared((size,), "float32")
            whole = T.alloc_shared((size,), "int32")
            zero = T.alloc_var("int32")
            T.copy(tile, y)
            T.copy(whole, n)
            v[0] = zero

    return never_written


def outside(where: str) -> Any:
    """Leaves an on-chip buffer of 16 elements in the load, store or region that is asked for."""

    @T.prim_func
    def outside(x: T.Tensor((16,), "int32"), y: T.Tensor((16,), "int32")) -> None:
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_shared((16,), "int32")
            row = T.alloc_fragment((1,), "int32")
            T.copy(x, tile)
            if where == "load":
                y[0] = tile[x[0]]
            elif where == "store":
                tile[x[0]] = 1
            elif where == "region":
                T.cumsum(tile[x[0] : x[0] + 4], dim=0)
            T.clear(row)
            T.copy(tile, y)

    return outside


def with_scalars() -> Any:
    """y = a x + n, with numbers among the parameters."""

    @T.prim_func
    def with_scalars(x: T.Tensor((8,), "float32"), a: T.float32, n: T.int32, y: T.Tensor((8,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            for i in T.Parallel(8):
                y[i] = a * x[i] + T.cast(n, "float32")

    return with_scalars


def strided() -> Any:
    """Reads every second column of a wider matrix."""

    @T.prim_func
    def strided(x: T.StridedTensor((4, 8), (32, 2), "float32"), y: T.Tensor((4, 8), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            for i, j in T.Parallel(4, 8):
                y[i, j] = x[i, j]

    return strided
