"""Random graphs of kernels, each from one seed: chains, forks, joins and diamonds; random shapes, dtypes and tunables."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

import mosaic.kernels
import tests.fuzz.kernels  # noqa: F401  (registers them)
from mosaic.dtypes import DTYPES
from mosaic.errors import MosaicError
from mosaic.graph import Graph, Tensor
from mosaic.graph.graph import Node
from mosaic.graph.kernel import Value

mosaic.kernels.load()

SIZES: Final = (1, 2, 3, 5, 7, 13, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 67, 96, 97, 100, 127, 128, 129, 131)
SMALL_SIZES: Final = (1, 2, 3, 5, 7, 13, 16, 17, 31, 32, 33, 40)
FLOATS: Final = ("float16", "bfloat16", "float32")
UNARY: Final = ("gelu_erf", "gelu_tanh", "relu", "silu", "sigmoid", "tanh", "scale", "copy", "fuzz_double", "l2_normalize", "softmax")
BINARY: Final = ("add", "multiply", "residual_add", "silu_multiply")
ROWS: Final = ("row_sum", "row_mean", "row_max")

Tunables = dict[str, Value]


@dataclass(frozen=True)
class Case:
    """A graph with the tunables of each node and contents for its inputs."""

    seed: int
    graph: Graph
    tunables: dict[str, Tunables]
    inputs: dict[str, torch.Tensor]

    def node(self, name: str) -> Node:
        return next(n for n in self.graph.nodes if n.name == name)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: inputs " + ", ".join(f"{n} {self.graph.tensors[n].spec}" for n in self.graph.inputs)]
        for node in self.graph.nodes:
            name = "view" if node.kernel is None else node.kernel.name
            outputs = ", ".join(f"{o} {self.graph.tensors[o].spec}" for o in node.outputs)
            lines.append(f"  {outputs} = {name}({', '.join(node.inputs)}) {dict(node.attributes) or ''} {self.tunables.get(node.name, '')}")
        return "\n".join([*lines, f"  outputs {', '.join(self.graph.outputs)}"])


class _Maker:
    """Grows a graph by random calls; `pool` are the tensors that may be read."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.torch = torch.Generator().manual_seed(seed)
        self.graph = Graph(f"fuzz{seed}")
        self.pool: list[Tensor] = []
        self.inputs: dict[str, torch.Tensor] = {}
        self.fresh = itertools.count()

    # -- tensors

    def input(self, shape: tuple[int, ...], dtype: str, content: torch.Tensor | None = None) -> Tensor:
        name = f"x{next(self.fresh)}"
        tensor = self.graph.input(name, shape, dtype)
        made = torch.randn(shape, generator=self.torch) if content is None else content
        self.inputs[name] = made.to(DTYPES[dtype].torch)
        return tensor

    def weight(self, shape: tuple[int, ...], dtype: str, size: float = 1.0) -> Tensor:
        content = (torch.randn(shape, generator=self.torch) * size).to(DTYPES[dtype].torch)
        return self.graph.constant(f"w{next(self.fresh)}", content)

    def size(self) -> int:
        return self.random.choice(SIZES)

    def call(self, kernel: str, *inputs: Tensor, **attributes: Value) -> list[Tensor]:
        made = self.graph.call(kernel, *inputs, name=f"n{next(self.fresh)}", **attributes)
        tensors = list(made) if isinstance(made, tuple) else [made]
        self.pool += tensors
        return tensors

    def pick(self, rank: int, *, floats: bool = True) -> Tensor | None:
        """A tensor of the pool; later ones more likely, so that chains come about as well as forks."""
        fit = [t for t in self.pool if len(t.shape) == rank and (not floats or t.dtype in FLOATS)]
        if not fit:
            return None
        return fit[-1] if self.random.random() < 0.6 else self.random.choice(fit)

    # -- steps: each adds a node, or raises MosaicError where it does not fit

    def unary(self) -> None:
        x = self.need(2)
        name = self.random.choice(UNARY)
        self.call(name, x, **({"factor": self.random.choice((0.5, -2.0, 3.0))} if name == "scale" else {}))

    def binary(self) -> None:
        a = self.need(2)
        alike = [t for t in self.pool if t.shape == a.shape and t.dtype == a.dtype]
        b = self.random.choice([*alike, *alike, self.input(a.shape, a.dtype)]) if self.random.random() < 0.9 else a
        self.call(self.random.choice(BINARY), *self.random.sample([a, b], 2))

    def product(self) -> None:
        a = self.need(2)
        (_, k), n = a.shape, self.size()
        mates = [t for t in self.pool if len(t.shape) == 2 and t.dtype == a.dtype and t is not a]
        if self.random.random() < 0.5:
            right = [t for t in mates if t.shape[0] == k]
            b = self.random.choice(right) if right and self.random.random() < 0.5 else self.weight((k, n), a.dtype, k**-0.5)
            self.call("gemm", a, b)
        else:
            right = [t for t in mates if t.shape[1] == k]
            b = self.random.choice(right) if right and self.random.random() < 0.5 else self.weight((n, k), a.dtype, k**-0.5)
            self.call("gemm_nt", a, b)

    def affine(self) -> None:
        x = self.need(2)
        width = x.shape[1]
        match self.random.choice(("bias", "layer_norm", "rms_norm")):
            case "bias":
                self.call("bias", x, self.weight((width,), x.dtype))
            case "layer_norm":
                self.call("layer_norm", x, self.weight((width,), x.dtype), self.weight((width,), x.dtype))
            case _:
                self.call("rms_norm", x, self.weight((width,), x.dtype))

    def moved(self) -> None:
        x = self.need(2)
        name = self.random.choice(("transpose", "fuzz_flip", "cast", "fuzz_stencil", "fuzz_halves", "fuzz_center"))
        if x.shape[1] < 3 and name in ("fuzz_stencil", "fuzz_halves"):
            name = "transpose"
        self.call(name, x, **({"to": self.random.choice(FLOATS)} if name == "cast" else {}))

    def rows(self) -> None:
        self.call(self.random.choice(ROWS), self.need(2))

    def table(self) -> None:
        m, n, v = self.size(), self.size(), self.size()
        dtype = self.random.choice(FLOATS)
        ids = self.input((m,), "int32", torch.randint(0, v, (m,), generator=self.torch))
        self.call("embedding", ids, self.weight((v, n), dtype))
        x = self.pool[-1]
        if self.random.random() < 0.6:
            self.call("add_positions", x, self.weight((m, n), dtype))

    def masked(self) -> None:
        x = self.need(2)
        mask = torch.randint(0, 2, x.shape, generator=self.torch)
        self.call("softmax_masked", x, self.input(x.shape, "int32", mask))

    def quantized(self) -> None:
        x = self.need(2)
        n, groups = self.size(), self.random.choice((1, 2, 3))
        content = torch.randint(0, 256, (n, groups * 16), generator=self.torch, dtype=torch.uint8)
        q = self.graph.constant(f"w{next(self.fresh)}", content)
        self.call("dequantize_int4", q, self.weight((n, groups), x.dtype, 0.1))

    def sequence(self) -> None:
        x = self.pick(3)
        if x is None:
            shape = (self.random.choice((1, 2)), self.random.choice(SMALL_SIZES) + 4, self.random.choice(SMALL_SIZES))
            x = self.input(shape, self.random.choice(FLOATS))
            self.pool.append(x)
        _, length, channels = x.shape
        match self.random.choice(("conv1d", "max_pool1d", "avg_pool1d", "fuzz_affine3", "fuzz_affine3")):
            case "conv1d" if length >= 3:
                width, out = self.random.choice((1, 2, 3)), self.random.choice(SMALL_SIZES)
                weight = self.weight((width, channels, out), x.dtype, (width * channels) ** -0.5)
                self.call("conv1d", x, weight, stride=self.random.choice((1, 2)), padding=self.random.choice((0, 1)))
            case "max_pool1d" | "avg_pool1d" as name if length >= 3:
                self.call(name, x, window=self.random.choice((1, 2, 3)), stride=self.random.choice((1, 2, 3)))
            case _:
                self.call("fuzz_affine3", x)

    def heads(self) -> None:
        x = self.pick(4)
        if x is None:
            shape = (
                self.random.choice((1, 2)),
                self.random.choice(SMALL_SIZES),
                self.random.choice((1, 2)),
                self.random.choice((8, 16, 20, 32)),
            )
            x = self.input(shape, self.random.choice(FLOATS[:2]))
            self.pool.append(x)
        batch, length, _, dim = x.shape
        match self.random.choice(("rope", "attention", "attention_causal", "attention_masked", "fuzz_scale4")):
            case "rope":
                tables = [self.weight((length + 2, dim // 2), "float32") for _ in range(2)]
                self.call("rope", x, *tables, start=self.random.choice((0, 2)))
            case "fuzz_scale4":
                self.call("fuzz_scale4", x)
            case name:
                alike = [t for t in self.pool if t.shape == x.shape and t.dtype == x.dtype]
                k, v = (self.random.choice(alike) for _ in range(2))
                if self.random.random() < 0.4:
                    k = v = self.input((batch, self.random.choice(SMALL_SIZES), 1, dim), x.dtype)
                more = [self.input((batch, k.shape[1]), "int32", torch.randint(0, 2, (batch, k.shape[1]), generator=self.torch))]
                self.call(name, x, k, v, *(more if name == "attention_masked" else []))

    def reshaped(self) -> None:
        x = self.random.choice(self.pool) if self.pool else self.need(2)
        total = x.shape[0] if len(x.shape) == 1 else int(torch.tensor(x.shape).prod())
        rows = self.random.choice([n for n in range(1, total + 1) if total % n == 0 and n <= 131 and total // n <= 200] or [total])
        self.pool.append(self.graph.view(x, (rows, total // rows)))

    def need(self, rank: int) -> Tensor:
        found = self.pick(rank)
        if found is None or self.random.random() < 0.05:
            found = self.input((self.size(), self.size()), self.random.choice(FLOATS))
            self.pool.append(found)
        return found

    # -- the whole

    def grow(self, nodes: int, steps: Sequence[Callable[[], None]], weights: Sequence[int]) -> None:
        while self.graph.kernel_count < nodes:
            step = self.random.choices(steps, weights)[0]
            with contextlib.suppress(MosaicError):  # a size that the step's kernel does not take
                step()


def generate(seed: int) -> Case:
    """The graph of a seed: 2 to 8 kernels. Raises nothing."""
    maker = _Maker(seed)
    kinds: tuple[tuple[Callable[[], None], int], ...] = (
        (maker.unary, 6),
        (maker.binary, 4),
        (maker.product, 4),
        (maker.affine, 3),
        (maker.moved, 4),
        (maker.rows, 1),
        (maker.masked, 1),
        (maker.quantized, 1),
        (maker.reshaped, 1),
    )
    match maker.random.random():
        case r if r < 0.12:
            kinds = ((maker.sequence, 1),)
        case r if r < 0.24:
            kinds = ((maker.heads, 1),)
        case r if r < 0.36:
            maker.table()
    nodes = maker.random.randint(2, 8)
    maker.grow(nodes, [step for step, _ in kinds], [weight for _, weight in kinds])
    graph = maker.graph
    read = {name for node in graph.nodes for name in node.inputs}
    made = [name for node in graph.nodes for name in node.outputs]
    ends = [name for name in made if name not in read]
    ends += [name for name in made if name in read and maker.random.random() < 0.12]
    graph.output(*(graph.tensors[name] for name in dict.fromkeys(ends)))
    tunables = {node.name: _tunables(maker.random, node) for node in graph.nodes if not node.is_view}
    inputs = {name: maker.inputs[name] for name in graph.inputs}
    return Case(seed, graph, tunables, inputs)


def _tunables(source: random.Random, node: Node) -> Tunables:
    """Any valid combination, each as likely; tiles for which a block would take minutes on a CPU are thinned out."""
    assert node.kernel is not None
    assert node.binding is not None
    choices: list[Any] = list(node.kernel.choices(node.binding))
    return dict(source.choice(choices)) if choices else node.kernel.default_tunables()
