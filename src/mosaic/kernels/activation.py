"""Activation functions and gates, element by element. Computed in float32, rounded once at the end."""

import math
from typing import Any

import tilelang.language as T
import torch
from torch.nn import functional

from mosaic.graph.kernel import kernel

ROWS = (16, 32, 64, 128)
COLUMNS = (16, 32, 64, 128, 256, 384, 512)
THREADS = (128, 256)


def _gelu_erf(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_gelu_erf,
)
def gelu_erf(M: int, N: int, dtype: str, block_M: int = 32, block_N: int = 128, threads: int = 256) -> Any:
    """y = x Φ(x), with the normal distribution's Φ by the error function. The tile is staged in shared memory."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            tile = T.alloc_shared((block_M, block_N), dtype)
            value = T.alloc_fragment((block_M, block_N), "float32")
            T.copy(x[by * block_M, bx * block_N], tile)
            for i, j in T.Parallel(block_M, block_N):
                value[i, j] = T.cast(tile[i, j], "float32")
            for i, j in T.Parallel(block_M, block_N):
                value[i, j] = 0.5 * value[i, j] * (1.0 + T.erf(value[i, j] * math.sqrt(0.5)))
            T.copy(value, y[by * block_M, bx * block_N])

    return main


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x, approximate="tanh")


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_gelu_tanh,
)
def gelu_tanh(M: int, N: int, dtype: str, block_M: int = 64, block_N: int = 64, threads: int = 128) -> Any:
    """y = x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), GPT-2's approximation of `gelu_erf`."""
    inner = math.sqrt(2.0 / math.pi)

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), T.ceildiv(N, block_N), threads=threads) as (bm, bn):
            v = T.alloc_fragment((block_M, block_N), "float32")
            T.copy(x[bm * block_M, bn * block_N], v)
            for i, j in T.Parallel(block_M, block_N):
                y[bm * block_M + i, bn * block_N + j] = T.cast(
                    0.5 * v[i, j] * (1.0 + T.tanh(inner * (v[i, j] + 0.044715 * v[i, j] * v[i, j] * v[i, j]))), dtype
                )

    return main


def _relu(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_relu,
)
def relu(M: int, N: int, dtype: str, block_M: int = 128, block_N: int = 64, threads: int = 256) -> Any:
    """y = max(x, 0), each element straight from and to device memory, in its own type. A NaN need not be passed on."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            for i, j in T.Parallel(block_M, block_N):
                y[by * block_M + i, bx * block_N + j] = T.max(x[by * block_M + i, bx * block_N + j], T.cast(0.0, dtype))

    return main


def _silu(x: torch.Tensor) -> torch.Tensor:
    return functional.silu(x)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_silu,
)
def silu(M: int, N: int, dtype: str, block_M: int = 32, block_N: int = 64, threads: int = 128) -> Any:
    """y = x / (1 + exp(-x)); the tile passes through registers, in the tensor's type."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            tile = T.alloc_fragment((block_M, block_N), dtype)
            T.copy(x[by * block_M, bx * block_N], tile)
            for i, j in T.Parallel(block_M, block_N):
                tile[i, j] = T.cast(T.cast(tile[i, j], "float32") / (1.0 + T.exp(-T.cast(tile[i, j], "float32"))), dtype)
            T.copy(tile, y[by * block_M, bx * block_N])

    return main


def _sigmoid(x: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(x)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_sigmoid,
)
def sigmoid(M: int, N: int, dtype: str, block_M: int = 32, block_N: int = 128, threads: int = 128) -> Any:
    """y = 1 / (1 + exp(-x)). A block goes through its rows' columns, a tile at a time."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(M, block_M), threads=threads) as bm:
            value = T.alloc_fragment((block_M, block_N), "float32")
            for n in T.serial(T.ceildiv(N, block_N)):
                T.copy(x[bm * block_M, n * block_N], value)
                for i, j in T.Parallel(block_M, block_N):
                    value[i, j] = 1.0 / (1.0 + T.exp(-value[i, j]))
                T.copy(value, y[bm * block_M, n * block_N])

    return main


def _tanh(x: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x)


@kernel(
    inputs={"x": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_tanh,
)
def tanh(M: int, N: int, dtype: str, block_M: int = 64, block_N: int = 128, threads: int = 256) -> Any:
    """y = tanh(x), each element straight from and to device memory."""

    @T.prim_func
    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            for i, j in T.Parallel(block_M, block_N):
                y[by * block_M + i, bx * block_N + j] = T.tanh(x[by * block_M + i, bx * block_N + j].astype("float32")).astype(dtype)

    return main


def _silu_multiply(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return functional.silu(gate) * up


@kernel(
    inputs={"gate": "M N : dtype", "up": "M N : dtype"},
    outputs={"y": "M N : dtype"},
    tunables={"block_M": ROWS, "block_N": COLUMNS, "threads": THREADS},
    reference=_silu_multiply,
)
def silu_multiply(M: int, N: int, dtype: str, block_M: int = 64, block_N: int = 64, threads: int = 256) -> Any:
    """y = silu(gate) · up, the gate of Llama's feed-forward. Both tiles are staged in shared memory."""

    @T.prim_func
    def main(gate: T.Tensor((M, N), dtype), up: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)) -> None:
        with T.Kernel(T.ceildiv(N, block_N), T.ceildiv(M, block_M), threads=threads) as (bx, by):
            gate_tile = T.alloc_shared((block_M, block_N), dtype)
            up_tile = T.alloc_shared((block_M, block_N), dtype)
            out = T.alloc_fragment((block_M, block_N), "float32")
            T.copy(gate[by * block_M, bx * block_N], gate_tile)
            T.copy(up[by * block_M, bx * block_N], up_tile)
            for i, j in T.Parallel(block_M, block_N):
                out[i, j] = T.cast(gate_tile[i, j], "float32")
            for i, j in T.Parallel(block_M, block_N):
                out[i, j] = out[i, j] / (1.0 + T.exp(-out[i, j])) * T.cast(up_tile[i, j], "float32")
            T.copy(out, y[by * block_M, bx * block_N])

    return main
