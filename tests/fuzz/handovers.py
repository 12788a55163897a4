"""Random producers and consumers that hand a tile over in registers, from a seed: the corpus of layout conversions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from mosaic.dtypes import DTYPES
from tests.layouts.chain import CONSUMERS, POLICIES, Chain

CORPUS: Final = 2_400
"""Distinct kernels; each is lowered for every target that has its number formats."""

TARGETS: Final = ("sm_80", "sm_90a", "gfx942", "gfx950")

_ROWS: Final = (32, 48, 64, 80, 96, 112, 128, 160, 192)
_COLUMNS: Final = (16, 32, 48, 64, 80, 96, 128, 144, 160, 192, 256)
_INNER: Final = (32, 64, 128)
_OPERANDS: Final = ("float16", "float16", "bfloat16", "bfloat16", "float32", "int8", "float8_e4m3fn")
_THREADS: Final = (64, 128, 128, 256, 256, 512)
_MOST_ELEMENTS: Final = 96  # a thread's, of the tile handed over and the result together: no more fit its registers beside each other
_MOST_SHARED: Final = 56 * 1024


def handovers(seed: int = 0, count: int = CORPUS) -> Iterator[Chain]:
    """So many distinct kernels, the same for a seed."""
    draw = random.Random(seed)
    seen: set[Chain] = set()
    while len(seen) < count:
        chain = _one(draw)
        if chain is not None and chain not in seen:
            seen.add(chain)
            yield chain


def takes(chain: Chain, target: str) -> bool:
    """Whether a target has the number formats and the products: sm_80 and gfx942 have no matrix products of float8_e4m3fn, and wgmma, of
    which TileLang makes products on sm_90a where it can, has its four warps below each other, 16 rows each, also under FullCol."""
    if target == "sm_90a" and any(policy == "FullCol" and rows % 64 for rows, policy in _by_wgmma(chain)):
        return False
    return "float8_e4m3fn" not in (chain.dtype, chain.mid) or target not in ("sm_80", "gfx942")


def _by_wgmma(chain: Chain) -> list[tuple[int, str]]:
    """Rows and policy of the products that sm_90a makes of wgmma: 16 bits, B in shared memory, 64 rows or more, whole warpgroups."""
    found = [(chain.m, chain.first, chain.dtype)] if chain.k else []
    if chain.consumer in ("a", "at", "norm", "add"):
        found.append((chain.tensors()["o"][0][0], chain.second, chain.mid))
    if chain.consumer == "accumulate":
        found.append((chain.m, chain.second, chain.dtype))
    halves = [(rows, policy) for rows, policy, dtype in found if dtype in ("float16", "bfloat16")]
    return [(rows, policy) for rows, policy in halves if rows >= 64 and chain.threads % 128 == 0]


def _one(draw: random.Random) -> Chain | None:
    consumer = draw.choice(CONSUMERS)
    dtype = draw.choice(_OPERANDS)
    mid = draw.choice((dtype, dtype, "float16", "bfloat16", "float8_e4m3fn", "float32"))
    if dtype == "int8":
        mid = "int8"
    if consumer in ("rows", "columns", "both", "norm") and "int8" in (dtype, mid):
        return None
    if consumer == "accumulate":
        mid = dtype
    is_load = consumer in ("a", "at", "b", "bt", "rows", "columns", "both") and draw.random() < 0.15
    chain = Chain(
        consumer=consumer,
        m=draw.choice(_ROWS),
        n=draw.choice(_COLUMNS),
        k=0 if is_load else draw.choice(_INNER),
        q=draw.choice((32, 64, 96, 128)),
        threads=draw.choice(_THREADS),
        first=draw.choice(POLICIES),
        second=draw.choice(POLICIES),
        dtype=dtype,
        mid=mid,
        loop=consumer in ("a", "at", "b", "bt") and draw.random() < 0.3,
    )
    return chain if _fits(chain) else None


def _fits(chain: Chain) -> bool:
    tensors = chain.tensors()
    rows, columns = tensors["o"][0]
    shared = sum(shape[0] * shape[1] * DTYPES[dtype].bytes for name, (shape, dtype) in tensors.items() if name != "o")
    shared *= 2 if chain.consumer == "accumulate" else 1
    if chain.m * chain.n + rows * columns > _MOST_ELEMENTS * chain.threads or shared > _MOST_SHARED:
        return False
    is_product = chain.consumer in ("a", "at", "b", "bt", "norm", "add", "accumulate")
    inner = {"a": chain.n, "norm": chain.n, "bt": chain.n, "at": chain.m, "b": chain.m}.get(chain.consumer, 32)
    first = not chain.k or _shares_out(chain.m, chain.n, chain.threads, chain.first)
    second = not is_product or (_shares_out(rows, columns, chain.threads, chain.second) and inner % (32 // DTYPES[chain.mid].bytes) == 0)
    return first and second


def _shares_out(rows: int, columns: int, threads: int, policy: str) -> bool:
    """Whether the warps of every target share out a product's tile under this policy: 32 or 64 lanes, at least 16 x 16 elements each.

    Where they don't, TileLang refuses the product itself, and there is nothing to hand over.
    """
    # wgmma's operands in shared memory are at least 16 columns wide for each group of 128 threads that shares out columns.
    if policy != "FullRow" and columns % (16 * max(1, threads // 128)):
        return False
    return all(_by(rows, columns, threads // lanes, policy) for lanes in (32, 64))


def _by(rows: int, columns: int, warps: int, policy: str) -> bool:
    across, along = (columns, rows) if policy == "FullCol" else (rows, columns)
    if policy == "Square":
        return all(extent & (extent - 1) == 0 for extent in (rows, columns)) and rows * columns >= 256 * warps and rows >= 64
    if across % (16 * warps) == 0:
        return along % 16 == 0
    return across & (across - 1) == 0 and along % (16 * max(1, warps * 16 // across)) == 0
