"""Tiny kernels that are only ever computed by their references, and random graphs of them."""

from __future__ import annotations

import math
from typing import Any, Final, NoReturn

import torch
from hypothesis import strategies as st

from mosaic.dtypes import dtype as find_dtype
from mosaic.graph import Graph, Tensor, kernel


def _no_code() -> NoReturn:
    raise NotImplementedError("the graph layer never builds a kernel")


@kernel(inputs={"a": "M N : T", "b": "M N : T"}, outputs={"c": "M N : T"}, reference=lambda a, b: a + b)
def tiny_add(M: int, N: int, T: str) -> Any:
    """c = a + b"""
    _no_code()


@kernel(inputs={"a": "M K : T", "b": "K N : T"}, outputs={"c": "M N : T"}, reference=lambda a, b: a @ b)
def tiny_matmul(M: int, N: int, K: int, T: str) -> Any:
    """c = a b"""
    _no_code()


@kernel(
    inputs={"x": "M N : T"},
    outputs={"y": "M N : T"},
    attributes={"factor": 0.5, "negate": False},
    reference=lambda x, *, factor, negate: x * (-factor if negate else factor),
)
def tiny_scale(M: int, N: int, T: str, factor: float, negate: bool) -> Any:
    """y = factor x"""
    _no_code()


def _rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.max(dim=1).values, x.argmax(dim=1)


@kernel(inputs={"x": "M N : T"}, outputs={"top": "M : T", "index": "M : int32"}, reference=_rows)
def tiny_rows(M: int, N: int, T: str) -> Any:
    """The largest element of each row, and where it is."""
    _no_code()


@kernel(inputs={"x": "M N : T"}, outputs={"y": "M N : U"}, attributes={"U": "float32"}, reference=lambda x: x)
def tiny_cast(M: int, N: int, T: str, U: str) -> Any:
    """y = x in another dtype"""
    _no_code()


@kernel(
    inputs={"x": "M L : T"},
    outputs={"y": "M (L-W)//S+1 : T"},
    attributes={"W": 2, "S": 1},
    reference=lambda x, W, S: x.unfold(1, W, S).sum(dim=2),
)
def tiny_window(M: int, L: int, W: int, S: int, T: str) -> Any:
    """Sums over windows of W, S apart."""
    _no_code()


@kernel(
    inputs={"table": "V N : T", "ids": "M : int32"}, outputs={"y": "M N : T"}, reference=lambda table, ids: table[ids.long() % len(table)]
)
def tiny_gather(V: int, N: int, M: int, T: str) -> Any:
    """Rows of a table."""
    _no_code()


FLOATS: Final = ("float64", "float32", "float16", "bfloat16", "float8_e5m2")
SIZES: Final = st.sampled_from((1, 2, 3, 4, 5, 7, 8, 13))


def random_tensor(shape: tuple[int, ...], dtype: str, seed: int) -> torch.Tensor:
    """Numbers in [-1, 1), or integers in [0, 8), of that shape and dtype."""
    generator = torch.Generator().manual_seed(seed)
    if not find_dtype(dtype).is_float:
        return torch.randint(0, 8, shape, generator=generator).to(find_dtype(dtype).torch)
    return (torch.rand(shape, generator=generator) * 2 - 1).to(find_dtype(dtype).torch)


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, torch.Tensor]:
    return {name: random_tensor(graph.tensors[name].shape, graph.tensors[name].dtype, seed + i) for i, name in enumerate(graph.inputs)}


def contents(graph: Graph) -> tuple[list[str], list[str]]:
    """The names of its tensors and of its nodes."""
    return list(graph.tensors), [node.name for node in graph.nodes]


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Graphs of 1 to 10 nodes: chains, forks, joins, views, constants, several outputs of one kernel."""
    graph = Graph("random")
    shape = (draw(SIZES), draw(SIZES))
    known: list[Tensor] = [graph.input("x", shape, draw(st.sampled_from(FLOATS)))]
    made: list[Tensor] = []
    for step in range(draw(st.integers(1, 10))):
        x = draw(st.sampled_from([tensor for tensor in known if len(tensor.shape) == 2 and find_dtype(tensor.dtype).is_float]))
        new = _random_call(draw, graph, x, known, step)
        made += new
        known += new
    graph.output(*draw(st.lists(st.sampled_from(made), min_size=1, unique=True)))
    return graph


def _random_call(draw: st.DrawFn, graph: Graph, x: Tensor, known: list[Tensor], step: int) -> list[Tensor]:
    """Apply something to `x`; a second operand is one that fits from `known`, or else a new constant or input."""

    def operand(shape: tuple[int, ...], dtype: str) -> Tensor:
        choice = draw(st.sampled_from(("known", "constant", "input")))
        fitting = [tensor for tensor in known if tensor.shape == shape and tensor.dtype == dtype]
        if fitting and choice == "known":
            return draw(st.sampled_from(fitting))
        if choice == "constant":
            return graph.constant(f"w{step}", random_tensor(shape, dtype, step))
        return graph.input(f"x{step}", shape, dtype)

    match draw(st.sampled_from(("add", "matmul", "scale", "rows", "cast", "window", "gather", "view"))):
        case "add":
            return [graph.call("tiny_add", x, operand(x.shape, x.dtype))]
        case "matmul":
            return [graph.call("tiny_matmul", x, operand((x.shape[1], draw(SIZES)), x.dtype), name=f"layer.{step}")]
        case "scale":
            return [graph.call("tiny_scale", x, factor=draw(st.floats(-2, 2)), negate=draw(st.booleans()))]
        case "rows":
            return list(graph.call("tiny_rows", x))
        case "cast":
            return [graph.call("tiny_cast", x, U=draw(st.sampled_from(FLOATS)))]
        case "window":
            return [graph.call("tiny_window", x, W=draw(st.integers(1, x.shape[1])), S=draw(st.integers(1, 3)))]
        case "gather":
            return [graph.call("tiny_gather", x, operand((draw(SIZES),), "int32"))]
        case _:
            rows = draw(st.sampled_from([n for n in range(1, math.prod(x.shape) + 1) if math.prod(x.shape) % n == 0]))
            return [graph.view(x, (rows, math.prod(x.shape) // rows))]
