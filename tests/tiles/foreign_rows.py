"""Norms, softmax, searches and element-wise kernels as they are published for TileLang, in our own words."""

from typing import Any

import tilelang.language as T


def rms_norm(M: int, N: int, block_M: int = 2, dtype: str = "float32") -> Any:
    """Whole rows in shared memory and registers."""

    @T.prim_func
    def main(A: T.Tensor((M, N), dtype), B: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            A_shared = T.alloc_shared((block_M, N), dtype)
            A_local = T.alloc_fragment((block_M, N), dtype)
            squares = T.alloc_fragment((block_M, N), dtype)
            total = T.alloc_fragment((block_M,), dtype)
            T.copy(A[bx * block_M : (bx + 1) * block_M, :], A_shared)
            T.copy(A_shared, A_local)
            for i, j in T.Parallel(block_M, N):
                squares[i, j] = A_local[i, j] * A_local[i, j]
            T.reduce_sum(squares, total, dim=1)
            for i in T.Parallel(block_M):
                total[i] = T.rsqrt(total[i] / N + 1e-12)
            for i, j in T.Parallel(block_M, N):
                A_local[i, j] *= total[i]
            T.copy(A_local, B[bx * block_M : (bx + 1) * block_M, :])

    return main


def layer_norm(M: int, N: int, block_M: int = 4, dtype: str = "float16") -> Any:
    """Mean and variance in one pass: of x and of x²."""

    @T.prim_func
    def main(X: T.Tensor((M, N), dtype), gamma: T.Tensor((N,), dtype), beta: T.Tensor((N,), dtype), Y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            x = T.alloc_fragment((block_M, N), "float32")
            square = T.alloc_fragment((block_M, N), "float32")
            mean = T.alloc_fragment((block_M,), "float32")
            rstd = T.alloc_fragment((block_M,), "float32")
            T.copy(X[bx * block_M, 0], x)
            for i, j in T.Parallel(block_M, N):
                square[i, j] = x[i, j] * x[i, j]
            T.reduce_sum(x, mean, dim=1)
            T.reduce_sum(square, rstd, dim=1)
            for i in T.Parallel(block_M):
                mean[i] = mean[i] / N
                rstd[i] = T.rsqrt(rstd[i] / N - mean[i] * mean[i] + 1e-5)
            for i, j in T.Parallel(block_M, N):
                Y[bx * block_M + i, j] = (x[i, j] - mean[i]) * rstd[i] * gamma[j] + beta[j]

    return main


def online_softmax(M: int, N: int, block_N: int = 32, dtype: str = "float16") -> Any:
    """One row a block; maximum and sum are kept up in one pass, the second pass writes."""

    @T.prim_func
    def main(X: T.Tensor([M, N], dtype), Y: T.Tensor([M, N], dtype)) -> None:
        with T.Kernel(M, threads=128) as row:
            x = T.alloc_fragment([block_N], dtype)
            y = T.alloc_fragment([block_N], dtype)
            lse = T.alloc_fragment([1], "float32")
            high = T.alloc_fragment([1], dtype)
            exps = T.alloc_fragment([block_N], "float32")
            sums = T.alloc_fragment([1], "float32")
            T.fill(lse, -T.infinity("float32"))
            for n in T.Pipelined(0, T.ceildiv(N, block_N)):
                T.copy(X[row, n * block_N : (n + 1) * block_N], x)
                T.reduce_max(x, high, dim=0, clear=True)
                for j in T.Parallel(block_N):
                    exps[j] = T.exp2(x[j] * 1.44269504 - high[0] * 1.44269504)
                T.reduce_sum(exps, sums, dim=0, clear=True)
                lse[0] = high[0] * 1.44269504 + T.log2(T.exp2(lse[0] - high[0] * 1.44269504) + sums[0])
            for n in T.Pipelined(0, T.ceildiv(N, block_N)):
                T.copy(X[row, n * block_N : (n + 1) * block_N], x)
                for j in T.Parallel(block_N):
                    y[j] = T.exp2(x[j] * 1.44269504 - lse[0])
                T.copy(y, Y[row, n * block_N : (n + 1) * block_N])

    return main


def top_k(M: int, N: int, k: int, block_M: int = 8, dtype: str = "float32") -> Any:
    """k times the largest of what is left of each row, and where it is."""

    @T.prim_func
    def main(logits: T.Tensor([M, N], dtype), gates: T.Tensor([M, k], dtype), indices: T.Tensor([M, k], "int32")) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=128) as bx:
            x = T.alloc_fragment([block_M, N], dtype)
            high = T.alloc_fragment([block_M], dtype)
            place = T.alloc_fragment([block_M, N], "int32")
            high_place = T.alloc_fragment([block_M], "int32")
            T.copy(logits[bx * block_M, 0], x)
            for n in T.serial(k):
                T.fill(place, -1)
                T.reduce_max(x, high, dim=1, clear=True)
                for i, j in T.Parallel(block_M, N):
                    place[i, j] = T.if_then_else(high[i] == x[i, j], j, place[i, j])
                T.reduce_max(place, high_place, dim=1, clear=True)
                for i, j in T.Parallel(block_M, N):
                    x[i, j] = T.if_then_else(high[i] == x[i, j], -10000.0, x[i, j])
                for i in T.Parallel(block_M):
                    gates[bx * block_M + i, n] = high[i]
                    indices[bx * block_M + i, n] = high_place[i]

    return main


def vector_add(N: int, block_N: int = 64, dtype: str = "float32") -> Any:
    """The first example of every tutorial: a grid in one dimension."""

    @T.prim_func
    def main(A: T.Tensor((N,), dtype), B: T.Tensor((N,), dtype), C: T.Tensor((N,), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), threads=64) as bx:
            for i in T.Parallel(block_N):
                C[bx * block_N + i] = A[bx * block_N + i] + B[bx * block_N + i]

    return main


def threads_by_hand(N: int, threads: int = 64, dtype: str = "float32") -> Any:
    """Element-wise with the thread's own index, as one would write CUDA; the edge is guarded by hand."""

    @T.prim_func
    def main(A: T.Tensor((N,), dtype), C: T.Tensor((N,), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, threads), threads=threads) as bx:
            tx = T.get_thread_binding(0)
            if bx * threads + tx < N:
                C[bx * threads + tx] = A[bx * threads + tx] * 2.0

    return main


def gemv(N: int, K: int, block_N: int = 8, reduce_threads: int = 16, dtype: str = "float16") -> Any:
    """A matrix times a vector: threads in two dimensions, added up through registers and an atomic on shared memory."""
    per_thread = 8

    @T.prim_func
    def main(A: T.Tensor((K,), dtype), B: T.Tensor((N, K), dtype), C: T.Tensor((N,), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), threads=(block_N, reduce_threads)) as bn:
            tn = T.get_thread_binding(0)
            tk = T.get_thread_binding(1)
            a = T.alloc_local((per_thread,), dtype)
            b = T.alloc_local((per_thread,), dtype)
            total = T.alloc_shared((block_N,), "float32")
            part = T.alloc_local((1,), "float32")
            if tk == 0:
                total[tn] = 0
            T.clear(part)
            for bk in T.serial(T.ceildiv(K, reduce_threads * per_thread)):
                for k in T.vectorized(per_thread):
                    a[k] = A[(bk * reduce_threads + tk) * per_thread + k]
                    b[k] = B[bn * block_N + tn, (bk * reduce_threads + tk) * per_thread + k]
                for k in T.serial(per_thread):
                    part[0] += a[k].astype("float32") * b[k].astype("float32")
            T.atomic_add(total[tn], part[0])
            C[bn * block_N + tn] = total[tn]

    return main


def histogram(N: int, bins: int, block_N: int = 64) -> Any:
    """Counts by atomics at places that the data says."""

    @T.prim_func
    def main(values: T.Tensor((N,), "int32"), counts: T.Tensor((bins,), "int32")) -> None:
        with T.Kernel(T.ceildiv(N, block_N), threads=64) as bx:
            for i in T.Parallel(block_N):
                T.atomic_add(counts[values[bx * block_N + i]], 1)

    return main


def scaled_in_place(M: int, N: int, block_M: int = 16, block_N: int = 16, dtype: str = "float32") -> Any:
    """Reads and writes one tensor."""

    @T.prim_func
    def main(X: T.Tensor((M, N), dtype), scale: T.Tensor((M,), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=64) as (bx, by):
            tile = T.alloc_fragment((block_M, block_N), dtype)
            T.copy(X[by * block_M, bx * block_N], tile)
            for i, j in T.Parallel(block_M, block_N):
                tile[i, j] *= scale[by * block_M + i]
            T.copy(tile, X[by * block_M, bx * block_N])

    return main


def im2col_convolution(
    N: int, C: int, H: int, W: int, F: int, kernel: int, stride: int, dilation: int, padding: int, block: int = 32, dtype: str = "float16"
) -> Any:
    """Convolution (NHWC) as a product, whose left operand the hardware gathers."""
    out_h = (H + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    out_w = (W + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1

    @T.prim_func
    def main(
        data: T.Tensor((N, H, W, C), dtype), weight: T.Tensor((kernel, kernel, C, F), dtype), out: T.Tensor((N, out_h, out_w, F), dtype)
    ) -> None:
        with T.Kernel(T.ceildiv(F, block), T.ceildiv(N * out_h * out_w, block), threads=128) as (bx, by):
            data_shared = T.alloc_shared((block, block), dtype)
            weight_shared = T.alloc_shared((block, block), dtype)
            out_local = T.alloc_fragment((block, block), "float32")
            out_shared = T.alloc_shared((block, block), dtype)
            weight_flat = T.Tensor((kernel * kernel * C, F), dtype, weight.data)
            out_flat = T.Tensor((N * out_h * out_w, F), dtype, out.data)
            T.clear(out_local)
            for k in T.Pipelined(T.ceildiv(kernel * kernel * C, block), num_stages=2):
                T.im2col(data, data_shared, by, k, kernel, stride, dilation, padding)
                T.copy(weight_flat[k * block, bx * block], weight_shared)
                T.gemm(data_shared, weight_shared, out_local)
            T.copy(out_local, out_shared)
            T.copy(out_shared, out_flat[by * block, bx * block])

    return main


def gathered_convolution(
    N: int, C: int, H: int, W: int, F: int, kernel: int, stride: int, padding: int, block: int = 32, dtype: str = "float16"
) -> Any:
    """The same with the gathering written out, element by element."""
    out_h = (H + 2 * padding - kernel) // stride + 1
    out_w = (W + 2 * padding - kernel) // stride + 1

    @T.prim_func
    def main(
        data: T.Tensor((N, H, W, C), dtype), weight: T.Tensor((kernel * kernel * C, F), dtype), out: T.Tensor((N * out_h * out_w, F), dtype)
    ) -> None:
        with T.Kernel(T.ceildiv(F, block), T.ceildiv(N * out_h * out_w, block), threads=128) as (bx, by):
            data_shared = T.alloc_shared((block, block), dtype)
            weight_shared = T.alloc_shared((block, block), dtype)
            out_local = T.alloc_fragment((block, block), "float32")
            T.clear(out_local)
            for k_iter in T.serial(T.ceildiv(kernel * kernel * C, block)):
                for i, j in T.Parallel(block, block):
                    k = k_iter * block + j
                    m = by * block + i
                    h = m % (out_h * out_w) // out_w * stride + k // (kernel * C) - padding
                    w = m % out_w * stride + k // C % kernel - padding
                    inside = (h >= 0) and (w >= 0) and (h < H) and (w < W) and (m < N * out_h * out_w) and (k < kernel * kernel * C)
                    data_shared[i, j] = T.if_then_else(inside, data[m // (out_h * out_w), h, w, k % C], 0)
                T.copy(weight[k_iter * block, bx * block], weight_shared)
                T.gemm(data_shared, weight_shared, out_local)
            T.copy(out_local, out[by * block, bx * block])

    return main
