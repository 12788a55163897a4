"""What makes a graph well formed, checked on the whole graph at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from typing import TYPE_CHECKING

from mosaic.errors import GraphError, KernelError
from mosaic.graph.names import ARTICLES

if TYPE_CHECKING:
    from mosaic.graph.graph import Graph, Node


def check(graph: Graph) -> None:
    """Raise GraphError for the first thing about `graph` that makes no sense (listed at Graph.validate)."""
    for node in graph._nodes.values():
        bound(graph, node)
        if node.name in graph.tensors and node.name not in node.outputs:
            raise GraphError(f"graph {graph.name!r}: {node.name!r} names a node and also a tensor that it does not make")
    for tensor in graph.tensors.values():
        if tensor.kind == "intermediate" and graph.producer(tensor.name) is None:
            raise GraphError(f"graph {graph.name!r}: no node makes the tensor {tensor.name!r}")
    _ = graph.nodes  # raises if there is a cycle
    if not graph.outputs:
        raise GraphError(f"graph {graph.name!r}: it has no outputs; declare at least one with `output`")
    for index, name in enumerate(graph.outputs):
        check_output(graph, name, graph.outputs[:index])


def check_tensors(graph: Graph, node: Node) -> None:
    """Raise GraphError if a tensor that `node` names is missing, or it makes an input or a constant."""
    for name in (*node.inputs, *node.outputs):
        if name not in graph.tensors:
            raise GraphError(f"graph {graph.name!r}, node {node.name!r}: the tensor {name!r} is missing")
    for name in node.outputs:
        if (tensor := graph.tensors[name]).kind != "intermediate":
            raise GraphError(f"graph {graph.name!r}, node {node.name!r}: it makes {name!r}, which is {ARTICLES[tensor.kind]} of the graph")


def check_output(graph: Graph, name: str, before: Collection[str]) -> None:
    """Raise GraphError if the tensor `name` cannot be an output after those in `before`."""
    if name not in graph.tensors:
        raise GraphError(f"graph {graph.name!r}: the output {name!r} is missing among its tensors")
    if (tensor := graph.tensors[name]).kind != "intermediate":
        raise GraphError(f"graph {graph.name!r}: the output {name!r} is {ARTICLES[tensor.kind]}, which no node makes")
    if name in before:
        raise GraphError(f"graph {graph.name!r}: {name!r} is an output twice")


def bound(graph: Graph, node: Node) -> Node:
    """`node`, bound to the specs of its inputs in `graph`.

    Raises GraphError if they don't meet the kernel's roles, or what follows is not what its outputs
    are declared to be; KernelError for an attribute that the kernel does not have.
    """
    check_tensors(graph, node)
    where = f"graph {graph.name!r}, node {node.name!r}"
    inputs = [graph.tensors[name].spec for name in node.inputs]
    outputs = [graph.tensors[name].spec for name in node.outputs]
    if node.kernel is None:
        if len(inputs) != 1 or len(outputs) != 1 or node.attributes:
            raise GraphError(f"{where}: a view has one input, one output and no attributes")
        if inputs[0].dtype != outputs[0].dtype or math.prod(inputs[0].shape) != math.prod(outputs[0].shape):
            raise GraphError(f"{where}: it cannot show {node.inputs[0]!r}, {inputs[0]}, as {outputs[0]}")
        return node
    try:
        binding = node.kernel.bind(inputs, node.attributes)
    except (GraphError, KernelError) as error:
        raise type(error)(f"{where}: {error}") from None
    if len(binding.outputs) != len(outputs):
        raise GraphError(f"{where}: kernel {node.kernel.name!r} has {len(binding.outputs)} outputs, not {len(outputs)}")
    for name, declared, follows in zip(node.outputs, outputs, binding.outputs, strict=True):
        if declared != follows:
            raise GraphError(f"{where}: its output {name!r} is declared {declared}, but {follows} follows from its inputs")
    return dataclasses.replace(node, binding=binding, attributes={**node.kernel.attributes, **node.attributes})
