"""Attention with online softmax, on tensors laid out as [batch, sequence, heads, head dim].

H heads of queries share G heads of keys and values (grouped heads; G = H is the plain case, G = 1
multi-query): query head h reads key head h // (H / G). Scores and sums are float32; the weights are
rounded to the tensors' type before they meet the values.
"""

import math
from typing import Any

import tilelang.language as T
import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import KernelError
from mosaic.graph.kernel import kernel
from mosaic.kernels.gemm import MAX_SHARED_BYTES

LOWEST = -1e30
"""Stands for "no score yet": finite, so that the difference of two of them is no NaN."""

MAX_REGISTERS = 192
"""Registers a thread may spend on scores, weights and results."""


def _head_tile(D: int) -> int:
    """Head dims a tile holds: D rounded up to what matrix instructions take."""
    return -(-D // 32) * 32


def _check_heads(name: str, H: int, G: int) -> int:
    """How many heads of queries share one of keys. Raises KernelError if it comes out uneven."""
    if H % G:
        raise KernelError(f"kernel {name!r}: {H} heads of queries cannot share {G} heads of keys evenly")
    return H // G


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, keep: torch.Tensor | None) -> torch.Tensor:
    """softmax(q kᵀ / √D) v by heads; `keep` says which scores count, and a query without any gives zeros."""
    repeat = q.shape[2] // k.shape[2]
    queries, keys, values = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    keys, values = keys.repeat_interleave(repeat, 1), values.repeat_interleave(repeat, 1)
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(q.shape[3])
    if keep is not None:
        scores = scores.masked_fill(~keep, -math.inf)
    weights = torch.softmax(scores, -1)
    if keep is not None:
        weights = weights.masked_fill(~keep, 0.0)
    return (weights @ values).transpose(1, 2)


def _full(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return _attend(q, k, v, None)


def _causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    queries, keys = q.shape[1], k.shape[1]
    keep = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    return _attend(q, k, v, keep)


def _masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _attend(q, k, v, mask.ne(0)[:, None, None, :])


def _fits(D: int, dtype: str, block_M: int, block_N: int, threads: int, num_stages: int) -> bool:
    width, size = _head_tile(D), DTYPES[dtype].bytes
    shared = (block_M + 2 * block_N * num_stages) * width * size + block_M * block_N * size
    registers = block_M * (width + 2 * block_N) // threads
    return block_M % (threads // 2) == 0 and shared <= MAX_SHARED_BYTES and registers <= MAX_REGISTERS


@kernel(
    inputs={"q": "B S H D : dtype", "k": "B L G D : dtype", "v": "B L G D : dtype"},
    outputs={"o": "B S H D : dtype"},
    tunables={"block_M": (32, 64, 128), "block_N": (32, 64, 128), "threads": (64, 128, 256), "num_stages": (1, 2)},
    reference=_full,
    valid=_fits,
)
def attention(
    B: int,
    S: int,
    H: int,
    G: int,
    D: int,
    L: int,
    dtype: str,
    block_M: int = 128,
    block_N: int = 64,
    threads: int = 256,
    num_stages: int = 2,
) -> Any:
    """o = softmax(q kᵀ / √D) v. The weights go to the second product by way of shared memory."""
    share = _check_heads("attention", H, G)
    width = _head_tile(D)
    scale = 1.0 / math.sqrt(D)

    @T.prim_func
    def main(
        q: T.Tensor((B, S, H, D), dtype),
        k: T.Tensor((B, L, G, D), dtype),
        v: T.Tensor((B, L, G, D), dtype),
        o: T.Tensor((B, S, H, D), dtype),
    ) -> None:
        with T.Kernel(T.ceildiv(S, block_M), H, B, threads=threads) as (bm, h, b):
            Q = T.alloc_shared((block_M, width), dtype)
            K = T.alloc_shared((block_N, width), dtype)
            V = T.alloc_shared((block_N, width), dtype)
            P = T.alloc_shared((block_M, block_N), dtype)
            scores = T.alloc_fragment((block_M, block_N), "float32")
            out = T.alloc_fragment((block_M, width), "float32")
            m = T.alloc_fragment((block_M,), "float32")
            m_old = T.alloc_fragment((block_M,), "float32")
            row = T.alloc_fragment((block_M,), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.copy(q[b, bm * block_M : (bm + 1) * block_M, h, 0:width], Q)
            T.clear(out)
            T.clear(total)
            T.fill(m, -T.infinity("float32"))
            for n in T.Pipelined(T.ceildiv(L, block_N), num_stages=num_stages):
                T.copy(k[b, n * block_N : (n + 1) * block_N, h // share, 0:width], K)
                T.copy(v[b, n * block_N : (n + 1) * block_N, h // share, 0:width], V)
                T.clear(scores)
                T.gemm(Q, K, scores, transpose_B=True, policy=T.GemmWarpPolicy.FullRow)
                for i, j in T.Parallel(block_M, block_N):
                    scores[i, j] = T.if_then_else(n * block_N + j < L, scores[i, j] * scale, -T.infinity("float32"))
                T.copy(m, m_old)
                T.reduce_max(scores, m, dim=1, clear=False)
                for i, j in T.Parallel(block_M, block_N):
                    scores[i, j] = T.exp(scores[i, j] - m[i])
                T.reduce_sum(scores, row, dim=1)
                for i in T.Parallel(block_M):
                    m_old[i] = T.exp(m_old[i] - m[i])
                for i in T.Parallel(block_M):
                    total[i] = total[i] * m_old[i] + row[i]
                for i, j in T.Parallel(block_M, width):
                    out[i, j] *= m_old[i]
                T.copy(scores, P)
                T.gemm(P, V, out, policy=T.GemmWarpPolicy.FullRow)
            for i, j in T.Parallel(block_M, width):
                out[i, j] /= total[i]
            T.copy(out, o[b, bm * block_M : (bm + 1) * block_M, h, 0:width])

    return main


@kernel(
    inputs={"q": "B S H D : dtype", "k": "B L G D : dtype", "v": "B L G D : dtype"},
    outputs={"o": "B S H D : dtype"},
    tunables={"block_M": (32, 64, 128), "block_N": (32, 64, 128), "threads": (64, 128, 256), "num_stages": (1,)},
    reference=_causal,
    valid=_fits,
)
def attention_causal(
    B: int,
    S: int,
    H: int,
    G: int,
    D: int,
    L: int,
    dtype: str,
    block_M: int = 64,
    block_N: int = 32,
    threads: int = 128,
    num_stages: int = 1,
) -> Any:
    """Query s attends to keys up to L - S + s, so that the last query sees all of them; one that sees none gives zeros.

    Blocks of keys beyond what a block of queries sees are skipped: as many steps as the block's place asks
    for, which TileLang 0.1.15 cannot pipeline more than one deep with cp.async (sm_80, gfx950).
    """
    share = _check_heads("attention_causal", H, G)
    width = _head_tile(D)
    ahead = L - S
    scale = math.log2(math.e) / math.sqrt(D)  # powers of two are what the hardware computes
    # a product's result lies in registers as the next one wants its first operand, except in 32 bits
    stage = T.alloc_shared if dtype == "float32" else T.alloc_fragment

    @T.prim_func
    def main(
        q: T.Tensor((B, S, H, D), dtype),
        k: T.Tensor((B, L, G, D), dtype),
        v: T.Tensor((B, L, G, D), dtype),
        o: T.Tensor((B, S, H, D), dtype),
    ) -> None:
        with T.Kernel(B, H, T.ceildiv(S, block_M), threads=threads) as (b, h, bm):
            q_tile = T.alloc_shared((block_M, width), dtype)
            k_tile = T.alloc_shared((block_N, width), dtype)
            v_tile = T.alloc_shared((block_N, width), dtype)
            score = T.alloc_fragment((block_M, block_N), "float32")
            weight = stage((block_M, block_N), dtype)
            acc = T.alloc_fragment((block_M, width), "float32")
            best = T.alloc_fragment((block_M,), "float32")
            rescale = T.alloc_fragment((block_M,), "float32")
            block_sum = T.alloc_fragment((block_M,), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.copy(q[b, bm * block_M : (bm + 1) * block_M, h, 0:width], q_tile)
            T.clear(acc)
            T.clear(total)
            T.fill(best, LOWEST)
            seen = T.min(T.ceildiv(L, block_N), T.max(1, T.ceildiv((bm + 1) * block_M + ahead, block_N)))
            for n in T.Pipelined(seen, num_stages=num_stages):
                T.copy(k[b, n * block_N : (n + 1) * block_N, h // share, 0:width], k_tile)
                T.copy(v[b, n * block_N : (n + 1) * block_N, h // share, 0:width], v_tile)
                T.clear(score)
                T.gemm(q_tile, k_tile, score, transpose_B=True, policy=T.GemmWarpPolicy.FullRow)
                for i, j in T.Parallel(block_M, block_N):
                    score[i, j] = T.if_then_else(n * block_N + j <= T.min(bm * block_M + i + ahead, L - 1), score[i, j] * scale, LOWEST)
                T.copy(best, rescale)
                T.reduce_max(score, best, dim=1, clear=False)
                for i in T.Parallel(block_M):
                    rescale[i] = T.exp2(rescale[i] - best[i])
                for i, j in T.Parallel(block_M, block_N):
                    score[i, j] = T.if_then_else(
                        n * block_N + j <= T.min(bm * block_M + i + ahead, L - 1), T.exp2(score[i, j] - best[i]), 0.0
                    )
                T.reduce_sum(score, block_sum, dim=1)
                for i in T.Parallel(block_M):
                    total[i] = total[i] * rescale[i] + block_sum[i]
                T.copy(score, weight)
                for i, j in T.Parallel(block_M, width):
                    acc[i, j] *= rescale[i]
                T.gemm(weight, v_tile, acc, policy=T.GemmWarpPolicy.FullRow)
            for i, j in T.Parallel(block_M, width):
                acc[i, j] = T.if_then_else(total[i] > 0.0, acc[i, j] / total[i], 0.0)
            T.copy(acc, o[b, bm * block_M : (bm + 1) * block_M, h, 0:width])

    return main


@kernel(
    inputs={"q": "B S H D : dtype", "k": "B L G D : dtype", "v": "B L G D : dtype", "mask": "B L : int32"},
    outputs={"o": "B S H D : dtype"},
    tunables={"block_M": (32, 64, 128), "block_N": (32, 64, 128), "threads": (64, 128, 256), "num_stages": (1, 2)},
    reference=_masked,
    valid=_fits,
)
def attention_masked(
    B: int,
    S: int,
    H: int,
    G: int,
    D: int,
    L: int,
    dtype: str,
    block_M: int = 64,
    block_N: int = 64,
    threads: int = 128,
    num_stages: int = 1,
) -> Any:
    """Attention over the keys whose mask is not 0 (padding has 0). A batch entry without such a key gives zeros."""
    share = _check_heads("attention_masked", H, G)
    width = _head_tile(D)
    scale = math.log2(math.e) / math.sqrt(D)
    stage = T.alloc_shared if dtype == "float32" else T.alloc_fragment

    @T.prim_func
    def main(
        q: T.Tensor((B, S, H, D), dtype),
        k: T.Tensor((B, L, G, D), dtype),
        v: T.Tensor((B, L, G, D), dtype),
        mask: T.Tensor((B, L), "int32"),
        o: T.Tensor((B, S, H, D), dtype),
    ) -> None:
        with T.Kernel(T.ceildiv(S, block_M), H, B, threads=threads) as (bx, h, b):
            q_tile = T.alloc_shared((block_M, width), dtype)
            k_tile = T.alloc_shared((block_N, width), dtype)
            v_tile = T.alloc_shared((block_N, width), dtype)
            score = T.alloc_fragment((block_M, block_N), "float32")
            weight = stage((block_M, block_N), dtype)
            acc = T.alloc_fragment((block_M, width), "float32")
            best = T.alloc_fragment((block_M,), "float32")
            previous = T.alloc_fragment((block_M,), "float32")
            rescale = T.alloc_fragment((block_M,), "float32")
            block_sum = T.alloc_fragment((block_M,), "float32")
            total = T.alloc_fragment((block_M,), "float32")
            T.copy(q[b, bx * block_M : (bx + 1) * block_M, h, 0:width], q_tile)
            T.clear(acc)
            T.clear(total)
            T.fill(best, LOWEST)
            for s in T.Pipelined(T.ceildiv(L, block_N), num_stages=num_stages):
                T.copy(k[b, s * block_N : (s + 1) * block_N, h // share, 0:width], k_tile)
                T.clear(score)
                T.gemm(q_tile, k_tile, score, transpose_B=True, policy=T.GemmWarpPolicy.FullRow)
                for i, j in T.Parallel(block_M, block_N):
                    # beyond the last key the mask reads as 0
                    score[i, j] = T.if_then_else(mask[b, s * block_N + j] != 0, score[i, j] * scale, LOWEST)
                T.copy(best, previous)
                T.reduce_max(score, best, dim=1, clear=False)
                for i in T.Parallel(block_M):
                    rescale[i] = T.exp2(previous[i] - best[i])
                for i, j in T.Parallel(block_M, block_N):
                    score[i, j] = T.if_then_else(mask[b, s * block_N + j] != 0, T.exp2(score[i, j] - best[i]), 0.0)
                T.reduce_sum(score, block_sum, dim=1)
                for i in T.Parallel(block_M):
                    total[i] = total[i] * rescale[i] + block_sum[i]
                for i, j in T.Parallel(block_M, width):
                    acc[i, j] *= rescale[i]
                T.copy(score, weight)
                T.copy(v[b, s * block_N : (s + 1) * block_N, h // share, 0:width], v_tile)
                T.gemm(weight, v_tile, acc, policy=T.GemmWarpPolicy.FullRow)
            for i, j in T.Parallel(block_M, width):
                acc[i, j] = T.if_then_else(total[i] > 0.0, acc[i, j] / total[i], 0.0)
            T.copy(acc, o[b, bx * block_M : (bx + 1) * block_M, h, 0:width])

    return main
