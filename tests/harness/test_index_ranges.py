"""Integer inputs that are indices are found by watching the references."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

import tests.harness.honest  # noqa: F401  its kernels are registered by importing it
from mosaic.graph import Graph, kernel
from mosaic.harness.index_ranges import used_as_index


def _no_code() -> NoReturn:
    raise NotImplementedError("never built")


@kernel(
    inputs={"x": "M N : T", "rows": "K : int64", "columns": "M K : int64"},
    outputs={"y": "M K : T"},
    reference=lambda x, rows, columns: x.gather(1, columns) + x.index_select(0, rows % x.shape[0]).sum(),
)
def indexed_gather(M: int, N: int, K: int, T: str) -> Any:
    """Elements picked in each row"""
    _no_code()


@kernel(inputs={"x": "M : T", "mask": "M : int32"}, outputs={"y": "M : T"}, reference=lambda x, mask: torch.where(mask.ne(0), x, -x))
def indexed_mask(M: int, T: str) -> Any:
    """A mask is no index"""
    _no_code()


@kernel(inputs={"x": "M : T", "n": "M : int32"}, outputs={"y": "M : T"}, reference=lambda x, n: 1 // n[0].item() * x)
def indexed_failing(M: int, T: str) -> Any:
    """Fails on zeros"""
    _no_code()


def test_token_ids_are_found_through_views_and_casts() -> None:
    graph = Graph("g")
    ids = graph.input("ids", (2, 5), "int32")
    table, short = graph.input("table", (77, 8), "float16"), graph.input("short", (9, 8), "float16")
    flat = graph.view(ids, (10,))
    graph.output(graph.call("judged_embedding", flat, table))
    assert used_as_index(graph, ["ids"]) == {"ids": (0, 76)}
    graph.output(graph.call("judged_embedding", flat, short))
    assert used_as_index(graph, ["ids"]) == {"ids": (0, 8)}
    assert used_as_index(graph, []) == {}


def test_gathered_axes_count() -> None:
    graph = Graph("g")
    x, rows, columns = graph.input("x", (4, 6), "float32"), graph.input("rows", (3,), "int64"), graph.input("columns", (4, 3), "int64")
    graph.output(graph.call("indexed_gather", x, rows, columns))
    assert used_as_index(graph, ["rows", "columns"]) == {"columns": (0, 5)}  # rows pass through arithmetic


def test_masks_and_failing_references_tell_nothing() -> None:
    graph = Graph("g")
    x, mask = graph.input("x", (4,), "float32"), graph.input("mask", (4,), "int32")
    graph.output(graph.call("indexed_mask", x, mask))
    assert used_as_index(graph, ["mask"]) == {}
    failing = Graph("f")
    failing.output(failing.call("indexed_failing", failing.input("x", (4,), "float32"), failing.input("n", (4,), "int32")))
    assert used_as_index(failing, ["n"]) == {}
