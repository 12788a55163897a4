"""Pairs of tile computations whose fragments' layouts disagree, which TileLang 0.1.15 refuses, with the targets where it does.

Each is a kernel, and, where that can be, also two kernels written apart, which Mosaic stitches with the tile between them in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import tilelang
import tilelang.language as T
import torch

from mosaic.stitch.attach import attachments
from mosaic.stitch.inline import inline
from mosaic.stitch.legality import Refusal
from mosaic.tiles.read import read
from mosaic.tiles.rewrite import bind
from tests.layouts.chain import Chain, Step, build

NVIDIA: Final = ("sm_80", "sm_90a")
AMD: Final = ("gfx942", "gfx950")

Tensors = Mapping[str, tuple[tuple[int, ...], str]]


@dataclass(frozen=True)
class Pair:
    """A kernel, its parameters in order (the last one is written), what it must compute, and the targets that refuse it as it is."""

    name: str
    make: Callable[[], Any]
    tensors: Tensors
    steps: tuple[Step, ...]
    refused: tuple[str, ...]


def of_chain(name: str, chain: Chain, refused: tuple[str, ...]) -> Pair:
    return Pair(name, lambda: build(chain), chain.tensors(), chain.steps(), refused)


def _chain(**changed: Any) -> Chain:
    return replace(Chain("a", 128, 128, 64, 64, 256), **changed)


def stitched(name: str, chain: Chain, refused: tuple[str, ...]) -> Pair:
    """As `of_chain`, of two kernels: a product that writes its tile, and a product that loads it into a fragment."""
    tensors = chain.tensors()

    def make() -> Any:
        producer = read(bind(_producer(chain), {"c": "h"}, name="producer"))
        consumer = read(bind(build(replace(chain, k=0)), {"x": "h"}, name="consumer"))
        found = attachments(producer, consumer, ["h"])
        if isinstance(found, Refusal):
            raise AssertionError(str(found))
        return inline(producer, consumer, next(each for each in found if each.handovers[0].registers), {"h": "register"})

    return Pair(f"{name}, stitched", make, {key: tensors[key] for key in ("x", "w", "d", "o")}, chain.steps(), refused)


def _producer(chain: Chain) -> Any:
    m, n, k, dtype, mid, total = chain.m, chain.n, chain.k, chain.dtype, chain.mid, chain.total
    policy = T.GemmWarpPolicy[chain.first]

    @T.prim_func
    def main(x: T.Tensor((m, k), dtype), w: T.Tensor((k, n), dtype), c: T.Tensor((m, n), mid)) -> None:
        with T.Kernel(1, threads=chain.threads) as _:
            x_tile = T.alloc_shared((m, k), dtype)
            w_tile = T.alloc_shared((k, n), dtype)
            total_tile = T.alloc_fragment((m, n), total)
            tile = T.alloc_fragment((m, n), mid)
            T.copy(x, x_tile)
            T.copy(w, w_tile)
            T.clear(total_tile)
            T.gemm(x_tile, w_tile, total_tile, policy=policy)
            T.copy(total_tile, tile)
            T.copy(tile, c)

    return main


def _annotated(m: int = 64, n: int = 64, threads: int = 128) -> Any:
    each = m * n // threads
    strided = tilelang.layout.Fragment([m, n], forward_fn=lambda i, j: ((i * n + j) % threads, (i * n + j) // threads))
    blocked = tilelang.layout.Fragment([m, n], forward_fn=lambda i, j: ((i * n + j) // each, (i * n + j) % each))

    @T.prim_func
    def main(x: T.Tensor((m, n), "float32"), o: T.Tensor((m, n), "float32")) -> None:
        with T.Kernel(1, threads=threads) as _:
            a = T.alloc_fragment((m, n), "float32")
            b = T.alloc_fragment((m, n), "float32")
            T.annotate_layout({a: strided, b: blocked})
            T.copy(x, a)
            T.copy(a, b)
            T.copy(b, o)

    return main


def _two_reductions(m: int = 64, threads: int = 128) -> Any:
    @T.prim_func
    def main(x: T.Tensor((m, m), "float32"), o: T.Tensor((m,), "float32")) -> None:
        with T.Kernel(1, threads=threads) as _:
            a = T.alloc_fragment((m, m), "float32")
            s = T.alloc_fragment((m,), "float32")
            T.copy(x, a)
            T.reduce_sum(a, s, dim=1)
            T.reduce_sum(a, s, dim=0, clear=False)
            T.copy(s, o)

    return main


def _uneven(n: int = 192, threads: int = 128) -> Any:
    @T.prim_func
    def main(x: T.Tensor((n,), "float32"), o: T.Tensor((n,), "float32")) -> None:
        with T.Kernel(1, threads=threads) as _:
            a = T.alloc_fragment((n,), "float32")
            T.copy(x, a)
            for i in T.Parallel(n):
                a[i] = a[i] * 2.0
            T.copy(a, o)

    return main


def _alone(
    name: str, make: Callable[[], Any], given: tuple[int, ...], result: tuple[int, ...], compute: Callable[[torch.Tensor], torch.Tensor]
) -> Pair:
    """A kernel of one float32 tensor, which every target refuses."""
    tensors = {"x": (given, "float32"), "o": (result, "float32")}
    return Pair(name, make, tensors, (Step("o", result, "float32", ("x",), compute),), NVIDIA + AMD)


_M64, _SQUARE, _COLUMNS = _chain(m=64), _chain(first="Square", second="Square"), _chain(first="FullCol")
_FP8, _FP32 = _chain(mid="float8_e4m3fn"), _chain(mid="float32", n=64)

PAIRS: Final = (
    of_chain("FullRow to FullRow, 64 rows", _M64, NVIDIA),
    of_chain("Square to Square", _SQUARE, NVIDIA + AMD),
    of_chain("FullCol to FullRow", _COLUMNS, NVIDIA + AMD),
    of_chain("float8 between", _FP8, ("sm_90a", "gfx950")),
    of_chain("float8 throughout", _chain(dtype="float8_e4m3fn", mid="float8_e4m3fn"), ("sm_90a", "gfx950")),
    of_chain("float32 between", _FP32, NVIDIA + AMD),
    of_chain("int8 throughout", _chain(dtype="int8", mid="int8"), NVIDIA + AMD),
    of_chain("k_pack of 2", _chain(k_pack=2), AMD),
    stitched("FullRow to FullRow, 64 rows", _M64, NVIDIA),
    stitched("Square to Square", _SQUARE, NVIDIA + AMD),
    stitched("FullCol to FullRow", _COLUMNS, NVIDIA + AMD),
    stitched("float8 between", _FP8, ("sm_90a", "gfx950")),
    stitched("float32 between", _FP32, NVIDIA + AMD),
    of_chain("two policies, one accumulator", _chain(consumer="accumulate", first="FullRow", second="FullCol"), NVIDIA + AMD),
    _alone("copy between annotated fragments", _annotated, (64, 64), (64, 64), torch.clone),
    _alone("reductions over columns, then rows, into one fragment", _two_reductions, (64, 64), (64,), lambda x: x.sum(1) + x.sum(0)),
    _alone("192 elements on 128 threads", _uneven, (192,), (192,), lambda x: x * 2),
)
"""Those of the facts that TileLang's users meet. gfx942's 8-bit float has another format, in which Mosaic makes no tensors."""
