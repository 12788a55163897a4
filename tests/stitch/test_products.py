"""Products of a kernel as read, and the same kernel with other policies: TileLang's layouts follow, and the numbers stay the same."""

from __future__ import annotations

import pytest
import torch

from mosaic import kernels
from mosaic.graph.graph import Graph
from mosaic.layouts.bridge import layout_of
from mosaic.layouts.fragments import Policy, accumulator, warp_grid
from mosaic.layouts.read import read_layouts
from mosaic.stitch.library import Library
from mosaic.stitch.products import read_products, with_policies
from mosaic.targets.target import find
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read
from tests.stitch.parts import multiplied, run

kernels.load()


def attention() -> TileProgram:
    graph = Graph("attention")
    heads = [graph.input(name, (2, 64, 4, 32), "float16") for name in ("q", "k", "v")]
    graph.output(graph.call("attention_masked", *heads, graph.input("mask", (2, 64), "int32"), name="attention"))
    node = graph.nodes[0]
    assert node.kernel is not None
    return Library(graph).program(node, node.kernel.default_tunables())


def test_what_is_read() -> None:
    first, second = read_products(attention())
    assert (first.m, first.n, first.k, first.policy, first.transposed_b) == (64, 64, 32, "FullRow", True)
    assert (second.m, second.n, second.k, second.a_scope, second.transposed_b) == (64, 32, 64, "local.fragment", False)
    assert (first.c, second.a, second.c) == ("score", "weight", "acc")
    assert first.takes_wgmma
    assert second.takes_wgmma


def test_a_kernel_without_products() -> None:
    from tests.stitch.parts import row_sums

    assert read_products(read(row_sums(32, 64))) == ()


@pytest.mark.parametrize("policy", ["Square", "FullRow", "FullCol"])
def test_tilelang_takes_the_policy(policy: Policy) -> None:
    func = with_policies(multiplied(128, 64, 32, 64, 64, 16, threads=128), [policy])
    (product,) = read_products(read(func))
    assert product.policy == policy
    found = read_layouts(func, find("sm_80").upstream)["acc"]
    grid = warp_grid("mma", policy, 64, 64, 4)
    assert grid is not None
    theirs, ours = layout_of(found, 128, 32), accumulator("mma", grid, 64, 64)
    assert theirs is not None
    assert torch.equal(theirs.to_table(), ours.to_table())


def test_the_result_is_the_same() -> None:
    inputs = {"a": torch.randn(64, 32), "b": torch.randn(32, 64)}
    program = read(multiplied(64, 64, 32))
    other = read(with_policies(program.func, ["FullCol"]))
    assert torch.equal(run(program, inputs)["c"], run(other, inputs)["c"])


def test_a_policy_for_each_product() -> None:
    with pytest.raises(ValueError, match="1 policies for 2 products"):
        with_policies(attention().func, ["Square"])
