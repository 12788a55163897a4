"""Tile programs that the tests lower: shapes of loops as fusion makes them, right ones and wrong ones."""

from typing import Any

import tilelang.language as T


def gemm(
    M: int = 256,
    N: int = 256,
    K: int = 256,
    tile: tuple[int, int, int] = (64, 64, 32),
    stages: int = 2,
    threads: int = 128,
    dtype: str = "float16",
) -> Any:
    """C = A B, one pipelined loop."""
    block_M, block_N, block_K = tile

    @T.prim_func
    def gemm(A: T.Tensor((M, K), dtype), B: T.Tensor((K, N), dtype), C: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            a = T.alloc_shared((block_M, block_K), dtype)
            b = T.alloc_shared((block_K, block_N), dtype)
            c = T.alloc_fragment((block_M, block_N), "float32")
            T.clear(c)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=stages):
                T.copy(A[by * block_M, k * block_K], a)
                T.copy(B[k * block_K, bx * block_N], b)
                T.gemm(a, b, c)
            T.copy(c, C[by * block_M, bx * block_N])

    return gemm


def gemm_transposed(M: int = 128, N: int = 64, K: int = 128, dtype: str = "float8_e4m3fn") -> Any:
    """C = A Bᵀ, whose operands both run along k: what Hopper's fp8 products want."""

    @T.prim_func
    def gemm_transposed(A: T.Tensor((M, K), dtype), B: T.Tensor((N, K), dtype), C: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, 64), T.ceildiv(M, 64), threads=128) as (bx, by):
            a = T.alloc_shared((64, 64), dtype)
            b = T.alloc_shared((64, 64), dtype)
            c = T.alloc_fragment((64, 64), "float32")
            T.clear(c)
            for k in T.Pipelined(T.ceildiv(K, 64), num_stages=2):
                T.copy(A[by * 64, k * 64], a)
                T.copy(B[bx * 64, k * 64], b)
                T.gemm(a, b, c, transpose_B=True)
            T.copy(c, C[by * 64, bx * 64])

    return gemm_transposed


def gemm_in_tensor_memory(M: int = 256, N: int = 128, K: int = 128) -> Any:
    """C = A Bᵀ, accumulated in Blackwell's tensor memory."""

    @T.prim_func
    def gemm_in_tensor_memory(A: T.Tensor((M, K), "bfloat16"), B: T.Tensor((N, K), "bfloat16"), C: T.Tensor((M, N), "bfloat16")) -> None:
        with T.Kernel(T.ceildiv(N, 128), T.ceildiv(M, 128), threads=128) as (bx, by):
            a = T.alloc_shared((128, 64), "bfloat16")
            b = T.alloc_shared((128, 64), "bfloat16")
            c = T.alloc_tmem([128, 128], "float32")
            done = T.alloc_barrier(1)
            rounded = T.alloc_fragment((128, 128), "float32")
            staged = T.alloc_shared((128, 128), "bfloat16")
            for k in T.Pipelined(T.ceildiv(K, 64), num_stages=2):
                T.copy(A[by * 128, k * 64], a)
                T.copy(B[bx * 128, k * 64], b)
                T.gemm(a, b, c, transpose_B=True, mbar=done, clear_accum=(k == 0))
            T.copy(c, rounded)
            T.copy(rounded, staged)
            T.copy(staged, C[by * 128, bx * 128])

    return gemm_in_tensor_memory


def sequence(M: int = 256, K: int = 128, threads: int = 128) -> Any:
    """D = relu(A B) W: two pipelined loops, one after the other."""

    @T.prim_func
    def sequence(
        A: T.Tensor((M, K), "float16"), B: T.Tensor((K, 64), "float16"), W: T.Tensor((64, 64), "float16"), D: T.Tensor((M, 64), "float16")
    ) -> None:
        with T.Kernel(T.ceildiv(M, 64), threads=threads) as by:
            a = T.alloc_shared((64, 32), "float16")
            b = T.alloc_shared((32, 64), "float16")
            w = T.alloc_shared((32, 64), "float16")
            handed = T.alloc_shared((64, 64), "float16")
            first = T.alloc_fragment((64, 64), "float32")
            second = T.alloc_fragment((64, 64), "float32")
            T.clear(first)
            for k in T.Pipelined(T.ceildiv(K, 32), num_stages=2):
                T.copy(A[by * 64, k * 32], a)
                T.copy(B[k * 32, 0], b)
                T.gemm(a, b, first)
            for i, j in T.Parallel(64, 64):
                first[i, j] = T.max(first[i, j], 0.0)
            T.copy(first, handed)
            T.clear(second)
            for k in T.Pipelined(2, num_stages=2):
                T.copy(W[k * 32, 0], w)
                T.gemm(handed[:, k * 32 : (k + 1) * 32], w, second)
            T.copy(second, D[by * 64, 0])

    return sequence


def nest(M: int = 128, N: int = 256, K: int = 128, outer: int = 0, inner: int = 2, carried: bool = True) -> Any:
    """D = Σ over tiles n of relu(A B[:, n]) W[n]: a pipelined loop in a loop with `outer` stages.

    With `carried` the sum is cleared before the outer loop, else in each of its iterations: then D is that of the last tile.
    """

    @T.prim_func
    def nest(
        A: T.Tensor((M, K), "float16"), B: T.Tensor((K, N), "float16"), W: T.Tensor((N, 64), "float16"), D: T.Tensor((M, 64), "float32")
    ) -> None:
        with T.Kernel(T.ceildiv(M, 64), threads=128) as by:
            a = T.alloc_shared((64, 32), "float16")
            b = T.alloc_shared((32, 64), "float16")
            w = T.alloc_shared((64, 64), "float16")
            handed = T.alloc_shared((64, 64), "float16")
            part = T.alloc_fragment((64, 64), "float32")
            total = T.alloc_fragment((64, 64), "float32")
            if carried:
                T.clear(total)
            for n in T.Pipelined(T.ceildiv(N, 64), num_stages=outer):
                if not carried:
                    T.clear(total)
                T.clear(part)
                for k in T.Pipelined(T.ceildiv(K, 32), num_stages=inner):
                    T.copy(A[by * 64, k * 32], a)
                    T.copy(B[k * 32, n * 64], b)
                    T.gemm(a, b, part)
                for i, j in T.Parallel(64, 64):
                    part[i, j] = T.max(part[i, j], 0.0)
                T.copy(part, handed)
                T.copy(W[n * 64, 0], w)
                T.gemm(handed, w, total)
            T.copy(total, D[by * 64, 0])

    return nest


def branches(M: int = 256, N: int = 256, K: int = 128, threads: int = 128) -> Any:
    """C = A B in half of the blocks, Y = X with rows scaled by 1/√Σx in the other: two kernels in one grid."""

    @T.prim_func
    def branches(
        A: T.Tensor((M, K), "float16"), B: T.Tensor((K, N), "float16"), C: T.Tensor((M, N), "float16"),
        X: T.Tensor((M, N), "float16"), Y: T.Tensor((M, N), "float16"),
    ) -> None:  # fmt: skip
        with T.Kernel(T.ceildiv(N, 64), T.ceildiv(M, 64), 2, threads=threads) as (bx, by, bz):
            if bz == 0:
                a = T.alloc_shared((64, 32), "float16")
                b = T.alloc_shared((32, 64), "float16")
                c = T.alloc_fragment((64, 64), "float32")
                T.clear(c)
                for k in T.Pipelined(T.ceildiv(K, 32), num_stages=2):
                    T.copy(A[by * 64, k * 32], a)
                    T.copy(B[k * 32, bx * 64], b)
                    T.gemm(a, b, c)
                T.copy(c, C[by * 64, bx * 64])
            else:
                x = T.alloc_fragment((64, 64), "float32")
                total = T.alloc_fragment((64,), "float32")
                T.copy(X[by * 64, bx * 64], x)
                T.reduce_sum(x, total, dim=1)
                for i, j in T.Parallel(64, 64):
                    x[i, j] = x[i, j] * T.rsqrt(total[i])
                T.copy(x, Y[by * 64, bx * 64])

    return branches


def prologue(way: str, M: int = 128, N: int = 128, K: int = 256, stages: int = 2) -> Any:
    """C = (A² + 1) B, with A squared inside the pipelined loop: "in place", "to shared" memory of its own, or "to fragment"."""

    @T.prim_func
    def prologue(A: T.Tensor((M, K), "float16"), B: T.Tensor((K, N), "float16"), C: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, 64), T.ceildiv(M, 64), threads=128) as (bx, by):
            a = T.alloc_shared((64, 32), "float16")
            b = T.alloc_shared((32, 64), "float16")
            squared = T.alloc_shared((64, 32), "float16")
            values = T.alloc_fragment((64, 32), "float16")
            c = T.alloc_fragment((64, 64), "float32")
            T.clear(c)
            for k in T.Pipelined(T.ceildiv(K, 32), num_stages=stages):
                T.copy(A[by * 64, k * 32], a)
                T.copy(B[k * 32, bx * 64], b)
                T.copy(a, values)
                for i, j in T.Parallel(64, 32):
                    values[i, j] = values[i, j] * values[i, j] + T.float16(1.0)
                if way == "in place":
                    T.copy(values, a)
                    T.gemm(a, b, c)
                elif way == "to shared":
                    T.copy(values, squared)
                    T.gemm(squared, b, c)
                else:
                    T.gemm(values, b, c)
            T.copy(c, C[by * 64, bx * 64])

    return prologue


def borrowed(where: str, M: int = 64, N: int = 64, K: int = 128) -> Any:
    """C = A B, and D = 2 X through the buffer of A's tiles, "before" or "after" the pipelined loop, or A's last tile "kept" in D."""

    @T.prim_func
    def borrowed(
        A: T.Tensor((M, K), "float16"), B: T.Tensor((K, N), "float16"), X: T.Tensor((M, 32), "float16"),
        D: T.Tensor((M, 32), "float16"), C: T.Tensor((M, N), "float32"),
    ) -> None:  # fmt: skip
        with T.Kernel(1, threads=128) as _:
            a = T.alloc_shared((M, 32), "float16")
            b = T.alloc_shared((32, N), "float16")
            c = T.alloc_fragment((M, N), "float32")
            T.clear(c)
            if where == "before":
                T.copy(X, a)
                for i, j in T.Parallel(M, 32):
                    D[i, j] = a[i, j] * T.float16(2.0)
            for k in T.Pipelined(T.ceildiv(K, 32), num_stages=2):
                T.copy(A[0, k * 32], a)
                T.copy(B[k * 32, 0], b)
                T.gemm(a, b, c)
            if where == "after":
                T.copy(X, a)
                for i, j in T.Parallel(M, 32):
                    D[i, j] = a[i, j] * T.float16(2.0)
            elif where == "kept":
                T.copy(a, D)
            T.copy(c, C)

    return borrowed


def row_norm(M: int = 64, N: int = 256, threads: int = 128) -> Any:
    """Y = X / √(mean of squares + 1e-6), row by row."""

    @T.prim_func
    def row_norm(X: T.Tensor((M, N), "float16"), Y: T.Tensor((M, N), "float16")) -> None:
        with T.Kernel(T.ceildiv(M, 4), threads=threads) as by:
            x = T.alloc_fragment((4, N), "float32")
            squares = T.alloc_fragment((4, N), "float32")
            total = T.alloc_fragment((4,), "float32")
            T.copy(X[by * 4, 0], x)
            for i, j in T.Parallel(4, N):
                squares[i, j] = x[i, j] * x[i, j]
            T.reduce_sum(squares, total, dim=1)
            for i, j in T.Parallel(4, N):
                x[i, j] = x[i, j] * T.rsqrt(total[i] / N + 1e-6)
            T.copy(x, Y[by * 4, 0])

    return row_norm


def refill(stages: int = 2, read_first: bool = True) -> Any:
    """O = I + ΣA[:-1] (reading the buffer before it is refilled) or ΣA (after)."""

    @T.prim_func
    def refill(A: T.Tensor((8, 32), "int32"), I: T.Tensor((32,), "int32"), O: T.Tensor((32,), "int32")) -> None:  # noqa: E741
        with T.Kernel(1, threads=32) as _:
            tile = T.alloc_shared((32,), "int32")
            total = T.alloc_fragment((32,), "int32")
            T.clear(total)
            for i in T.Parallel(32):
                tile[i] = I[i]
            for k in T.Pipelined(8, num_stages=stages):
                if read_first:
                    for i in T.Parallel(32):
                        total[i] += tile[i]
                    T.copy(A[k, :], tile)
                else:
                    T.copy(A[k, :], tile)
                    for i in T.Parallel(32):
                        total[i] += tile[i]
            for i in T.Parallel(32):
                O[i] = total[i]

    return refill


def conflicting_layouts() -> Any:
    """A copy between two fragments that are annotated with different layouts."""

    @T.prim_func
    def conflicting_layouts(A: T.Tensor((128, 128), "float32"), C: T.Tensor((128, 128), "float32")) -> None:
        with T.Kernel(1, threads=128) as _:
            rows = T.alloc_fragment((128, 128), "float32")
            columns = T.alloc_fragment((128, 128), "float32")
            T.annotate_layout(
                {
                    rows: T.Fragment((128, 128), forward_fn=lambda i, j: (i, j)),
                    columns: T.Fragment((128, 128), forward_fn=lambda i, j: (j, i)),
                }
            )
            T.copy(A, rows)
            T.copy(rows, columns)
            T.copy(columns, C)

    return conflicting_layouts


def one_layout(by_row: bool = True) -> Any:
    """A copy through a fragment with an annotated layout: a thread has a row, or a column."""

    @T.prim_func
    def one_layout(A: T.Tensor((128, 128), "float32"), C: T.Tensor((128, 128), "float32")) -> None:
        with T.Kernel(1, threads=128) as _:
            tile = T.alloc_fragment((128, 128), "float32")
            if by_row:
                T.annotate_layout({tile: T.Fragment((128, 128), forward_fn=lambda i, j: (i, j))})
            else:
                T.annotate_layout({tile: T.Fragment((128, 128), forward_fn=lambda i, j: (j, i))})
            T.copy(A, tile)
            T.copy(tile, C)

    return one_layout


def staged(size: int) -> Any:
    """A copy through `size`² floats of shared memory."""

    @T.prim_func
    def staged(A: T.Tensor((size, size), "float32"), C: T.Tensor((size, size), "float32")) -> None:
        with T.Kernel(1, threads=128) as _:
            tile = T.alloc_shared((size, size), "float32")
            T.copy(A, tile)
            T.copy(tile, C)

    return staged


def free_sizes() -> Any:
    """B = 2 A for any number of rows, and a factor."""
    rows = T.dynamic("rows")

    @T.prim_func
    def free_sizes(A: T.Tensor((rows, 64), "float32"), factor: T.float32, B: T.Tensor((rows, 64), "float32")) -> None:
        with T.Kernel(T.ceildiv(rows, 8), threads=128) as by:
            for i, j in T.Parallel(8, 64):
                if by * 8 + i < rows:
                    B[by * 8 + i, j] = A[by * 8 + i, j] * factor

    return free_sizes
