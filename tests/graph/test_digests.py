"""Content addresses of constants and graphs."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import GraphError
from mosaic.graph import Graph
from mosaic.graph.digests import constant_digest
from tests.graph import tiny


def test_the_digest_follows_structure_names_and_constants() -> None:
    def variant(factor: float = 2.0, weight: float = 1.0, name: str = "y", output: int = 0, kernel: str = "tiny_add") -> str:
        graph = Graph("g")
        x = graph.input("x", (2, 2), "float32")
        y = graph.call(kernel, x, graph.constant("w", torch.full((2, 2), weight)), name=name)
        z = graph.call("tiny_scale", y, factor=factor)
        graph.output((y, z)[output])
        return graph.digest()

    variants: list[dict[str, Any]] = [{}, {"factor": 3.0}, {"weight": 2.0}, {"name": "z"}, {"output": 1}, {"kernel": "tiny_matmul"}]
    digests = [variant(**change) for change in variants]
    assert len(set(digests)) == len(digests)
    assert digests[0] == variant()


def test_the_digest_follows_a_constant_that_is_changed_in_place() -> None:
    graph = Graph("g")
    weight = torch.ones(2, 2)
    graph.constant("w", weight)
    before = graph.constant_digest("w")
    assert graph.constant_digest("w") == before
    weight[0, 0] = 2
    assert graph.constant_digest("w") != before
    with pytest.raises(GraphError, match="no constant 'v'"):
        graph.constant_digest("v")


def test_constants_made_in_inference_mode() -> None:
    graph = Graph("g")
    with torch.inference_mode():
        graph.constant("w", torch.ones(2))
    assert len(graph.constant_digest("w")) == 64


def test_a_constants_digest_is_of_its_dtype_shape_and_bytes() -> None:
    expected = hashlib.sha256(b'["int16", [2, 1]]\0' + bytes([1, 0, 254, 255])).hexdigest()
    assert constant_digest(torch.tensor([[1], [-2]], dtype=torch.int16)) == expected
    assert constant_digest(torch.tensor([[1, -2]], dtype=torch.int16).T) == expected


def test_constants_digests_tell_dtypes_and_shapes_apart() -> None:
    zeros = [torch.zeros(shape, dtype=dtype.torch) for dtype in DTYPES.values() for shape in [(), (8,), (2, 4), (4, 2)]]
    assert len({constant_digest(tensor) for tensor in zeros}) == len(zeros)


def test_the_digest_follows_a_kernels_registration() -> None:
    graph = Graph("g")
    graph.output(graph.call("tiny_scale", graph.input("x", (2, 2), "float32")))
    before = graph.digest()
    nodes = [dataclasses.replace(node, kernel=dataclasses.replace(tiny.tiny_scale, tunables={"threads": (64,)})) for node in graph.nodes]
    assert Graph.from_parts("g", graph.tensors.values(), nodes, graph.outputs, {}).digest() != before
