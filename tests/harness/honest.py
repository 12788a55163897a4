"""Honest computations to hold against bounds, kernels that are only ever computed by their references, and random tensors."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import torch
from torch.nn import functional

from mosaic.dtypes import DTYPES
from mosaic.graph import Graph, kernel
from mosaic.graph.kernel import Spec
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.error_tensor import Analysis, ErrorTensor, Part, build
from mosaic.harness.inputs import sample

FINITE: Final = ("normal", "uniform", "integers", "mixed", "tiny", "equal", "spike")


def numbers(shape: Sequence[int], dtype: str = "float16", distribution: str = "normal", seed: object = 0) -> torch.Tensor:
    """A tensor of a distribution of the harness."""
    return sample(Spec(tuple(shape), dtype), distribution, str(seed))


def store(value: torch.Tensor, dtype: str) -> torch.Tensor:
    return value.to(DTYPES[dtype].torch)


# Products in float32, in different orders


def product_in_order(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """One product after the other, each rounded."""
    total = torch.zeros(a.shape[0], b.shape[1])
    for k in range(a.shape[1]):
        total = total + a[:, k, None].float() * b[None, k].float()
    return total


def product_in_blocks(a: torch.Tensor, b: torch.Tensor, size: int = 16) -> torch.Tensor:
    """Blocks along the reduction, added backwards."""
    blocks = [a[:, k : k + size].float() @ b[k : k + size].float() for k in range(0, a.shape[1], size)]
    total = torch.zeros(a.shape[0], b.shape[1])
    for block in reversed(blocks):
        total = total + block
    return total


def product_truncated(a: torch.Tensor, b: torch.Tensor, size: int = 8) -> torch.Tensor:
    """As tensor cores add: a group of exact products and the running sum at once, cut off at float32's last bit."""
    total = torch.zeros(a.shape[0], b.shape[1], dtype=torch.float64)
    for k in range(0, a.shape[1], size):
        total = cut(total + a[:, k : k + size].double() @ b[k : k + size].double(), 24)
    return total.float()


def product_tf32(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Operands cut to 11 significant bits."""
    return product_truncated(cut(a.double(), 11), cut(b.double(), 11))


def cut(x: torch.Tensor, bits: int) -> torch.Tensor:
    """float64 numbers truncated towards zero to so many significant bits."""
    fraction, exponent = torch.frexp(x)
    return torch.ldexp(torch.trunc(fraction * 2.0**bits) / 2.0**bits, exponent)


PRODUCTS: Final[dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "in order": product_in_order,
    "in blocks": product_in_blocks,
    "truncated": product_truncated,
    "PyTorch's": lambda a, b: a.float() @ b.float(),
}


# Rules on tensors that have errors already


def with_error(value: torch.Tensor, error: torch.Tensor) -> ErrorTensor:
    return build(value.double(), [Part("given", error.double())])


def through(function: Callable[..., Any], *inputs: ErrorTensor, arithmetic: Arithmetic | None = None) -> Any:
    """The function's result on ErrorTensors."""
    with torch.no_grad(), Analysis(arithmetic or Arithmetic()):
        return function(*inputs)


def violation(
    function: Callable[..., torch.Tensor], values: Sequence[torch.Tensor], errors: Sequence[torch.Tensor], seed: int, tries: int = 8
) -> float:
    """Largest |f(x + d) - f(x)| over the bound, for |d| <= error: random d, and all of them at their ends."""
    result: ErrorTensor = through(function, *(with_error(v, e) for v, e in zip(values, errors, strict=True)))
    generator = torch.Generator().manual_seed(seed)
    exact = function(*(value.double() for value in values))
    worst = 0.0
    for attempt in range(tries):
        shifted = []
        for value, error in zip(values, errors, strict=True):
            d = torch.rand(value.shape, generator=generator, dtype=torch.float64) * 2 - 1
            shifted.append(value.double() + error * (torch.sign(d) if attempt % 2 else d))
        moved = (function(*shifted) - exact).abs()
        allowed = result.bound + 1e-14 * exact.abs() + 1e-300
        worst = max(worst, float(torch.where(torch.isnan(moved), 0.0, moved / allowed).max()))
    return worst


# Kernels


def _no_code() -> NoReturn:
    raise NotImplementedError("never built")


@kernel(inputs={"a": "M K : T", "b": "K N : T"}, outputs={"c": "M N : T"}, reference=lambda a, b: a @ b)
def judged_matmul(M: int, N: int, K: int, T: str) -> Any:
    """c = a b"""
    _no_code()


@kernel(inputs={"x": "M N : T", "bias": "N : T"}, outputs={"y": "M N : T"}, reference=lambda x, bias: x + bias)
def judged_bias(M: int, N: int, T: str) -> Any:
    """y = x + bias"""
    _no_code()


@kernel(inputs={"x": "M N : T"}, outputs={"y": "M N : T"}, reference=functional.gelu)
def judged_gelu(M: int, N: int, T: str) -> Any:
    """y = x Phi(x)"""
    _no_code()


@kernel(inputs={"x": "M N : T", "z": "M N : T"}, outputs={"y": "M N : T"}, reference=lambda x, z: x + z)
def judged_add(M: int, N: int, T: str) -> Any:
    """y = x + z"""
    _no_code()


@kernel(
    inputs={"x": "M N : T", "weight": "N : T", "bias": "N : T"},
    outputs={"y": "M N : T"},
    attributes={"eps": 1e-5},
    reference=lambda x, weight, bias, eps: functional.layer_norm(x, (x.shape[-1],), weight, bias, eps),
)
def judged_norm(M: int, N: int, T: str, eps: float) -> Any:
    """LayerNorm of rows"""
    _no_code()


def _attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    scores = (q @ k.T) / math.sqrt(q.shape[1])
    return torch.softmax(scores.masked_fill(mask.eq(0)[None, :], -math.inf), -1) @ v


@kernel(inputs={"q": "S D : T", "k": "L D : T", "v": "L D : T", "mask": "L : int32"}, outputs={"o": "S D : T"}, reference=_attend)
def judged_attention(S: int, D: int, L: int, T: str) -> Any:
    """softmax(q k^T / sqrt D) v over the keys with a mask other than 0"""
    _no_code()


@kernel(inputs={"x": "M N : T"}, outputs={"index": "M : int64"}, reference=lambda x: x.argmax(1))
def judged_argmax(M: int, N: int, T: str) -> Any:
    """Where a row is largest"""
    _no_code()


def _quantise(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = x.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return torch.round(x / scale).clamp(-128, 127).to(torch.int8), scale.squeeze(1)


@kernel(inputs={"x": "M N : T"}, outputs={"codes": "M N : int8", "scale": "M : float32"}, reference=_quantise)
def judged_quantise(M: int, N: int, T: str) -> Any:
    """int8 codes with a scale a row"""
    _no_code()


@kernel(inputs={"ids": "M : int32", "table": "V N : T"}, outputs={"y": "M N : T"}, reference=lambda ids, table: table[ids.long()])
def judged_embedding(M: int, N: int, V: int, T: str) -> Any:
    """Rows of a table"""
    _no_code()


# Graphs


def feed_forward(dtype: str = "float16", rows: int = 24, width: int = 48, hidden: int = 96) -> Graph:
    """y = LayerNorm(x + gelu(x u + b) d), all but x constant."""
    graph = Graph("feed_forward")
    x = graph.input("x", (rows, width), dtype)

    def constant(name: str, shape: tuple[int, ...], scale: float) -> Any:
        return graph.constant(name, store(numbers(shape, "float32", seed=name).double() * scale, dtype))

    up = graph.call("judged_matmul", x, constant("u", (width, hidden), width**-0.5), name="up")
    active = graph.call("judged_gelu", graph.call("judged_bias", up, constant("b", (hidden,), 0.1), name="biased"), name="active")
    down = graph.call("judged_matmul", active, constant("d", (hidden, width), hidden**-0.5), name="down")
    total = graph.call("judged_add", down, x, name="total")
    graph.output(graph.call("judged_norm", total, constant("g", (width,), 1.0), constant("c", (width,), 0.1), name="y"))
    return graph


def product_graph(rows: int, reduction: int, columns: int, dtype: str = "float16") -> Graph:
    """c = a b, both inputs."""
    graph = Graph("product")
    graph.output(
        graph.call("judged_matmul", graph.input("a", (rows, reduction), dtype), graph.input("b", (reduction, columns), dtype), name="c")
    )
    return graph


def random_graph(seed: int) -> Graph:
    """A chain or net of 1 to 9 nodes over rows: products, activations, norms, attention, codes and arg-maxima."""
    rng = random.Random(seed)
    dtype = rng.choice(("float16", "bfloat16", "float32"))
    graph = Graph("random")
    known = [graph.input("x", (rng.choice((4, 17, 33)), rng.choice((16, 48, 130, 256))), dtype)]
    for step in range(rng.randint(1, 9)):
        known += _random_step(rng, graph, known, step, dtype)
    ends = [tensor for tensor in known[1:] if not graph.consumers(tensor.name)]
    if not ends and not graph.outputs:
        ends = [graph.call("judged_gelu", known[0], name="last")]
    graph.output(*ends)
    return graph


def _random_step(rng: random.Random, graph: Graph, known: list[Any], step: int, dtype: str) -> list[Any]:
    x = rng.choice(known[-3:])
    rows, width = x.shape

    def constant(name: str, shape: tuple[int, ...], scale: float = 1.0) -> Any:
        kind = rng.choice(("normal", "uniform", "equal"))
        return graph.constant(f"{name}{step}", store(numbers(shape, "float32", kind, rng.random()).double() * scale, dtype))

    match rng.choice(("matmul", "matmul", "gelu", "norm", "bias", "add", "attention", "quantise", "argmax")):
        case "matmul":
            columns = rng.choice((16, 48, 130, 256))
            return [graph.call("judged_matmul", x, constant("w", (width, columns), width**-0.5), name=f"matmul{step}")]
        case "gelu":
            return [graph.call("judged_gelu", x, name=f"gelu{step}")]
        case "norm":
            return [graph.call("judged_norm", x, constant("g", (width,)), constant("b", (width,)), name=f"norm{step}")]
        case "bias":
            return [graph.call("judged_bias", x, constant("c", (width,)), name=f"bias{step}")]
        case "add":
            return [graph.call("judged_add", x, rng.choice([t for t in known if t.shape == x.shape]), name=f"add{step}")]
        case "attention":
            keys, values = (rng.choice([t for t in known if t.shape == x.shape]) for _ in range(2))
            mask = graph.constant(f"m{step}", (torch.arange(rows) < max(1, rows - 2)).int())
            return [graph.call("judged_attention", x, keys, values, mask, name=f"attention{step}")]
        case "quantise":
            graph.output(*graph.call("judged_quantise", x, name=f"codes{step}"))
        case _:
            graph.output(graph.call("judged_argmax", x, name=f"argmax{step}"))
    return []
