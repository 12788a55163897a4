"""Few-bit numbers: int4 weights with group scales, float8 activations with row scales, and products of them.

int4: two to a byte, the even column in the low four bits, each stored as its value plus 8; a scale
for every `group` columns of a row. float8: e4m3fn, with largest number 448; a row's scale is
its largest magnitude over 448.
"""

from typing import Any, Final

import tilelang.language as T
import torch

from mosaic.errors import KernelError
from mosaic.graph.kernel import kernel
from mosaic.kernels.gemm import tiles_fit
from mosaic.kernels.rows import row_layout, row_width, rows_fit

FLOAT8_LARGEST = 448.0
SMALLEST_SCALE = 1e-12
"""A row of zeros gets this scale, so that nothing divides by zero."""

_FNUZ = "gfx942 has float8 only as e4m3fnuz, and TileLang 0.1.15 takes e4m3fn for that: every number would come out wrong"

UNSUPPORTED: Final[dict[str, dict[str, str]]] = {
    "gemm_fp8": {
        "sm_80": "sm_80 has no float8 matrix instructions; TileLang 0.1.15 compiles the product without complaint, to nothing",
        "gfx942": _FNUZ,
    },
    "quantize_fp8": {"gfx942": _FNUZ},
}
"""Kernel name → target name → why it must not be lowered for that target."""


def _check_groups(name: str, K: int, group: int) -> None:
    if group < 1 or K % group:
        raise KernelError(f"kernel {name!r}: rows of {K} columns do not divide into groups of {group}")


def _dequantize_int4(q: torch.Tensor, scale: torch.Tensor, group: int) -> torch.Tensor:
    pairs = torch.stack((q & 15, q >> 4), -1).flatten(1)
    return (pairs.to(scale.dtype) - 8) * scale.repeat_interleave(group, 1)


@kernel(
    inputs={"q": "N P : uint8", "scale": "N P*2//group : dtype"},
    outputs={"w": "N P*2 : dtype"},
    attributes={"group": 32},
    tunables={"block_N": (8, 16, 32, 64, 128), "block_K": (32, 64, 128, 256), "threads": (128, 256)},
    reference=_dequantize_int4,
)
def dequantize_int4(N: int, P: int, dtype: str, group: int, block_N: int = 16, block_K: int = 128, threads: int = 128) -> Any:
    """w[n, k] = (nibble k of row n - 8) · scale[n, k // group]. Raises KernelError if groups don't divide a row."""
    K = 2 * P
    _check_groups("dequantize_int4", K, group)

    @T.prim_func
    def main(q: T.Tensor((N, P), "uint8"), scale: T.Tensor((N, K // group), dtype), w: T.Tensor((N, K), dtype)) -> None:
        with T.Kernel(T.ceildiv(K, block_K), T.ceildiv(N, block_N), threads=threads) as (bk, bn):
            for i, j in T.Parallel(block_N, block_K):
                w[bn * block_N + i, bk * block_K + j] = (
                    (((q[bn * block_N + i, (bk * block_K + j) // 2].astype("int32") >> ((j % 2) * 4)) & 15) - 8).astype("float32")
                    * scale[bn * block_N + i, (bk * block_K + j) // group].astype("float32")
                ).astype(dtype)

    return main


def _gemm_int4_fits(dtype: str, block_M: int, block_N: int, block_K: int, threads: int, num_stages: int) -> bool:
    # TileLang 0.1.15 cannot write out four predicated bytes a thread for HIP
    return block_N * block_K // 2 != 4 * threads and tiles_fit(dtype, block_M, block_N, block_K, threads, num_stages + 1)


def _gemm_int4(a: torch.Tensor, q: torch.Tensor, scale: torch.Tensor, group: int) -> torch.Tensor:
    return a @ _dequantize_int4(q, scale, group).T


@kernel(
    inputs={"a": "M P*2 : dtype", "q": "N P : uint8", "scale": "N P*2//group : dtype"},
    outputs={"c": "M N : dtype"},
    attributes={"group": 32},
    tunables={
        "block_M": (16, 32, 64, 128),
        "block_N": (32, 64, 128),
        "block_K": (32, 64, 128),
        "threads": (128, 256),
        "num_stages": (1, 2),
    },
    reference=_gemm_int4,
    valid=_gemm_int4_fits,
)
def gemm_int4(
    M: int,
    N: int,
    P: int,
    dtype: str,
    group: int,
    block_M: int = 32,
    block_N: int = 64,
    block_K: int = 64,
    threads: int = 128,
    num_stages: int = 2,
) -> Any:
    """c = a wᵀ, with w as `dequantize_int4` gives it, rounded to `dtype`; it is made in shared memory, a tile at a time."""
    K = 2 * P
    _check_groups("gemm_int4", K, group)

    @T.prim_func
    def main(
        a: T.Tensor((M, K), dtype), q: T.Tensor((N, P), "uint8"), scale: T.Tensor((N, K // group), dtype), c: T.Tensor((M, N), dtype)
    ) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bn, bm):
            a_tile = T.alloc_shared((block_M, block_K), dtype)
            q_tile = T.alloc_shared((block_N, block_K // 2), "uint8")
            w_tile = T.alloc_shared((block_N, block_K), dtype)
            acc = T.alloc_fragment((block_M, block_N), "float32")
            T.clear(acc)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=num_stages):
                T.copy(a[bm * block_M, k * block_K], a_tile)
                T.copy(q[bn * block_N, k * (block_K // 2)], q_tile)
                for i, j in T.Parallel(block_N, block_K):
                    w_tile[i, j] = (
                        (((q_tile[i, j // 2].astype("int32") >> ((j % 2) * 4)) & 15) - 8).astype("float32")
                        * scale[bn * block_N + i, (k * block_K + j) // group].astype("float32")
                    ).astype(dtype)
                T.gemm(a_tile, w_tile, acc, transpose_B=True)
            T.copy(acc, c[bm * block_M, bn * block_N])

    return main


def _quantize_fp8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    wide = x if x.dtype is torch.float64 else x.float()
    scale = (wide.abs().amax(-1) / FLOAT8_LARGEST).clamp(min=SMALLEST_SCALE)
    return wide / scale[:, None], scale


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"q": "M N : float8_e4m3fn", "scale": "M : float32"},
    tunables={"block_M": (1, 2, 4, 8, 16, 32, 64, 128), "threads": (128, 256, 512)},
    reference=_quantize_fp8,
    valid=rows_fit,
)
def quantize_fp8(M: int, N: int, dtype: str, block_M: int = 8, threads: int = 128) -> Any:
    """x[i] ≈ q[i] · scale[i], with the scale such that the row's largest magnitude becomes 448. Not for gfx942 (see UNSUPPORTED)."""
    width = row_width(N, block_M, threads)
    layout = row_layout(block_M, width, threads, 4)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), q: T.Tensor((M, N), "float8_e4m3fn"), scale: T.Tensor((M,), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            value = T.alloc_fragment((block_M, width), "float32")
            largest = T.alloc_fragment((block_M,), "float32")
            for i, j in T.Parallel(block_M, width, loop_layout=layout):
                value[i, j] = x[bm * block_M + i, j].astype("float32")
            T.reduce_absmax(value, largest, dim=1)
            for i in T.Parallel(block_M):
                largest[i] = T.max(largest[i] / FLOAT8_LARGEST, SMALLEST_SCALE)
            for i, j in T.Parallel(block_M, width):
                q[bm * block_M + i, j] = T.clamp(value[i, j] / largest[i], -FLOAT8_LARGEST, FLOAT8_LARGEST).astype("float8_e4m3fn")
            for i in T.Parallel(block_M):
                scale[bm * block_M + i] = largest[i]

    return main


def _gemm_fp8(a: torch.Tensor, a_scale: torch.Tensor, b: torch.Tensor, b_scale: torch.Tensor) -> torch.Tensor:
    return (a.to(a_scale.dtype) @ b.to(b_scale.dtype).T) * a_scale[:, None] * b_scale


@kernel(
    inputs={"a": "M K : float8_e4m3fn", "a_scale": "M : float32", "b": "N K : float8_e4m3fn", "b_scale": "N : float32"},
    outputs={"c": "M N : dtype"},
    attributes={"dtype": "float16"},
    tunables={
        "block_M": (32, 64, 128),
        "block_N": (32, 64, 128),
        "block_K": (64, 128),
        "threads": (128, 256),
        "num_stages": (2, 3),
    },
    reference=_gemm_fp8,
    valid=lambda block_M, block_N, block_K, threads, num_stages: tiles_fit("float8_e4m3fn", block_M, block_N, block_K, threads, num_stages),
)
def gemm_fp8(
    M: int,
    N: int,
    K: int,
    dtype: str,
    block_M: int = 64,
    block_N: int = 128,
    block_K: int = 64,
    threads: int = 128,
    num_stages: int = 2,
) -> Any:
    """c[m, n] = a_scale[m] · b_scale[n] · Σ a[m, k] b[n, k], of type `dtype`. Not for sm_80 and gfx942 (see UNSUPPORTED)."""

    @T.prim_func
    def main(
        a: T.Tensor((M, K), "float8_e4m3fn"),
        a_scale: T.Tensor((M,), "float32"),
        b: T.Tensor((N, K), "float8_e4m3fn"),
        b_scale: T.Tensor((N,), "float32"),
        c: T.Tensor((M, N), dtype),
    ) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            a_tile = T.alloc_shared((block_M, block_K), "float8_e4m3fn")
            b_tile = T.alloc_shared((block_N, block_K), "float8_e4m3fn")
            acc = T.alloc_fragment((block_M, block_N), "float32")
            T.clear(acc)
            for k in T.Pipelined(T.ceildiv(K, block_K), num_stages=num_stages):
                T.copy(a[by * block_M, k * block_K], a_tile)
                T.copy(b[bx * block_N, k * block_K], b_tile)
                T.gemm(a_tile, b_tile, acc, transpose_B=True)
            for i, j in T.Parallel(block_M, block_N):
                acc[i, j] = acc[i, j] * a_scale[by * block_M + i] * b_scale[bx * block_N + j]
            T.copy(acc, c[by * block_M, bx * block_N])

    return main
