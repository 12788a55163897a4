"""A typed, read-only view of the TVM nodes of a tile program: what the C emitter asks of them.

TVM's Python objects carry no types; everything else in this package goes through these functions,
so that `Any` stands for "a TVM node" and nothing else.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import tilelang  # noqa: F401  (puts TileLang's own tvm on the path)
from tvm import arith, tirx

Node = Any
"""A TVM node: an expression, a statement, a buffer or a variable."""


@dataclass(frozen=True)
class Region:
    """A box of a buffer: `minimum[d] <= index[d] < minimum[d] + extent[d]`."""

    buffer: Node
    minimum: tuple[Node, ...]
    extent: tuple[Node, ...]

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which the region has more than one element."""
        return tuple(axis for axis, extent in enumerate(self.extent) if constant(extent) != 1)


def kind(node: Node) -> str:
    """The node's class: "For", "BufferLoad", "Add", ..."""
    return type(node).__name__


def dtype_of(node: Node) -> str:
    """The dtype of an expression or a buffer, as TileLang names it."""
    return str(node.dtype)


def constant(node: Node) -> int | None:
    """The value of an integer constant, None for any other expression."""
    if isinstance(node, int):
        return int(node)
    return int(node.value) if kind(node) == "IntImm" else None


def operator_name(call: Node) -> str:
    """The name of a call's operator without its dialect: "copy" for `tl.tileop.copy`, "exp" for `tirx.exp`."""
    return str(getattr(call.op, "name", call.op)).rpartition(".")[2]


def scope_of(buffer: Node) -> str:
    """The buffer's memory: "global", "shared", "shared.dyn", "local.fragment", ..."""
    return str(buffer.scope())


def is_global(buffer: Node) -> bool:
    return scope_of(buffer) == "global"


def is_buffer_like(node: Node) -> bool:
    """Whether a tile operator's argument is a region of a buffer, and not a value."""
    return kind(node) == "Call" and operator_name(node) == "region"


def region_of(node: Node) -> Region:
    """What a `T.region(load, access, *extents)` argument of a tile operator covers."""
    load, extents = node.args[0], tuple(node.args[2:])
    return Region(load.buffer, tuple(index.base if kind(index) == "Ramp" else index for index in load.indices), extents)


def strides_of(buffer: Node) -> tuple[Node, ...]:
    """Elements between neighbours along each axis; those of a compact row-major buffer where none are declared."""
    if len(buffer.strides):
        return tuple(buffer.strides)
    strides: list[Node] = []
    step: Node = tirx.IntImm("int32", 1)
    for extent in reversed(list(buffer.shape)):
        strides.append(step)
        step = step * extent
    return tuple(reversed(strides))


def statements(node: Node) -> Iterator[Node]:
    """The statements that follow each other in `node`."""
    if kind(node) == "SeqStmt":
        for child in node.seq:
            yield from statements(child)
    else:
        yield node


def reads_memory(node: Node) -> bool:
    """Whether an expression loads from a buffer or calls an operator, so that its value is no function of indices alone."""
    found = False

    def visit(child: Node) -> None:
        nonlocal found
        found = found or kind(child) in ("BufferLoad", "Call")

    tirx.stmt_functor.post_order_visit(node, visit)
    return found


def loads_of(node: Node) -> list[Node]:
    """The loads from buffers that occur in an expression."""
    found: list[Node] = []

    def visit(child: Node) -> None:
        if kind(child) == "BufferLoad":
            found.append(child)

    tirx.stmt_functor.post_order_visit(node, visit)
    return found


def calls(node: Node, names: Container[str]) -> bool:
    """Whether an operator of these names is called in an expression."""
    found = False

    def visit(child: Node) -> None:
        nonlocal found
        found = found or (kind(child) == "Call" and operator_name(child) in names)

    tirx.stmt_functor.post_order_visit(node, visit)
    return found


def runs_along(variable: Node, access: Node) -> bool:
    """Whether a load or store reaches the next element in memory when `variable` grows by one."""
    *outer, last = access.indices
    if constant(strides_of(access.buffer)[-1]) != 1 or any(uses(index, [variable]) for index in outer):
        return False
    linear = arith.detect_linear_equation(last, [variable])
    return len(linear) == 2 and constant(linear[0]) == 1


def is_variable(node: Node) -> bool:
    return kind(node) in ("Var", "SizeVar")


def variables_of(node: Node) -> list[Node]:
    """The variables that occur in an expression."""
    found: list[Node] = []

    def visit(child: Node) -> None:
        if is_variable(child):
            found.append(child)

    tirx.stmt_functor.post_order_visit(node, visit)
    return found


def uses(node: Node, variables: list[Node]) -> bool:
    """Whether any of `variables` occurs in `node`."""
    return bool(variables) and any(found.same_as(variable) for found in variables_of(node) for variable in variables)
