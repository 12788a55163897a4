"""A graph whose plan hands tiles over in every way: a product, its bias and activation, and the next product."""

from __future__ import annotations

import torch

from mosaic import kernels
from mosaic.graph.graph import Graph


def feed_forward() -> Graph:
    kernels.load()
    draw = torch.Generator().manual_seed(0)

    def weight(*shape: int) -> torch.Tensor:
        return (torch.randn(*shape, generator=draw) * 0.05).half()

    graph = Graph("feed_forward")
    up = graph.call("gemm", graph.input("x", (1024, 256), "float16"), graph.constant("w", weight(256, 1024)), name="up")
    biased = graph.call("bias", up, graph.constant("b", weight(1024)), name="bias")
    active = graph.call("gelu_erf", biased, name="gelu")
    graph.output(graph.call("gemm", active, graph.constant("w2", weight(1024, 256)), name="down"))
    return graph
