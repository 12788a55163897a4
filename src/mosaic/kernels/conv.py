"""Along a sequence: convolution and pooling of tensors laid out as [batch, length, channels]."""

from typing import Any

import tilelang.language as T
import torch
from torch.nn import functional

from mosaic.errors import KernelError
from mosaic.graph.kernel import kernel
from mosaic.kernels.gemm import tiles_fit


def _conv1d(x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    return functional.conv1d(x.transpose(1, 2), weight.permute(2, 1, 0), stride=stride, padding=padding).transpose(1, 2)


@kernel(
    inputs={"x": "B L C : dtype", "weight": "W C O : dtype"},
    outputs={"y": "B (L+2*padding-W)//stride+1 O : dtype"},
    attributes={"stride": 1, "padding": 0},
    tunables={
        "block_M": (16, 32, 64, 128),
        "block_N": (32, 64, 128),
        "block_K": (16, 32, 64),
        "threads": (128, 256),
        "num_stages": (1, 2),
    },
    reference=_conv1d,
    valid=tiles_fit,
)
def conv1d(
    B: int,
    L: int,
    C: int,
    W: int,
    O: int,  # noqa: E741 - the usual name of the output channels
    dtype: str,
    stride: int,
    padding: int,
    block_M: int = 64,
    block_N: int = 64,
    block_K: int = 32,
    threads: int = 128,
    num_stages: int = 2,
) -> Any:
    """y[b, t, o] = Σ x[b, t·stride + w - padding, c] · weight[w, c, o]: a product accumulated over taps w and channels c."""
    length = (L + 2 * padding - W) // stride + 1
    steps = -(-C // block_K)

    @T.prim_func
    def main(x: T.Tensor((B, L, C), dtype), weight: T.Tensor((W, C, O), dtype), y: T.Tensor((B, length, O), dtype)) -> None:
        with T.Kernel(T.ceildiv(O, block_N), T.ceildiv(length, block_M), B, threads=threads) as (bo, bt, b):
            x_tile = T.alloc_shared((block_M, block_K), dtype)
            w_tile = T.alloc_shared((block_K, block_N), dtype)
            acc = T.alloc_fragment((block_M, block_N), "float32")
            T.clear(acc)
            for k in T.Pipelined(W * steps, num_stages=num_stages):
                for i, j in T.Parallel(block_M, block_K):
                    x_tile[i, j] = T.if_then_else(
                        (bt * block_M + i) * stride + k // steps >= padding,
                        x[b, (bt * block_M + i) * stride + k // steps - padding, k % steps * block_K + j],
                        T.cast(0.0, dtype),
                    )
                T.copy(weight[k // steps, k % steps * block_K, bo * block_N], w_tile)
                T.gemm(x_tile, w_tile, acc)
            T.copy(acc, y[b, bt * block_M, bo * block_N])

    return main


def _max_pool1d(x: torch.Tensor, window: int, stride: int) -> torch.Tensor:
    return x.unfold(1, window, stride).amax(-1)


@kernel(
    inputs={"x": "B L C : dtype"},
    outputs={"y": "B (L-window)//stride+1 C : dtype"},
    attributes={"window": 2, "stride": 2},
    tunables={"block_L": (4, 8, 16, 32, 64), "block_C": (32, 64, 128, 256), "threads": (128, 256)},
    reference=_max_pool1d,
)
def max_pool1d(
    B: int, L: int, C: int, dtype: str, window: int, stride: int, block_L: int = 16, block_C: int = 64, threads: int = 128
) -> Any:
    """y[b, t] = largest of x[b, t·stride] ... x[b, t·stride + window - 1] in each channel, leaving out any NaN."""
    length = (L - window) // stride + 1
    _check_pool("max_pool1d", window, stride)

    @T.prim_func
    def main(x: T.Tensor((B, L, C), dtype), y: T.Tensor((B, length, C), dtype)) -> None:
        with T.Kernel(T.ceildiv(C, block_C), T.ceildiv(length, block_L), B, threads=threads) as (bc, bt, b):
            best = T.alloc_fragment((block_L, block_C), dtype)
            T.fill(best, -T.infinity(dtype))
            for w in T.serial(window):
                for i, j in T.Parallel(block_L, block_C):
                    best[i, j] = T.max(best[i, j], x[b, (bt * block_L + i) * stride + w, bc * block_C + j])
            for i, j in T.Parallel(block_L, block_C):
                y[b, bt * block_L + i, bc * block_C + j] = best[i, j]

    return main


def _avg_pool1d(x: torch.Tensor, window: int, stride: int) -> torch.Tensor:
    return x.unfold(1, window, stride).mean(-1)


@kernel(
    inputs={"x": "B L C : dtype"},
    outputs={"y": "B (L-window)//stride+1 C : dtype"},
    attributes={"window": 2, "stride": 2},
    tunables={"block_L": (8, 16, 32), "block_C": (32, 64, 128), "threads": (128, 256)},
    reference=_avg_pool1d,
)
def avg_pool1d(
    B: int, L: int, C: int, dtype: str, window: int, stride: int, block_L: int = 8, block_C: int = 128, threads: int = 256
) -> Any:
    """y[b, t] = mean of x[b, t·stride] ... x[b, t·stride + window - 1], in each channel, added up in float32."""
    length = (L - window) // stride + 1
    _check_pool("avg_pool1d", window, stride)

    @T.prim_func
    def main(x: T.Tensor((B, L, C), dtype), y: T.Tensor((B, length, C), dtype)) -> None:
        with T.Kernel(B, T.ceildiv(length, block_L), T.ceildiv(C, block_C), threads=threads) as (b, bt, bc):
            total = T.alloc_fragment((block_L, block_C), "float32")
            T.clear(total)
            for w in T.serial(window):
                for i, j in T.Parallel(block_L, block_C):
                    total[i, j] += x[b, (bt * block_L + i) * stride + w, bc * block_C + j].astype("float32")
            for i, j in T.Parallel(block_L, block_C):
                total[i, j] = total[i, j] / window
            T.copy(total, y[b, bt * block_L, bc * block_C])

    return main


def _check_pool(name: str, window: int, stride: int) -> None:
    if window < 1 or stride < 1:
        raise KernelError(f"kernel {name!r}: a window of {window} every {stride} elements makes no sense; both must be at least 1")
