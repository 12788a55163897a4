"""Kernels that only the random graphs use: odd tiles, several outputs, halos, loops that start elsewhere."""

from typing import Any

import tilelang.language as T
import torch

from mosaic.graph.kernel import kernel


@kernel(
    inputs={"x": "B L C : dtype"},
    outputs={"y": "B L C : dtype"},
    tunables={"block_L": (5, 12, 16), "block_C": (20, 24, 64), "threads": (64, 128)},
    reference=lambda x: x * 0.5 + 1.0,
)
def fuzz_affine3(B: int, L: int, C: int, dtype: str, block_L: int = 12, block_C: int = 20, threads: int = 64) -> Any:
    """y = x / 2 + 1 on three dims, with tiles that are no powers of two."""

    @T.prim_func
    def main(x: T.Tensor((B, L, C), dtype), y: T.Tensor((B, L, C), dtype)) -> None:
        with T.Kernel(T.ceildiv(C, block_C), T.ceildiv(L, block_L), B, threads=threads) as (bc, bl, b):
            for i, j in T.Parallel(block_L, block_C):
                y[b, bl * block_L + i, bc * block_C + j] = (x[b, bl * block_L + i, bc * block_C + j].astype("float32") * 0.5 + 1.0).astype(
                    dtype
                )

    return main


@kernel(
    inputs={"x": "B S H D : dtype"},
    outputs={"y": "B S H D : dtype"},
    tunables={"block_S": (8, 10, 32), "threads": (32, 128)},
    reference=lambda x: x * 0.75,
)
def fuzz_scale4(B: int, S: int, H: int, D: int, dtype: str, block_S: int = 10, threads: int = 32) -> Any:
    """y = 3/4 x on four dims; a block takes all heads, one after another."""

    @T.prim_func
    def main(x: T.Tensor((B, S, H, D), dtype), y: T.Tensor((B, S, H, D), dtype)) -> None:
        with T.Kernel(B, T.ceildiv(S, block_S), threads=threads) as (b, bs):
            for h in T.serial(H):
                for i, j in T.Parallel(block_S, D):
                    y[b, bs * block_S + i, h, j] = (x[b, bs * block_S + i, h, j].astype("float32") * 0.75).astype(dtype)

    return main


def _moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x - x.mean(-1, keepdim=True), x.mean(-1)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"centered": "M N : dtype", "mean": "M : dtype"},
    tunables={"block_M": (3, 4, 16), "threads": (32, 128)},
    reference=_moments,
)
def fuzz_center(M: int, N: int, dtype: str, block_M: int = 3, threads: int = 32) -> Any:
    """Two outputs: rows without their means, and the means. Goes through a row twice, 16 columns at a time."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), centered: T.Tensor((M, N), dtype), mean: T.Tensor((M,), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            total = T.alloc_shared((block_M,), "float32")
            for i in T.Parallel(block_M):
                total[i] = 0.0
            for n in T.serial(T.ceildiv(N, 16)):
                for i in T.Parallel(block_M):
                    for j in T.serial(16):
                        total[i] += T.cast(x[bm * block_M + i, n * 16 + j], "float32")
            for n in T.serial(T.ceildiv(N, 16)):
                for i, j in T.Parallel(block_M, 16):
                    centered[bm * block_M + i, n * 16 + j] = T.cast(
                        T.cast(x[bm * block_M + i, n * 16 + j], "float32") - total[i] / N, dtype
                    )
            for i in T.Parallel(block_M):
                mean[bm * block_M + i] = T.cast(total[i] / N, dtype)

    return main


def _halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    half = x.shape[1] // 2
    return x[:, :half] * 1.0, x[:, half : 2 * half] * -1.0


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"low": "M N//2 : dtype", "high": "M N//2 : dtype"},
    tunables={"block_M": (8, 32), "block_N": (16, 24), "threads": (64, 128)},
    reference=_halves,
)
def fuzz_halves(M: int, N: int, dtype: str, block_M: int = 8, block_N: int = 24, threads: int = 64) -> Any:
    """The left half of x, and the right one with its sign changed; an odd last column is left out."""
    half = N // 2

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), low: T.Tensor((M, half), dtype), high: T.Tensor((M, half), dtype)) -> None:
        with T.Kernel(T.ceildiv(half, block_N), T.ceildiv(M, block_M), threads=threads) as (bn, bm):
            for i, j in T.Parallel(block_M, block_N):
                low[bm * block_M + i, bn * block_N + j] = x[bm * block_M + i, bn * block_N + j]
            for i, j in T.Parallel(block_M, block_N):
                high[bm * block_M + i, bn * block_N + j] = -x[bm * block_M + i, half + bn * block_N + j]

    return main


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N-2 : dtype"},
    tunables={"block_M": (8, 16), "block_N": (14, 32, 64), "threads": (64, 128)},
    reference=lambda x: x[:, :-2] + x[:, 1:-1] - x[:, 2:],
)
def fuzz_stencil(M: int, N: int, dtype: str, block_M: int = 8, block_N: int = 14, threads: int = 64) -> Any:
    """y[:, j] = x[:, j] + x[:, j + 1] - x[:, j + 2]: what a block reads overlaps what the next one does."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N - 2), dtype)) -> None:
        with T.Kernel(T.ceildiv(N - 2, block_N), T.ceildiv(M, block_M), threads=threads) as (bn, bm):
            for i, j in T.Parallel(block_M, block_N):
                y[bm * block_M + i, bn * block_N + j] = (
                    x[bm * block_M + i, bn * block_N + j].astype("float32")
                    + x[bm * block_M + i, bn * block_N + j + 1].astype("float32")
                    - x[bm * block_M + i, bn * block_N + j + 2].astype("float32")
                ).astype(dtype)

    return main


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": (4, 16), "block_N": (16, 40), "threads": (32, 128)},
    reference=lambda x: x * 2.0,
)
def fuzz_double(M: int, N: int, dtype: str, block_M: int = 4, block_N: int = 40, threads: int = 32) -> Any:
    """y = 2 x; a block goes through its rows' tiles, counted from 3."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            tile = T.alloc_shared((block_M, block_N), dtype)
            for n in T.serial(3, T.ceildiv(N, block_N) + 3):
                T.copy(x[bm * block_M, (n - 3) * block_N], tile)
                for i, j in T.Parallel(block_M, block_N):
                    y[bm * block_M + i, (n - 3) * block_N + j] = tile[i, j] + tile[i, j]

    return main


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "N M : dtype"},
    tunables={"block": (7, 16, 32), "threads": (32, 64)},
    reference=lambda x: x.T.contiguous(),
)
def fuzz_flip(M: int, N: int, dtype: str, block: int = 7, threads: int = 32) -> Any:
    """y = xᵀ, one linear index over the blocks, taken apart by division and remainder."""
    columns = -(-N // block)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((N, M), dtype)) -> None:
        with T.Kernel(columns * T.ceildiv(M, block), threads=threads) as b:
            for j, i in T.Parallel(block, block):
                y[b % columns * block + j, b // columns * block + i] = x[b // columns * block + i, b % columns * block + j]

    return main
