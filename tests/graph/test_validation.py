"""Graphs whose parts don't fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from mosaic.errors import GraphError, KernelError, MosaicError
from mosaic.graph import Graph, Node, Spec, Tensor
from tests.graph import tiny

MATRIX = Spec((2, 2), "float32")
TENSORS = {
    "x": Tensor("x", MATRIX, "input"),
    "w": Tensor("w", MATRIX, "constant"),
    "sum": Tensor("sum", MATRIX, "intermediate"),
    "flat": Tensor("flat", Spec((4,), "float32"), "intermediate"),
    "back": Tensor("back", MATRIX, "intermediate"),
    "out": Tensor("out", MATRIX, "intermediate"),
}
NODES = {
    "sum": Node("sum", tiny.tiny_add, ("x", "w"), ("sum",)),
    "flat": Node("flat", None, ("sum",), ("flat",)),
    "back": Node("back", None, ("flat",), ("back",)),
    "out": Node("out", tiny.tiny_scale, ("back",), ("out",), {"factor": 2.0}),
}


def assemble(
    tensors: Mapping[str, Tensor | None] | None = None,
    nodes: Mapping[str, Node | None] | None = None,
    outputs: tuple[str, ...] = ("out",),
    constants: Mapping[str, torch.Tensor | None] | None = None,
) -> Graph:
    """The graph of TENSORS and NODES with some replaced, or left out where None stands."""
    kept_tensors = [tensor for tensor in {**TENSORS, **(tensors or {})}.values() if tensor is not None]
    kept_nodes = [node for node in {**NODES, **(nodes or {})}.values() if node is not None]
    return Graph.from_parts("g", kept_tensors, kept_nodes, outputs, constants or {"w": torch.ones(2, 2)})


def test_the_parts_fit_before_one_is_changed() -> None:
    graph = assemble()
    assert [node.name for node in graph.nodes] == ["sum", "flat", "back", "out"]
    assert graph.node("out").attributes == {"factor": 2.0, "negate": False}
    assert all(tensor.graph is graph for tensor in graph.tensors.values())


def changed(name: str, **fields: Any) -> dict[str, Any]:
    return {"nodes": {name: replace(NODES[name], **fields)}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"tensors": {"x": None}}, "node 'sum': the tensor 'x' is missing"),
        ({"tensors": {"out": None}}, "node 'out': the tensor 'out' is missing"),
        ({"nodes": {"sum": None}}, "no node makes the tensor 'sum'"),
        (changed("out", outputs=("sum",)), "tensor 'sum' is made by two nodes, 'sum' and 'out'"),
        (changed("out", outputs=("x",)), "node 'out': it makes 'x', which is an input"),
        (changed("out", outputs=("w",)), "node 'out': it makes 'w', which is a constant"),
        (changed("sum", inputs=("x", "out")), "the nodes (sum -> flat -> back -> out -> sum|.*) form a cycle"),
        (changed("sum", inputs=("x", "sum")), "the nodes sum -> sum form a cycle"),
        (changed("sum", inputs=("x",)), r"kernel 'tiny_add' takes 2 inputs \(a, b\), not 1"),
        (changed("sum", inputs=("x", "flat")), "'b' is float32.4., but has 2 dims"),
        (changed("out", kernel=tiny.tiny_rows, attributes={}), "kernel 'tiny_rows' has 2 outputs, not 1"),
        (changed("out", kernel=tiny.tiny_cast, attributes={"U": "float16"}), "'out' is declared float32.2, 2., but float16.2, 2. follows"),
        (changed("flat", attributes={"factor": 2.0}), "a view has one input, one output and no attributes"),
        (changed("flat", inputs=("sum", "x")), "a view has one input"),
        (
            {"tensors": {"flat": Tensor("flat", Spec((5,), "float32"), "intermediate")}},
            "it cannot show 'sum', float32.2, 2., as float32.5.",
        ),
        ({"tensors": {"flat": Tensor("flat", Spec((4,), "int32"), "intermediate")}}, "it cannot show"),
        ({"tensors": {"flat": Tensor("flat", Spec((4,), "real"), "intermediate")}}, "unknown dtype 'real'"),
        ({"tensors": {"flat": Tensor("flat", Spec((4, 0), "float32"), "intermediate")}}, "sizes are not all at least 1"),
        ({"tensors": {"y": Tensor("x", MATRIX, "input")}}, "the name 'x' is taken"),
        ({"tensors": {"y": Tensor("a b", MATRIX, "input")}}, "an input cannot be called 'a b'"),
        ({"nodes": {"more": NODES["flat"]}}, "two nodes have the name 'flat'"),
        (
            {"nodes": {"more": Node("x", None, ("sum",), ("y",))}, "tensors": {"y": Tensor("y", MATRIX, "intermediate")}},
            "'x' names a node and also a tensor that it does not make",
        ),
        ({"nodes": {"more": replace(NODES["flat"], name="a b")}}, "a node cannot be called 'a b'"),
        ({"outputs": ()}, "it has no outputs"),
        ({"outputs": ("y",)}, "the output 'y' is missing"),
        ({"outputs": ("x",)}, "the output 'x' is an input"),
        ({"outputs": ("w",)}, "the output 'w' is a constant"),
        ({"outputs": ("out", "out")}, "'out' is an output twice"),
        ({"constants": {"w": torch.ones(2, 3)}}, r"'w' is declared float32.2, 2., but its content is torch.float32 of the shape \(2, 3\)"),
        ({"constants": {"w": torch.ones(2, 2, dtype=torch.int32)}}, "but its content is torch.int32"),
    ],
)
def test_parts_that_do_not_fit_are_one_sentence(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(GraphError, match=problem) as caught:
        assemble(**change)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(("graph 'g'", "unknown dtype"))


def test_an_attribute_that_a_kernel_lacks() -> None:
    with pytest.raises(KernelError, match="node 'out': kernel 'tiny_scale' has no attribute 'bias'"):
        assemble(**changed("out", attributes={"bias": 1}))


def test_a_constant_without_content_or_digest() -> None:
    graph = assemble(constants={"w": None})
    with pytest.raises(MosaicError, match="constant 'w' has neither content nor digest"):
        graph.digest()
