"""Tile programs around T.gemm."""

from typing import Any

import tilelang.language as T


def product(
    shape: tuple[int, int, int],
    dtype: str,
    accumulator: str,
    transposed: tuple[bool, bool] = (False, False),
    clear: bool = False,
    start: float = 0.0,
) -> Any:
    """C = start + A B in one tile, each operand stored either way round."""
    M, N, K = shape
    of_a = (K, M) if transposed[0] else (M, K)
    of_b = (N, K) if transposed[1] else (K, N)

    @T.prim_func
    def product(A: T.Tensor(of_a, dtype), B: T.Tensor(of_b, dtype), C: T.Tensor((M, N), accumulator)) -> None:
        with T.Kernel(1, threads=128) as _:
            a = T.alloc_shared(of_a, dtype)
            b = T.alloc_shared(of_b, dtype)
            c = T.alloc_fragment((M, N), accumulator)
            T.copy(A, a)
            T.copy(B, b)
            T.fill(c, start)
            T.gemm(a, b, c, transpose_A=transposed[0], transpose_B=transposed[1], clear_accum=clear)
            T.copy(c, C)

    return product


def pipelined(M: int, N: int, K: int, tile: tuple[int, int, int], in_parts: bool) -> Any:
    """C = A B over tiles that the shape need not fill; the accumulator cleared by the first step, or before."""
    block_M, block_N, block_K = tile

    @T.prim_func
    def pipelined(A: T.Tensor((M, K), "float16"), B: T.Tensor((N, K), "float16"), C: T.Tensor((M, N), "float16")) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=128) as (bx, by):
            a = T.alloc_shared((2, block_M, block_K), "float16")
            b = T.alloc_shared((block_N, block_K), "float16")
            c = T.alloc_fragment((block_M, block_N), "float32")
            if not in_parts:
                T.clear(c)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=2):
                T.copy(A[by * block_M : (by + 1) * block_M, k * block_K : (k + 1) * block_K], a[k % 2, :, :])
                T.copy(B[bx * block_N, k * block_K], b)
                if in_parts:
                    half = block_N // 2
                    T.gemm(a[k % 2, :, :], b[0:half, :], c[:, 0:half], transpose_B=True, clear_accum=k == 0)
                    T.gemm(a[k % 2, :, :], b[half:block_N, :], c[:, half:block_N], transpose_B=True, clear_accum=k == 0)
                else:
                    T.gemm(a[k % 2, :, :], b, c, transpose_B=True)
            T.copy(c, C[by * block_M, bx * block_N])

    return pipelined


def chained(M: int, N: int, K: int) -> Any:
    """D = (A B rounded to half) E: the first product stays in a fragment."""

    @T.prim_func
    def chained(
        A: T.Tensor((M, K), "float16"), B: T.Tensor((K, N), "float16"), E: T.Tensor((N, K), "float16"), D: T.Tensor((M, K), "float32")
    ) -> None:
        with T.Kernel(1, threads=128) as _:
            a = T.alloc_shared((M, K), "float16")
            b = T.alloc_shared((K, N), "float16")
            e = T.alloc_shared((N, K), "float16")
            middle = T.alloc_fragment((M, N), "float32")
            rounded = T.alloc_fragment((M, N), "float16")
            d = T.alloc_fragment((M, K), "float32")
            T.copy(A, a)
            T.copy(B, b)
            T.copy(E, e)
            T.gemm(a, b, middle, clear_accum=True)
            T.copy(middle, rounded)
            T.clear(d)
            T.gemm(rounded, e, d)
            T.copy(d, D)

    return chained
