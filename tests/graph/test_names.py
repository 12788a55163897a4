"""Names of graphs, nodes and tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mosaic.errors import GraphError
from mosaic.graph import Graph
from mosaic.graph.names import fresh_name
from tests.graph import tiny


def test_default_names_avoid_what_is_taken() -> None:
    graph = Graph("g")
    x = graph.input("tiny_scale_0", (2, 2), "float32")
    graph.input("tiny_rows_0.top", (2, 2), "float32")
    assert graph.call("tiny_scale", x).name == "tiny_scale_1"
    assert graph.call("tiny_scale", x).name == "tiny_scale_2"
    assert [tensor.name for tensor in graph.call("tiny_rows", x)] == ["tiny_rows_1.top", "tiny_rows_1.index"]
    assert graph.view(x, (4,)).name == "view_0"


@pytest.mark.parametrize("name", ["", "1x", "a b", "a-b", ".a", "ä", "a\n", "a/b", 3, None])
def test_names_that_are_none(name: Any) -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    attempts: list[Callable[[], object]] = [
        lambda: Graph(name),
        lambda: graph.input(name, (2, 2), "float32"),
        lambda: graph.constant(name, torch.ones(2)),
    ]
    if name is not None:
        attempts += [lambda: graph.call("tiny_scale", x, name=name), lambda: graph.view(x, (4,), name=name)]
    for attempt in attempts:
        with pytest.raises(GraphError, match="a name is a letter or _, then letters, digits, _ and dots"):
            attempt()
    assert list(graph.tensors) == ["x"]


def test_names_are_taken_once() -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 2), "float32")
    graph.call("tiny_rows", x, name="rows")
    before = tiny.contents(graph)
    for attempt in (
        lambda: graph.input("x", (2, 2), "float32"),
        lambda: graph.input("rows", (2, 2), "float32"),
        lambda: graph.constant("rows.top", torch.ones(2)),
        lambda: graph.call("tiny_scale", x, name="x"),
        lambda: graph.call("tiny_scale", x, name="rows"),
        lambda: graph.call("tiny_scale", x, name="rows.index"),
        lambda: graph.call("tiny_rows", x, name="x"),
        lambda: graph.view(x, (4,), name="rows.top"),
    ):
        with pytest.raises(GraphError, match="is taken"):
            attempt()
    assert tiny.contents(graph) == before


@pytest.mark.parametrize(
    ("base", "name"), [("gemm-bias", "gemm_bias_0"), ("3d", "_3d_0"), (".x", "_.x_0"), ("<lambda>", "_lambda__0"), ("é", "__0")]
)
def test_a_kernels_name_need_not_be_a_nodes(base: str, name: str) -> None:
    assert fresh_name(base, ["y"], {}, lambda _: False) == name
