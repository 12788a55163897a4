"""Kernels in which a tile goes from a producer to a consumer in registers, of every kind, with what each must compute.

producer    a product A·B (accumulated in float32, int32 for int8), or a load
handover    cast to `mid`, by a copy or an elementwise loop
consumer    the tile as operand A or B of a product, transposed or not, beside another product's accumulator, reduced over rows or
            columns or both, normalised and then multiplied, or the same accumulator under another policy
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import tilelang.language as T
import torch

CONSUMERS: Final = ("a", "at", "b", "bt", "add", "rows", "columns", "both", "norm", "accumulate")
POLICIES: Final = ("Square", "FullRow", "FullCol")


@dataclass(frozen=True)
class Step:
    """One tile: its name, shape and dtype, and how it comes from those before it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    inputs: tuple[str, ...]
    compute: Callable[..., torch.Tensor]


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_floating_point() else tensor.to(torch.int32)


def _multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _wide(a) @ _wide(b)


@dataclass(frozen=True)
class Chain:
    """One such kernel: one block, whose tile handed over is [m, n].

    k: of the producer's product (0: it is a load). q: the other extent of the consumer's product. first, second: warp policies.
    dtype: the producer's operands'; mid: what is handed over. k_pack: AMD's, of both products.
    """

    consumer: str
    m: int
    n: int
    k: int
    q: int
    threads: int
    first: str = "FullRow"
    second: str = "FullRow"
    dtype: str = "float16"
    mid: str = "float16"
    k_pack: int = 1
    loop: bool = False

    @property
    def name(self) -> str:
        load = f"{self.dtype}-{self.first}-k{self.k}" if self.k else "load"
        more = (f"-pack{self.k_pack}" if self.k_pack > 1 else "") + ("-loop" if self.loop else "")
        return f"{load}-{self.m}x{self.n}-{self.mid}-{self.consumer}-{self.second}-q{self.q}-t{self.threads}{more}"

    @property
    def total(self) -> str:
        """The dtype of accumulators."""
        return "int32" if self.dtype == "int8" else "float32"

    def tensors(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of each parameter, in order; the last one is written."""
        m, n, k, q = self.m, self.n, self.k, self.q
        found: dict[str, tuple[tuple[int, ...], str]] = {}
        if k:
            found |= {"x": ((m, k), self.dtype), "w": ((k, n), self.dtype)}
        else:
            found |= {"x": ((m, n), self.mid)}
            found |= {"w": ((16, n), self.dtype)} if self.consumer in ("rows", "columns", "both") else {}
        other = {"a": (n, q), "norm": (n, q), "at": (m, q), "b": (q, m), "bt": (q, n), "add": (m, k or 64)}.get(self.consumer)
        if other:
            found["d"] = (other, self.mid)
        if self.consumer == "add":
            found["e"] = ((k or 64, n), self.mid)
        result = {"a": (m, q), "norm": (m, q), "at": (n, q), "b": (q, n), "bt": (q, m)}.get(self.consumer, (m, n))
        return found | {"o": (result, "int32" if self.mid == "int8" else "float32")}

    def steps(self) -> tuple[Step, ...]:
        """What it computes, tile by tile: each step's result is rounded to its dtype."""
        whole = (self.m, self.n)
        result, after = self.tensors()["o"]
        found: list[Step] = []
        if self.consumer == "accumulate":
            return (Step("o", result, after, ("x", "w"), lambda x, w: 2 * _multiply(x, w)),)
        held = "x"
        if self.k:
            held = "h"
            # int8 keeps the low bits, as a cast in C does.
            narrow = (lambda x, w: _multiply(x, w).to(torch.int8)) if self.mid == "int8" else _multiply
            found.append(Step("h", whole, self.mid, ("x", "w"), narrow))
        if self.consumer == "norm":
            found.append(Step("scaled", whole, self.mid, (held,), lambda h: h * torch.rsqrt((h * h).sum(1, keepdim=True) + 1.0)))
            held = "scaled"
        last: dict[str, tuple[tuple[str, ...], Callable[..., torch.Tensor]]] = {
            "a": ((held, "d"), _multiply),
            "norm": ((held, "d"), _multiply),
            "at": ((held, "d"), lambda h, d: _multiply(h.T, d)),
            "b": ((held, "d"), lambda h, d: _multiply(d, h)),
            "bt": ((held, "d"), lambda h, d: _multiply(d, h.T)),
            "add": ((held, "d", "e"), lambda h, d, e: _multiply(d, e) + _wide(h)),
            "rows": ((held,), lambda h: h + h.sum(1, keepdim=True)),
            "columns": ((held,), lambda h: h + h.sum(0, keepdim=True)),
            # One after the other, in place: the rows' sums are in neither of the reductions.
            "both": ((held,), lambda h: h + h.sum(1, keepdim=True) + h.sum(0, keepdim=True)),
        }
        return (*found, Step("o", result, after, *last[self.consumer]))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def products(chain: Chain) -> list[Any]:
    """The chain's products, each as a kernel of its own, from shared memory to shared memory."""
    found = []
    tensors = chain.tensors()
    if chain.k:
        found.append(_alone(chain.m, chain.n, chain.k, chain.dtype, chain.total, chain.threads, chain.first))
    if chain.consumer in ("a", "at", "b", "bt", "add", "norm"):
        rows, columns = tensors["o"][0]
        inner = {"a": chain.n, "norm": chain.n, "bt": chain.n, "add": chain.k or 64}.get(chain.consumer, chain.m)
        total = "int32" if chain.mid == "int8" else "float32"
        found.append(_alone(rows, columns, inner, chain.mid, total, chain.threads, chain.second))
    if chain.consumer == "accumulate":
        found.append(_alone(chain.m, chain.n, chain.k, chain.dtype, chain.total, chain.threads, chain.second))
    return found


def _alone(m: int, n: int, k: int, dtype: str, total: str, threads: int, policy: str) -> Any:
    @T.prim_func
    def product(x: T.Tensor((m, k), dtype), w: T.Tensor((k, n), dtype), o: T.Tensor((m, n), total)) -> None:
        with T.Kernel(1, threads=threads) as _:
            x_tile = T.alloc_shared((m, k), dtype)
            w_tile = T.alloc_shared((k, n), dtype)
            c = T.alloc_fragment((m, n), total)
            T.copy(x, x_tile)
            T.copy(w, w_tile)
            T.clear(c)
            T.gemm(x_tile, w_tile, c, policy=T.GemmWarpPolicy[policy])
            T.copy(c, o)

    return product


def _gemm(k_pack: int) -> Callable[..., Any]:
    if k_pack == 1:
        return T.gemm  # type: ignore[no-any-return]
    from tilelang.rocm.language import gemm

    return lambda *operands, **named: gemm(*operands, k_pack=k_pack, **named)


def build(chain: Chain) -> Any:
    """The PrimFunc."""
    return {
        "a": _product,
        "at": _product,
        "b": _product,
        "bt": _product,
        "norm": _norm,
        "add": _add,
        "rows": _reduced,
        "columns": _reduced,
        "both": _reduced,
        "accumulate": _accumulate,
    }[chain.consumer](chain)


def _product(chain: Chain) -> Any:
    m, n, k = chain.m, chain.n, chain.k
    dtype, mid, total = chain.dtype, chain.mid, chain.total
    tensors = chain.tensors()
    other, result = tensors["d"][0], tensors["o"][0]
    after = tensors["o"][1]
    gemm, consumer = _gemm(chain.k_pack), chain.consumer
    first, second = T.GemmWarpPolicy[chain.first], T.GemmWarpPolicy[chain.second]
    if not k:

        @T.prim_func
        def loaded(x: T.Tensor((m, n), mid), d: T.Tensor(other, mid), o: T.Tensor(result, after)) -> None:
            with T.Kernel(1, threads=chain.threads) as _:
                d_tile = T.alloc_shared(other, mid)
                h = T.alloc_fragment((m, n), mid)
                o_sum = T.alloc_fragment(result, after)
                T.copy(x, h)
                T.copy(d, d_tile)
                T.clear(o_sum)
                if consumer in ("a", "at"):
                    gemm(h, d_tile, o_sum, transpose_A=consumer == "at", policy=second)
                else:
                    gemm(d_tile, h, o_sum, transpose_B=consumer == "bt", policy=second)
                T.copy(o_sum, o)

        return loaded

    @T.prim_func
    def main(x: T.Tensor((m, k), dtype), w: T.Tensor((k, n), dtype), d: T.Tensor(other, mid), o: T.Tensor(result, after)) -> None:
        with T.Kernel(1, threads=chain.threads) as _:
            x_tile = T.alloc_shared((m, k), dtype)
            w_tile = T.alloc_shared((k, n), dtype)
            d_tile = T.alloc_shared(other, mid)
            c = T.alloc_fragment((m, n), total)
            h = T.alloc_fragment((m, n), mid)
            o_sum = T.alloc_fragment(result, after)
            T.copy(x, x_tile)
            T.copy(w, w_tile)
            T.copy(d, d_tile)
            T.clear(c)
            gemm(x_tile, w_tile, c, policy=first)
            if chain.loop:
                for i, j in T.Parallel(m, n):
                    h[i, j] = T.cast(c[i, j], mid)
            else:
                T.copy(c, h)
            T.clear(o_sum)
            if consumer in ("a", "at"):
                gemm(h, d_tile, o_sum, transpose_A=consumer == "at", policy=second)
            else:
                gemm(d_tile, h, o_sum, transpose_B=consumer == "bt", policy=second)
            T.copy(o_sum, o)

    return main


def _norm(chain: Chain) -> Any:
    m, n, k, q = chain.m, chain.n, chain.k, chain.q
    dtype, mid = chain.dtype, chain.mid
    gemm = _gemm(chain.k_pack)
    first, second = T.GemmWarpPolicy[chain.first], T.GemmWarpPolicy[chain.second]

    @T.prim_func
    def main(x: T.Tensor((m, k), dtype), w: T.Tensor((k, n), dtype), d: T.Tensor((n, q), mid), o: T.Tensor((m, q), "float32")) -> None:
        with T.Kernel(1, threads=chain.threads) as _:
            x_tile = T.alloc_shared((m, k), dtype)
            w_tile = T.alloc_shared((k, n), dtype)
            d_tile = T.alloc_shared((n, q), mid)
            c = T.alloc_fragment((m, n), "float32")
            r = T.alloc_fragment((m, n), mid)
            squares = T.alloc_fragment((m, n), "float32")
            scale = T.alloc_fragment((m,), "float32")
            h = T.alloc_fragment((m, n), mid)
            o_sum = T.alloc_fragment((m, q), "float32")
            T.copy(x, x_tile)
            T.copy(w, w_tile)
            T.copy(d, d_tile)
            T.clear(c)
            gemm(x_tile, w_tile, c, policy=first)
            T.copy(c, r)
            for i, j in T.Parallel(m, n):
                squares[i, j] = T.cast(r[i, j], "float32") * T.cast(r[i, j], "float32")
            T.reduce_sum(squares, scale, dim=1)
            for i in T.Parallel(m):
                scale[i] = T.rsqrt(scale[i] + 1.0)
            for i, j in T.Parallel(m, n):
                h[i, j] = T.cast(T.cast(r[i, j], "float32") * scale[i], mid)
            T.clear(o_sum)
            gemm(h, d_tile, o_sum, policy=second)
            T.copy(o_sum, o)

    return main


def _add(chain: Chain) -> Any:
    m, n, k = chain.m, chain.n, chain.k
    dtype, mid, total = chain.dtype, chain.mid, chain.total
    after = chain.tensors()["o"][1]
    gemm = _gemm(chain.k_pack)
    first, second = T.GemmWarpPolicy[chain.first], T.GemmWarpPolicy[chain.second]

    @T.prim_func
    def main(
        x: T.Tensor((m, k), dtype),
        w: T.Tensor((k, n), dtype),
        d: T.Tensor((m, k), mid),
        e: T.Tensor((k, n), mid),
        o: T.Tensor((m, n), after),
    ) -> None:
        with T.Kernel(1, threads=chain.threads) as _:
            x_tile = T.alloc_shared((m, k), dtype)
            w_tile = T.alloc_shared((k, n), dtype)
            d_tile = T.alloc_shared((m, k), mid)
            e_tile = T.alloc_shared((k, n), mid)
            c = T.alloc_fragment((m, n), total)
            h = T.alloc_fragment((m, n), mid)
            o_sum = T.alloc_fragment((m, n), after)
            T.copy(x, x_tile)
            T.copy(w, w_tile)
            T.copy(d, d_tile)
            T.copy(e, e_tile)
            T.clear(c)
            gemm(x_tile, w_tile, c, policy=first)
            T.copy(c, h)
            T.clear(o_sum)
            gemm(d_tile, e_tile, o_sum, policy=second)
            for i, j in T.Parallel(m, n):
                o_sum[i, j] += T.cast(h[i, j], after)
            T.copy(o_sum, o)

    return main


def _reduced(chain: Chain) -> Any:
    m, n, k = chain.m, chain.n, chain.k
    dtype, mid, total = chain.dtype, chain.mid, chain.total
    gemm, consumer = _gemm(chain.k_pack), chain.consumer
    first = T.GemmWarpPolicy[chain.first]
    given, given_dtype = ((m, k), dtype) if k else ((m, n), mid)
    weights = (k or 16, n)  # a load has them too, unused

    @T.prim_func
    def main(x: T.Tensor(given, given_dtype), w: T.Tensor(weights, dtype), o: T.Tensor((m, n), "float32")) -> None:
        with T.Kernel(1, threads=chain.threads) as _:
            x_tile = T.alloc_shared(given, given_dtype)
            w_tile = T.alloc_shared(weights, dtype)
            c = T.alloc_fragment((m, n), total)
            h = T.alloc_fragment((m, n), mid)
            wide = T.alloc_fragment((m, n), "float32")
            by_row = T.alloc_fragment((m,), "float32")
            by_column = T.alloc_fragment((n,), "float32")
            if k:
                T.copy(x, x_tile)
                T.copy(w, w_tile)
                T.clear(c)
                gemm(x_tile, w_tile, c, policy=first)
                T.copy(c, h)
            else:
                T.copy(x, h)
            T.copy(h, wide)
            if consumer in ("rows", "both"):
                T.reduce_sum(wide, by_row, dim=1)
            if consumer in ("columns", "both"):
                T.reduce_sum(wide, by_column, dim=0)
            if consumer in ("rows", "both"):
                for i, j in T.Parallel(m, n):
                    wide[i, j] += by_row[i]
            if consumer in ("columns", "both"):
                for i, j in T.Parallel(m, n):
                    wide[i, j] += by_column[j]
            T.copy(wide, o)

    return main


def _accumulate(chain: Chain) -> Any:
    m, n, k = chain.m, chain.n, chain.k
    dtype, total = chain.dtype, chain.total
    gemm = _gemm(chain.k_pack)
    first, second = T.GemmWarpPolicy[chain.first], T.GemmWarpPolicy[chain.second]

    @T.prim_func
    def main(x: T.Tensor((m, k), dtype), w: T.Tensor((k, n), dtype), o: T.Tensor((m, n), total)) -> None:
        with T.Kernel(1, threads=chain.threads) as _:
            x_tile = T.alloc_shared((m, k), dtype)
            w_tile = T.alloc_shared((k, n), dtype)
            x_again = T.alloc_shared((m, k), dtype)
            w_again = T.alloc_shared((k, n), dtype)
            c = T.alloc_fragment((m, n), total)
            T.copy(x, x_tile)
            T.copy(w, w_tile)
            T.copy(x, x_again)
            T.copy(w, w_again)
            T.clear(c)
            gemm(x_tile, w_tile, c, policy=first)
            gemm(x_again, w_again, c, policy=second)
            T.copy(c, o)

    return main
