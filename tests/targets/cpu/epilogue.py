"""Tile programs as fusion makes them: a product and what follows it, on shapes that no tile divides."""

from typing import Any

import tilelang.language as T


def gemm_bias_gelu(M: int, N: int, K: int, block_M: int = 32, block_N: int = 64, block_K: int = 32) -> Any:
    """C = GELU(A B + bias), with tanh."""

    @T.prim_func
    def gemm_bias_gelu(
        A: T.Tensor((M, K), "float16"), B: T.Tensor((K, N), "float16"), bias: T.Tensor((N,), "float16"), C: T.Tensor((M, N), "float16")
    ) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            a = T.alloc_shared((block_M, block_K), "float16")
            b = T.alloc_shared((block_K, block_N), "float16")
            c = T.alloc_fragment((block_M, block_N), "float32")
            T.clear(c)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                T.copy(A[by * block_M, k * block_K], a)
                T.copy(B[k * block_K, bx * block_N], b)
                T.gemm(a, b, c)
            for i, j in T.Parallel(block_M, block_N):
                x = c[i, j] + T.cast(bias[bx * block_N + j], "float32")
                c[i, j] = 0.5 * x * (1.0 + T.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))
            T.copy(c, C[by * block_M, bx * block_N])

    return gemm_bias_gelu


def softmax_rows(M: int, N: int, rows: int = 4) -> Any:
    """Each row's softmax, the row whole on chip and wider than the tensor."""
    width = -(-N // 64) * 64

    @T.prim_func
    def softmax_rows(x: T.Tensor((M, N), "bfloat16"), y: T.Tensor((M, N), "bfloat16")) -> None:
        with T.Kernel(T.ceildiv(M, rows), threads=128) as b:
            score = T.alloc_fragment((rows, width), "float32")
            largest = T.alloc_fragment((rows,), "float32")
            total = T.alloc_fragment((rows,), "float32")
            T.annotate_safe_value({x: -T.infinity("bfloat16")})
            T.copy(x[b * rows, 0], score)
            T.reduce_max(score, largest, dim=1)
            for i, j in T.Parallel(rows, width):
                score[i, j] = T.exp(score[i, j] - largest[i])
            T.reduce_sum(score, total, dim=1)
            for i, j in T.Parallel(rows, width):
                if b * rows + i < M:
                    y[b * rows + i, j] = score[i, j] / total[i]

    return softmax_rows


def two_grids(N: int) -> Any:
    """y = x + 1, then z = 2 y: a program of two grids, the second of which needs all of the first."""

    @T.prim_func
    def two_grids(x: T.Tensor((N,), "float32"), y: T.Tensor((N,), "float32"), z: T.Tensor((N,), "float32")) -> None:
        with T.Kernel(T.ceildiv(N, 16), threads=32) as b:
            for i in T.Parallel(16):
                y[b * 16 + i] = x[b * 16 + i] + 1.0
        with T.Kernel(T.ceildiv(N, 16), threads=32) as b:
            for i in T.Parallel(16):
                z[b * 16 + i] = y[N - 1 - (b * 16 + i)] * 2.0

    return two_grids


def named() -> Any:
    """y = x, with names that C, or the emitted file itself, has other uses for."""

    @T.prim_func
    def named(block: T.Tensor((64,), "float32"), NAN: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            register = T.alloc_shared((64,), "float32")
            exp = T.alloc_shared((64,), "float32")
            pack = T.alloc_shared((64,), "float32")
            T.copy(block, register)
            for i in T.Parallel(64):
                for j in T.serial(1):
                    double = register[i + j] * 2.0
                    exp[i] = T.exp(double)
            for i in T.Parallel(64):
                pack[i] = T.log(exp[i]) * 0.5
            T.copy(pack, NAN)

    return named


def barriers() -> Any:
    """Threads that play different roles."""

    @T.prim_func
    def barriers(x: T.Tensor((64,), "float32"), y: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(1, threads=128) as _:
            ready = T.alloc_barrier(32)
            tile = T.alloc_shared((64,), "float32")
            T.copy(x, tile)
            T.barrier_arrive(ready)
            T.copy(tile, y)

    return barriers


def by_thread() -> Any:
    """A loop over threads."""

    @T.prim_func
    def by_thread(x: T.Tensor((32,), "float32"), y: T.Tensor((32,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            for t in T.thread_binding(32, "threadIdx.x"):
                y[t] = x[t]

    return by_thread


def workspace() -> Any:
    """Allocates global memory."""

    @T.prim_func
    def workspace(x: T.Tensor((32,), "float32"), y: T.Tensor((32,), "float32")) -> None:
        with T.Kernel(1, threads=32) as _:
            scratch = T.alloc_global((32,), "float32")
            T.copy(x, scratch)
            T.copy(scratch, y)

    return workspace
