"""Small graphs of shipped kernels, and running a plan of one."""

from __future__ import annotations

import torch

from mosaic import kernels
from mosaic.graph import reference
from mosaic.graph.graph import Graph, Tensor
from mosaic.stitch.plan import Plan
from mosaic.targets.load import load_lowered
from mosaic.targets.lower import lower
from mosaic.targets.program import Program
from mosaic.targets.target import find

kernels.load()


def constant(graph: Graph, name: str, *shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    return graph.constant(name, (torch.randn(*shape, generator=generator) / shape[-1] ** 0.5).to(dtype))


def feed_forward(rows: int = 48, width: int = 64, hidden: int = 96) -> Graph:
    """x -> linear, bias, GELU, linear, bias, + x, LayerNorm: a chain whose input is needed again at its end."""
    g = Graph("feed_forward")
    x = g.input("x", (rows, width), "float16")
    t = g.call("gemm_nt", x, constant(g, "w1", hidden, width), name="up")
    t = g.call("bias", t, constant(g, "b1", hidden), name="up.bias")
    t = g.call("gelu_erf", t, name="gelu")
    t = g.call("gemm_nt", t, constant(g, "w2", width, hidden), name="down")
    t = g.call("bias", t, constant(g, "b2", width), name="down.bias")
    t = g.call("residual_add", t, x, name="residual")
    g.output(g.call("layer_norm", t, constant(g, "gain", width), constant(g, "shift", width), name="norm"))
    return g


def linear(rows: int = 48, width: int = 64) -> Graph:
    """x -> product, bias, ReLU."""
    g = Graph("linear")
    t = g.call("gemm_nt", g.input("x", (rows, width), "float16"), constant(g, "w", width, width), name="product")
    g.output(g.call("relu", g.call("bias", t, constant(g, "b", width), name="biased"), name="relu"))
    return g


def siblings(rows: int = 48, width: int = 64) -> Graph:
    """Two linear layers of one input: nothing to hand over between them."""
    g = Graph("siblings")
    x = g.input("x", (rows, width), "float16")
    for name in ("left", "right"):
        g.output(g.call("gemm_nt", x, constant(g, f"w.{name}", width, width), name=name))
    return g


def run_plan(plan: Plan, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The plan's outputs on this machine's CPU."""
    cpu = find("cpu")
    return Program(plan, cpu, [load_lowered(lower(launch.program.func, cpu)) for launch in plan.launches]).run(inputs)


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(graph.tensors[name].shape, generator=generator).half() for name in graph.inputs}


def largest_error(graph: Graph, inputs: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> float:
    """The largest difference to the float64 reference, over the outputs' root mean square."""
    wanted = reference.run(graph, inputs, keep="outputs")
    return max(float((found[n].double() - wanted[n]).abs().max() / wanted[n].pow(2).mean().sqrt()) for n in graph.outputs)
