"""Graphs: nodes are kernels bound to tensors, edges are tensors.

    g = Graph("ffn")
    x = g.input("x", (128, 384), "float16")
    w = g.constant("w", weight)
    y = g.call("matmul", x, w, name="up")
    g.output(y)

A name of a graph, node or tensor is a letter or `_`, then letters, digits, `_` and dots.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NoReturn

import torch

from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import GraphError, KernelError
from mosaic.graph import digests as content
from mosaic.graph import validation
from mosaic.graph.kernel import Binding, Kernel, Spec, Value, find
from mosaic.graph.names import ARTICLES, checked_name, fresh_name, output_names
from mosaic.graph.order import find_cycle, is_convex, topological_order

Kind = Literal["input", "constant", "intermediate"]


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph: an input, a constant, or what a node makes (`intermediate`).

    `graph` is the graph that made it, None for a description that belongs to none.
    """

    name: str
    spec: Spec
    kind: Kind
    graph: Graph | None = field(default=None, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> str:
        return self.spec.dtype

    @property
    def bytes(self) -> int:
        """Bytes of its elements, stored densely."""
        return math.prod(self.spec.shape) * find_dtype(self.spec.dtype).bytes


@dataclass(frozen=True)
class Node:
    """A kernel applied to tensors, or a view (`kernel` None): the same bytes under another shape.

    `inputs` and `outputs` name tensors in the order of the kernel's roles; `attributes` holds all
    the kernel's attributes, defaults included; `binding` is None for a view.
    """

    name: str
    kernel: Kernel | None = field(hash=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict, hash=False)
    binding: Binding | None = field(default=None, hash=False)

    @property
    def is_view(self) -> bool:
        return self.kernel is None


class Graph:
    """A graph of kernels, built call by call; everything is checked as it is added."""

    def __init__(self, name: str) -> None:
        """Raises GraphError for a name that is none (see this module's docstring)."""
        self.name = checked_name(name, "a graph")
        self._tensors: dict[str, Tensor] = {}
        self._nodes: dict[str, Node] = {}
        self._constants: dict[str, torch.Tensor | None] = {}
        self._digests: dict[str, tuple[int, str]] = {}
        self._producers: dict[str, Node] = {}
        self._consumers: dict[str, list[Node]] = {}
        self._outputs: list[str] = []
        self._counters: dict[str, int] = {}
        self._order: tuple[Node, ...] | None = None

    def __repr__(self) -> str:
        return f"Graph({self.name!r}: {self.kernel_count} kernels, {len(self.inputs)} inputs, {len(self._outputs)} outputs)"

    # Building

    def input(self, name: str, shape: Sequence[int], dtype: str | torch.dtype) -> Tensor:
        """A tensor that is given at each run. Raises GraphError for a name, shape or dtype that is none, or a taken name."""
        spec = Spec(self._checked_shape(shape, f"input {name!r}"), find_dtype(dtype).name)
        return self._add_tensor(Tensor(name, spec, "input", self))

    def constant(self, name: str, tensor: torch.Tensor) -> Tensor:
        """A tensor with fixed content, such as a weight, kept detached and contiguous.

        It is not copied if it is contiguous already: do not change it afterwards.
        Raises GraphError for a name that is none or taken, or a tensor that has no dense elements of a known dtype.
        """
        if not isinstance(tensor, torch.Tensor):
            self._fail(f"constant {name!r} must be a PyTorch tensor, not a {type(tensor).__name__}")
        if tensor.layout is not torch.strided or tensor.is_meta:
            self._fail(f"constant {name!r} must be dense and have content; this tensor is {tensor.layout} on the device {tensor.device}")
        spec = Spec(self._checked_shape(tensor.shape, f"constant {name!r}"), find_dtype(tensor.dtype).name)
        made = self._add_tensor(Tensor(name, spec, "constant", self))
        self._set_constant(name, spec, tensor)
        return made

    def call(self, kernel: str | Kernel, /, *inputs: Tensor, name: str | None = None, **attributes: Value) -> Any:
        """Apply a kernel, named or given, to `inputs` in the order of its roles.

        Returns its output Tensor, named as the node; or, of a kernel with several outputs, a tuple of
        Tensors in the order of their roles, named `node.role`. The node's name defaults to the
        kernel's with a counter.
        Raises KernelError for an unknown kernel or attribute, GraphError for a taken name, a tensor that
        is not of this graph, or shapes and dtypes that don't meet.
        """
        if not isinstance(found := find(kernel) if isinstance(kernel, str) else kernel, Kernel):
            self._fail(f"call takes a kernel or the name of one, not a {type(found).__name__}")
        roles = [role.name for role in found.outputs]
        label = self._new_node_name(name, found.name, roles)
        for tensor in inputs:
            self._check_own(tensor, label)
        try:
            binding = found.bind([tensor.spec for tensor in inputs], attributes)
        except (GraphError, KernelError) as error:
            raise type(error)(f"graph {self.name!r}, node {label!r}: {error}") from None
        made = tuple(
            self._add_tensor(Tensor(output, spec, "intermediate", self))
            for output, spec in zip(output_names(label, roles), binding.outputs, strict=True)
        )
        names = tuple(tensor.name for tensor in inputs)
        self._add_node(Node(label, found, names, tuple(t.name for t in made), {**found.attributes, **attributes}, binding))
        return made if len(made) > 1 else made[0]

    def view(self, tensor: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
        """The same elements in the same order under another shape; no byte moves.

        Raises GraphError if the number of elements differs, or `tensor` is not of this graph.
        """
        label = self._new_node_name(name, "view", ["out"])
        self._check_own(tensor, label)
        spec = Spec(self._checked_shape(shape, f"view {label!r}"), tensor.dtype)
        if math.prod(spec.shape) != math.prod(tensor.shape):
            self._fail(f"view {label!r} cannot show {tensor.name!r}, {tensor.spec}, as {spec}: the number of elements differs")
        made = self._add_tensor(Tensor(label, spec, "intermediate", self))
        self._add_node(Node(label, None, (tensor.name,), (label,)))
        return made

    def output(self, *tensors: Tensor) -> None:
        """Declare tensors to be the graph's next outputs.

        Raises GraphError if one is not of this graph, is made by no node, or is an output already.
        """
        for tensor in tensors:
            self._check_own(tensor, "output")
            validation.check_output(self, tensor.name, self._outputs)
            self._outputs.append(tensor.name)

    @classmethod
    def from_parts(
        cls,
        name: str,
        tensors: Iterable[Tensor],
        nodes: Iterable[Node],
        outputs: Iterable[str],
        constants: Mapping[str, torch.Tensor | None],
        digests: Mapping[str, str] | None = None,
    ) -> Graph:
        """A graph of these parts, in any order; nodes are bound anew, and the whole is validated.

        `constants` gives each constant's content, or None where only its digest is known; `digests` the
        digests that are known already.
        Raises GraphError, or KernelError for an attribute that a kernel does not have.
        """
        graph = cls(name)
        for tensor in tensors:
            spec = Spec(graph._checked_shape(tensor.shape, f"tensor {tensor.name!r}"), find_dtype(tensor.dtype).name)
            graph._add_tensor(Tensor(tensor.name, spec, tensor.kind, graph))
            if tensor.kind == "constant":
                graph._set_constant(tensor.name, spec, constants.get(tensor.name))
                if digests is not None and tensor.name in digests:
                    graph._digests[tensor.name] = (graph._version(tensor.name), digests[tensor.name])
        for node in nodes:
            label = checked_name(node.name, f"graph {name!r}: a node")
            if label in graph._nodes:
                graph._fail(f"two nodes have the name {label!r}")
            graph._add_node(validation.bound(graph, node))
        graph._outputs = list(outputs)
        graph.validate()
        return graph

    # Reading

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes in a stable topological order. Raises GraphError if there is a cycle."""
        if self._order is None:
            nodes = list(self._nodes.values())
            number = {node.name: index for index, node in enumerate(nodes)}
            before = [[number[self._producers[t].name] for t in node.inputs if t in self._producers] for node in nodes]
            order = topological_order(before)
            if order is None:
                cycle = [nodes[index].name for index in find_cycle(before)]
                self._fail(f"the nodes {' -> '.join([*cycle, cycle[0]])} form a cycle")
            self._order = tuple(nodes[index] for index in order)
        return self._order

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors by name, in the order in which they were added."""
        return MappingProxyType(self._tensors)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the graph's inputs, in the order in which they were added."""
        return tuple(tensor.name for tensor in self._tensors.values() if tensor.kind == "input")

    @property
    def constants(self) -> Mapping[str, torch.Tensor | None]:
        """The constants' contents by name; None for one that was read without its weights."""
        return MappingProxyType(self._constants)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the graph's outputs, in the order in which they were declared."""
        return tuple(self._outputs)

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name. Raises GraphError, with the nearest names, if there is none."""
        return self._tensors[name] if name in self._tensors else self._unknown("tensor", name, self._tensors)

    def node(self, name: str) -> Node:
        """The node of that name. Raises GraphError, with the nearest names, if there is none."""
        return self._nodes[name] if name in self._nodes else self._unknown("node", name, self._nodes)

    def producer(self, tensor: str) -> Node | None:
        """The node that makes this tensor; None for inputs and constants. Raises GraphError for an unknown tensor."""
        return self._producers.get(self.tensor(tensor).name)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read this tensor, each once, as they were added. Raises GraphError for an unknown tensor."""
        return tuple(self._consumers.get(self.tensor(tensor).name, ()))

    def root(self, tensor: str) -> Tensor:
        """The tensor whose bytes this one shows: itself, or what is behind its views."""
        while (node := self.producer(tensor)) is not None and node.is_view:
            tensor = node.inputs[0]
        return self.tensor(tensor)

    @property
    def kernel_count(self) -> int:
        """How many nodes are kernels; views are not."""
        return sum(not node.is_view for node in self._nodes.values())

    def bytes_between(self) -> int:
        """Bytes that move between kernels through device memory when each node runs as a kernel of its own.

        Each tensor that one kernel makes and another reads counts once for the write, and once for
        each input that reads it; views pass their bytes on. Inputs, constants, and outputs that no
        kernel reads do not count.
        """
        reads: dict[str, int] = {}
        for node in self._nodes.values():
            for name in () if node.is_view else node.inputs:
                source = self.root(name)
                if source.kind == "intermediate":
                    reads[source.name] = reads.get(source.name, 0) + 1
        return sum(self._tensors[name].bytes * (1 + count) for name, count in reads.items())

    def validate(self) -> None:
        """Check the whole graph.

        Raises GraphError for a missing tensor, a tensor that two nodes or none make, shapes and dtypes
        that don't meet, a cycle, no outputs, or an output that nobody makes.
        """
        validation.check(self)

    def is_convex(self, nodes: Collection[str]) -> bool:
        """Whether no path leaves this group of nodes and returns to it. Raises GraphError for an unknown node."""
        before = {node.name: [self._producers[t].name for t in node.inputs if t in self._producers] for node in self.nodes}
        return is_convex([node.name for node in self.nodes], before, {self.node(name).name for name in nodes})

    def subgraph(self, nodes: Collection[str], *, name: str | None = None) -> Graph:
        """A group of nodes as a graph of its own, named as its first node unless `name` is given.

        Tensors from outside become inputs, constants stay constants, and tensors that are used
        outside become outputs; all keep their names. The group need not be convex.
        Raises GraphError for an unknown node, no nodes, or a group of which nothing is used outside.
        """
        group = {self.node(label).name for label in nodes}
        inside = [node for node in self.nodes if node.name in group]
        if not inside:
            self._fail("a subgraph needs at least one node")
        made = [output for node in inside for output in node.outputs]
        used = [t for t in made if t in self._outputs or any(user.name not in group for user in self.consumers(t))]
        if not used:
            self._fail(f"nothing that the nodes {', '.join(node.name for node in inside)} make is used outside of them")
        tensors: dict[str, Tensor] = {}
        for label in [label for node in inside for label in (*node.inputs, *node.outputs)]:
            tensor = self._tensors[label]
            kind: Kind = "input" if tensor.kind == "intermediate" and label not in made else tensor.kind
            tensors.setdefault(label, Tensor(label, tensor.spec, kind))
        contents = {label: self._constants[label] for label, tensor in tensors.items() if tensor.kind == "constant"}
        digests = {label: self.constant_digest(label) for label in contents}
        return Graph.from_parts(name or f"{self.name}.{inside[0].name}", tensors.values(), inside, used, contents, digests)

    def constant_digest(self, name: str) -> str:
        """SHA-256, in hexadecimal, of a constant's dtype, shape and bytes. Raises GraphError if `name` is no constant."""
        if name not in self._constants:
            self._unknown("constant", name, self._constants)
        version, known = self._version(name), self._digests.get(name)
        if known is None or known[0] != version:
            if (tensor := self._constants[name]) is None:
                self._fail(f"constant {name!r} has neither content nor digest")
            known = self._digests[name] = (version, content.constant_digest(tensor))
        return known[1]

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the graph's structure and names, its kernels' digests and its constants' digests."""
        return content.graph_digest(self)

    # Inside

    def _add_tensor(self, tensor: Tensor) -> Tensor:
        checked_name(tensor.name, f"graph {self.name!r}: {ARTICLES[tensor.kind]}")
        if self._is_taken(tensor.name):
            self._fail(f"the name {tensor.name!r} is taken; give this {tensor.kind} another")
        self._tensors[tensor.name] = tensor
        return tensor

    def _set_constant(self, name: str, spec: Spec, tensor: torch.Tensor | None) -> None:
        if tensor is not None and (tensor.shape != spec.shape or tensor.dtype != find_dtype(spec.dtype).torch):
            self._fail(f"constant {name!r} is declared {spec}, but its content is {tensor.dtype} of the shape {tuple(tensor.shape)}")
        self._constants[name] = None if tensor is None else tensor.detach().contiguous()

    def _version(self, name: str) -> int:
        """Rises with each change in place of a constant, as far as PyTorch counts them: its digest is then computed anew."""
        tensor = self._constants[name]
        return 0 if tensor is None or tensor.is_inference() else tensor._version

    def _add_node(self, node: Node) -> None:
        for output in node.outputs:
            if (other := self._producers.get(output)) is not None:
                self._fail(f"tensor {output!r} is made by two nodes, {other.name!r} and {node.name!r}")
            self._producers[output] = node
        for name in dict.fromkeys(node.inputs):
            self._consumers.setdefault(name, []).append(node)
        self._nodes[node.name] = node
        self._order = None

    def _is_taken(self, name: str) -> bool:
        return name in self._nodes or name in self._tensors

    def _new_node_name(self, name: str | None, base: str, roles: Sequence[str]) -> str:
        if name is None:
            return fresh_name(base, roles, self._counters, self._is_taken)
        checked_name(name, f"graph {self.name!r}: a node")
        for label in (name, *output_names(name, roles)):  # all of them before the first is added
            if self._is_taken(label):
                self._fail(f"the name {label!r} is taken; give the node {name!r} another")
        return name

    def _check_own(self, tensor: Tensor, where: str) -> None:
        if isinstance(tensor, torch.Tensor):
            self._fail(f"{where!r} was given a PyTorch tensor; make it a constant of the graph first")
        if not isinstance(tensor, Tensor):
            self._fail(f"{where!r} was given a {type(tensor).__name__}, not a tensor of the graph")
        if self._tensors.get(tensor.name) is not tensor:
            home = "no graph" if tensor.graph is None else f"graph {tensor.graph.name!r}"
            self._fail(f"{where!r} was given the tensor {tensor.name!r} of {home}; use tensors that this graph returned")

    def _checked_shape(self, shape: Sequence[int], where: str) -> tuple[int, ...]:
        try:
            sizes = tuple(operator.index(size) for size in shape)
        except TypeError:
            self._fail(f"{where} has the shape {shape!r}, which is no sequence of whole numbers")
        if any(size < 1 for size in sizes):
            self._fail(f"{where} has the shape {sizes}, whose sizes are not all at least 1")
        return sizes

    def _unknown(self, what: str, name: str, known: Iterable[str]) -> NoReturn:
        near = difflib.get_close_matches(str(name), list(known), n=3)
        self._fail(f"it has no {what} {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))

    def _fail(self, problem: str) -> NoReturn:
        raise GraphError(f"graph {self.name!r}: {problem}")
