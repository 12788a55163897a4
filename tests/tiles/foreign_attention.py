"""Attention and linear recurrences as they are published for TileLang, in our own words."""

import math
from typing import Any

import tilelang.language as T


def flash(
    batch: int,
    heads: int,
    kv_heads: int,
    length: int,
    dim: int,
    *,
    causal: bool,
    block_M: int = 32,
    block_N: int = 16,
    dtype: str = "float16",
) -> Any:
    """FlashAttention forward, laid out as [batch, length, heads, dim]; grouped heads; the log-sum-exp is kept for a backward pass."""
    scale = math.log2(math.e) / math.sqrt(dim)
    share = heads // kv_heads

    @T.prim_func
    def main(
        Q: T.Tensor((batch, length, heads, dim), dtype),
        K: T.Tensor((batch, length, kv_heads, dim), dtype),
        V: T.Tensor((batch, length, kv_heads, dim), dtype),
        Output: T.Tensor((batch, length, heads, dim), dtype),
        lse: T.Tensor((batch, heads, length), "float32"),
    ) -> None:
        with T.Kernel(T.ceildiv(length, block_M), heads, batch, threads=128) as (bx, by, bz):
            Q_shared = T.alloc_shared([block_M, dim], dtype)
            K_shared = T.alloc_shared([block_N, dim], dtype)
            V_shared = T.alloc_shared([block_N, dim], dtype)
            acc_s = T.alloc_fragment([block_M, block_N], "float32")
            acc_s_cast = T.alloc_fragment([block_M, block_N], dtype)
            acc_o = T.alloc_fragment([block_M, dim], "float32")
            scores_max = T.alloc_fragment([block_M], "float32")
            scores_max_prev = T.alloc_fragment([block_M], "float32")
            scores_scale = T.alloc_fragment([block_M], "float32")
            scores_sum = T.alloc_fragment([block_M], "float32")
            logsum = T.alloc_fragment([block_M], "float32")
            T.copy(Q[bz, bx * block_M : (bx + 1) * block_M, by, :], Q_shared)
            T.fill(acc_o, 0)
            T.fill(logsum, 0)
            T.fill(scores_max, -T.infinity("float32"))
            end = T.min(T.ceildiv(length, block_N), T.ceildiv((bx + 1) * block_M, block_N)) if causal else T.ceildiv(length, block_N)
            for k in T.Pipelined(end, num_stages=1):
                T.copy(K[bz, k * block_N : (k + 1) * block_N, by // share, :], K_shared)
                for i, j in T.Parallel(block_M, block_N):
                    if causal:
                        acc_s[i, j] = T.if_then_else(bx * block_M + i >= k * block_N + j, 0, -T.infinity("float32"))
                    else:
                        acc_s[i, j] = T.if_then_else(k * block_N + j >= length, -T.infinity("float32"), 0)
                T.gemm(Q_shared, K_shared, acc_s, transpose_B=True, policy=T.GemmWarpPolicy.FullRow)
                T.copy(scores_max, scores_max_prev)
                T.reduce_max(acc_s, scores_max, dim=1, clear=False)
                for i in T.Parallel(block_M):
                    scores_scale[i] = T.exp2(scores_max_prev[i] * scale - scores_max[i] * scale)
                for i, j in T.Parallel(block_M, block_N):
                    acc_s[i, j] = T.exp2(acc_s[i, j] * scale - scores_max[i] * scale)
                T.reduce_sum(acc_s, scores_sum, dim=1)
                for i in T.Parallel(block_M):
                    logsum[i] = logsum[i] * scores_scale[i] + scores_sum[i]
                T.copy(acc_s, acc_s_cast)
                for i, j in T.Parallel(block_M, dim):
                    acc_o[i, j] *= scores_scale[i]
                T.copy(V[bz, k * block_N : (k + 1) * block_N, by // share, :], V_shared)
                T.gemm(acc_s_cast, V_shared, acc_o, policy=T.GemmWarpPolicy.FullRow)
            for i, j in T.Parallel(block_M, dim):
                acc_o[i, j] /= logsum[i]
            T.copy(acc_o, Output[bz, bx * block_M : (bx + 1) * block_M, by, :])
            for i in T.Parallel(block_M):
                logsum[i] = T.log2(logsum[i]) + scores_max[i] * scale
            T.copy(logsum, lse[bz, by, bx * block_M : (bx + 1) * block_M])

    return main


def decode_split(batch: int, heads: int, length: int, dim: int, splits: int = 2, block_N: int = 16, dtype: str = "float16") -> Any:
    """FlashDecoding's first half: each block attends to its part of the keys, for one query a batch entry."""
    scale = math.log2(math.e) / math.sqrt(dim)
    part = length // splits

    @T.prim_func
    def main(
        Q: T.Tensor((batch, heads, dim), dtype),
        K: T.Tensor((batch, length, dim), dtype),
        V: T.Tensor((batch, length, dim), dtype),
        glse: T.Tensor((batch, heads, splits), "float32"),
        partial: T.Tensor((batch, heads, splits, dim), "float32"),
    ) -> None:
        with T.Kernel(batch, splits, threads=128) as (bb, bs):
            Q_shared = T.alloc_shared((heads, dim), dtype)
            K_shared = T.alloc_shared((block_N, dim), dtype)
            V_shared = T.alloc_shared((block_N, dim), dtype)
            acc_s = T.alloc_fragment((heads, block_N), "float32")
            weights = T.alloc_shared((heads, block_N), dtype)
            acc_o = T.alloc_fragment((heads, dim), "float32")
            high = T.alloc_fragment((heads,), "float32")
            high_prev = T.alloc_fragment((heads,), "float32")
            row = T.alloc_fragment((heads,), "float32")
            total = T.alloc_fragment((heads,), "float32")
            T.copy(Q[bb, 0:heads, :], Q_shared)
            T.clear(acc_o)
            T.clear(total)
            T.fill(high, -T.infinity("float32"))
            for k in T.Pipelined(T.ceildiv(part, block_N), num_stages=2):
                T.copy(K[bb, bs * part + k * block_N : bs * part + (k + 1) * block_N, :], K_shared)
                T.copy(V[bb, bs * part + k * block_N : bs * part + (k + 1) * block_N, :], V_shared)
                T.clear(acc_s)
                T.gemm(Q_shared, K_shared, acc_s, transpose_B=True)
                T.copy(high, high_prev)
                T.reduce_max(acc_s, high, dim=1, clear=False)
                for i in T.Parallel(heads):
                    high_prev[i] = T.exp2((high_prev[i] - high[i]) * scale)
                for i, j in T.Parallel(heads, block_N):
                    acc_s[i, j] = T.exp2((acc_s[i, j] - high[i]) * scale)
                T.reduce_sum(acc_s, row, dim=1)
                T.copy(acc_s, weights)
                for i in T.Parallel(heads):
                    total[i] = total[i] * high_prev[i] + row[i]
                for i, j in T.Parallel(heads, dim):
                    acc_o[i, j] *= high_prev[i]
                T.gemm(weights, V_shared, acc_o)
            for i, j in T.Parallel(heads, dim):
                acc_o[i, j] /= total[i]
            for i in T.Parallel(heads):
                glse[bb, i, bs] = T.log2(total[i]) + high[i] * scale
            for i, j in T.Parallel(heads, dim):
                partial[bb, i, bs, j] = acc_o[i, j]

    return main


def decode_combine(batch: int, heads: int, splits: int, dim: int, dtype: str = "float16") -> Any:
    """FlashDecoding's second half: parts are weighed by their log-sum-exp, one block a query, with variables in registers."""

    @T.prim_func
    def main(
        glse: T.Tensor((batch, heads, splits), "float32"),
        partial: T.Tensor((batch, heads, splits, dim), "float32"),
        Output: T.Tensor((batch, heads, dim), dtype),
    ) -> None:
        with T.Kernel(heads, batch, threads=128) as (by, bz):
            part = T.alloc_fragment((dim,), "float32")
            out = T.alloc_fragment((dim,), "float32")
            total = T.alloc_var("float32")
            high = T.alloc_var("float32")
            T.clear(out)
            total = 0.0
            high = -T.infinity("float32")
            for k in T.serial(splits):
                high = T.max(high, glse[bz, by, k])
            for k in T.serial(splits):
                total = total + T.exp2(glse[bz, by, k] - high)
            for k in T.serial(splits):
                for i in T.Parallel(dim):
                    part[i] = partial[bz, by, k, i]
                for i in T.Parallel(dim):
                    out[i] += part[i] * T.exp2(glse[bz, by, k] - high) / total
            for i in T.Parallel(dim):
                Output[bz, by, i] = out[i]

    return main


def linear_attention(batch: int, length: int, dim: int, chunk: int = 16, dtype: str = "float16") -> Any:
    """Causal linear attention: within a chunk by a masked product, across chunks by a state in registers."""

    @T.prim_func
    def main(
        Q: T.Tensor((batch, length, dim), dtype),
        K: T.Tensor((batch, length, dim), dtype),
        V: T.Tensor((batch, length, dim), dtype),
        Out: T.Tensor((batch, length, dim), "float32"),
    ) -> None:
        with T.Kernel(batch, threads=128) as bb:
            q = T.alloc_shared((chunk, dim), dtype)
            k = T.alloc_shared((chunk, dim), dtype)
            v = T.alloc_shared((chunk, dim), dtype)
            s = T.alloc_fragment((chunk, chunk), "float32")
            s_shared = T.alloc_shared((chunk, chunk), dtype)
            state = T.alloc_fragment((dim, dim), "float32")
            state_shared = T.alloc_shared((dim, dim), dtype)
            o = T.alloc_fragment((chunk, dim), "float32")
            T.clear(state)
            for c in T.serial(T.ceildiv(length, chunk)):
                T.copy(Q[bb, c * chunk, 0], q)
                T.copy(K[bb, c * chunk, 0], k)
                T.copy(V[bb, c * chunk, 0], v)
                T.gemm(q, k, s, transpose_B=True, clear_accum=True)
                for i, j in T.Parallel(chunk, chunk):
                    s_shared[i, j] = T.if_then_else(i >= j, s[i, j], 0)
                T.gemm(s_shared, v, o, clear_accum=True)
                T.copy(state, state_shared)
                T.gemm(q, state_shared, o)
                T.gemm(k, v, state, transpose_A=True)
                T.copy(o, Out[bb, c * chunk, 0])

    return main


def scan(batch: int, length: int, channels: int, chunk: int = 16, dtype: str = "float32") -> Any:
    """Decayed sums along a sequence: a cumulative sum of gates in shared memory, chunk by chunk."""

    @T.prim_func
    def main(
        G: T.Tensor((batch, length, channels), dtype),
        X: T.Tensor((batch, length, channels), dtype),
        Y: T.Tensor((batch, length, channels), dtype),
    ) -> None:
        with T.Kernel(T.ceildiv(length, chunk), batch, threads=128) as (bc, bb):
            gate = T.alloc_shared((chunk, channels), dtype)
            x = T.alloc_shared((chunk, channels), dtype)
            T.copy(G[bb, bc * chunk, 0], gate)
            T.copy(X[bb, bc * chunk, 0], x)
            T.cumsum(gate, dim=0)
            for i, j in T.Parallel(chunk, channels):
                x[i, j] = x[i, j] * T.exp(gate[i, j])
            T.copy(x, Y[bb, bc * chunk, 0])

    return main
