"""What the tests of the CPU target share: running a tile program, and one that computes many functions of vectors."""

from collections.abc import Callable, Sequence
from typing import Any

import tilelang.language as T
import torch

from mosaic.targets.cpu import compile_cpu


def run(func: Any, *arguments: torch.Tensor | float, poison: bool = True) -> None:
    """Compile and call once, with on-chip memory poisoned and its bounds checked."""
    compile_cpu(func, poison=poison)(*arguments)


def elementwise(count: int, dtypes: tuple[str, str, str], output: str, body: Callable[..., Sequence[Any]]) -> Any:
    """A program over three vectors of `count` elements: row n of its output is the n-th value of `body(a, b, c)`."""
    rows = len(body(*(T.Cast(dtype, T.int32(1)) for dtype in dtypes)))

    @T.prim_func
    def main(
        a: T.Tensor((count,), dtypes[0]),
        b: T.Tensor((count,), dtypes[1]),
        c: T.Tensor((count,), dtypes[2]),
        y: T.Tensor((rows, count), output),
    ) -> None:
        with T.Kernel(1, threads=32) as _:
            for i in T.Parallel(count):
                for row, value in enumerate(body(a[i], b[i], c[i])):
                    y[row, i] = value

    return main


def evaluate(body: Callable[..., Sequence[Any]], output: str, *vectors: torch.Tensor) -> torch.Tensor:
    """The rows of `elementwise` for up to three vectors of one length (the last one stands in for those left out)."""
    from mosaic.dtypes import dtype

    three = (*vectors, *vectors[-1:] * 2)[:3]
    copies = [vector.clone() for vector in three]
    names = [dtype(vector.dtype).name for vector in copies]
    func = elementwise(len(copies[0]), (names[0], names[1], names[2]), output, body)
    rows = int(func.buffer_map[func.params[3]].shape[0])
    result = torch.zeros((rows, len(copies[0])), dtype=dtype(output).torch)
    run(func, *copies, result)
    return result


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bits of each element, as integers of the same width; NaNs of any kind become one."""
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    canonical = torch.where(tensor.float().isnan(), torch.full_like(tensor.float(), float("nan")), tensor.float()).to(tensor.dtype)
    return torch.where(tensor.float().isnan(), canonical.view(width), tensor.view(width))
