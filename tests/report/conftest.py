"""Small graphs, fused once for all tests of the report."""

from __future__ import annotations

import pytest
import torch

from mosaic import kernels
from mosaic.graph.graph import Graph
from mosaic.harness.timing import Paired
from mosaic.pipeline import fuse
from mosaic.report.facts import Facts, collect


def layers(count: int) -> Graph:
    """`count` times a product, a bias, GELU and a residual, with a view at the end of each."""
    kernels.load()
    graph = Graph("layers")
    generator = torch.Generator().manual_seed(1)
    x = graph.input("x", (64, 64), "float16")
    for i in range(count):
        weight = graph.constant(f"layer{i}.weight", (torch.randn(64, 64, generator=generator) / 8).half())
        bias = graph.constant(f"layer{i}.offset", torch.randn(64, generator=generator).half())
        y = graph.call("gemm_nt", x, weight, name=f"layer{i}.product")
        y = graph.call("bias", y, bias, name=f"layer{i}.bias")
        y = graph.call("gelu_erf", y, name=f"layer{i}.gelu")
        y = graph.call("residual_add", y, x, name=f"layer{i}.residual")
        x = graph.view(y, (64, 64), name=f"layer{i}.view")
    graph.output(x)
    return graph


@pytest.fixture(scope="session")
def fused() -> Facts:
    """One layer, fused for the CPU, verified, and as if timed."""
    return collect(fuse(layers(1), "cpu"), Paired((1.0, 1.1, 1.0), (2.0, 2.2, 2.1), "a clock"))


@pytest.fixture(scope="session")
def apart() -> Facts:
    """Four layers, each node a launch of its own."""
    return collect(fuse(layers(4), "cpu", fuse=False))


@pytest.fixture(scope="session")
def for_gpu() -> Facts:
    """One layer, fused for a GPU that is not here, not verified."""
    return collect(fuse(layers(1), "sm_90a", check=False))
