"""Which operators of a kernel touch which of its fragments, and how: the tree of scopes that a program's fragments live in.

An operator is a leaf of this tree: one tile operator, one nest of parallel loops, or one statement. What binds a fragment's layout is an
anchor: an operand of a matrix product (its instruction says where each element lies), a layout that the author annotated, the result of a
reduction. Everything else takes the layout it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm.tirx.stmt_functor import post_order_visit

from mosaic.tiles.nodes import is_region, op_name

Mode = Literal["read", "write", "update"]
"""write: every element, without looking at it; update: anything else that changes the fragment."""

Anchor = tuple[Any, ...]
"""What binds a layout; equal anchors bind equal layouts."""

FRAGMENT: Final = "local.fragment"
_PARALLEL: Final = 1  # tirx.ForKind.PARALLEL
_READ, _WRITE = 1, 2  # the bits of a region's access


@dataclass(eq=False)
class Operator:
    """A leaf. `uses`: the fragments it touches; `anchors`: those of them whose layout it binds."""

    node: Any
    kind: str
    uses: dict[Any, Mode]
    anchors: dict[Any, Anchor] = field(default_factory=dict)
    parent: Scope | None = None


@dataclass(eq=False)
class Scope:
    """Statements in order: of the whole kernel, a loop, a branch, or just a sequence (`plain`)."""

    node: Any
    kind: Literal["plain", "loop", "branch"]
    children: list[Scope | Operator] = field(default_factory=list)
    parent: Scope | None = None

    def operators(self) -> Iterator[Operator]:
        """Those within, in program order."""
        for child in self.children:
            if isinstance(child, Operator):
                yield child
            else:
                yield from child.operators()


def read_uses(body: Any, annotated: frozenset[Any] = frozenset()) -> Scope:
    """The tree of a kernel's body. `annotated`: the pointers of buffers whose layout the author gave."""
    root = Scope(body, "plain")
    _grow(root, body, annotated)
    return root


def opaque(root: Scope) -> set[Any]:
    """Fragments whose address is taken: other names may lead to them, so that they can't be renamed."""
    return {buffer for operator in root.operators() if operator.kind == "opaque" for buffer in operator.uses}


def _grow(scope: Scope, node: Any, annotated: frozenset[Any]) -> None:
    kind = type(node).__name__

    def inner(child_kind: Literal["plain", "loop", "branch"], *bodies: Any) -> None:
        for body in bodies:
            if body is not None:
                child = Scope(body if child_kind == "branch" else node, child_kind, parent=scope)
                scope.children.append(child)
                _grow(child, body, annotated)

    if kind == "SeqStmt":
        for each in node.seq:
            _grow(scope, each, annotated)
    elif (kind == "For" and int(node.kind) != _PARALLEL and not _loads_only(node)) or kind == "While":
        inner("loop", node.body)
    elif kind == "IfThenElse":
        inner("branch", node.then_case, node.else_case)
    elif kind in ("AttrStmt", "SBlock"):
        inner("plain", node.body)
    elif kind == "SBlockRealize":
        inner("plain", node.block.body)
    else:
        operator = _operator(node, annotated)
        operator.parent = scope
        scope.children.append(operator)


def _loads_only(node: Any) -> bool:
    """Whether a loop holds plain element accesses alone: a vectorized or unrolled loop of stores is one operator."""
    if "num_stages" in node.annotations:
        return False
    body = node.body
    while type(body).__name__ == "For":
        body = body.body
    return type(body).__name__ == "BufferStore"


def _operator(node: Any, annotated: frozenset[Any]) -> Operator:
    kind = type(node).__name__
    if kind == "Evaluate" and type(node.value).__name__ == "Call":
        found = _tile_operator(node)
    else:
        found = Operator(node, "loop" if kind == "For" else "statement", _element_uses(node))
        _mark_addresses(found)
    for buffer, mode in found.uses.items():
        if buffer.data in annotated and mode != "read":
            found.anchors.setdefault(buffer, ("annotated", str(buffer.name)))
    return found


def _tile_operator(node: Any) -> Operator:
    call = node.value
    name = op_name(call).rpartition(".")[2]
    uses: dict[Any, Mode] = {}
    for argument in call.args:
        if is_region(argument) and _is_fragment(argument.args[0].buffer):
            _note(uses, argument.args[0].buffer, _region_mode(argument))
    regions = [argument for argument in call.args if is_region(argument)]
    found = Operator(node, name, uses)
    if name == "reduce" and regions[1].args[0].buffer in uses:
        target = regions[1].args[0].buffer
        if not _is_true(call.args[4]):
            uses[target] = "update"
        if regions[0].args[0].buffer in uses:
            found.anchors[regions[0].args[0].buffer] = ("matrix", *_shape(regions[0].args[0].buffer))
        found.anchors[target] = ("reduce", str(regions[0].args[0].buffer.name), str(call.args[3]), *_shape(target))
    elif name == "gemm":
        _product(found, call, regions)
    elif not regions:
        _mark_addresses(found)
    return found


def _product(found: Operator, call: Any, regions: list[Any]) -> None:
    """The anchors of a product: its arguments are A, B, C, two transpositions, M, N, K, the warp policy, whether C is cleared."""
    first, second, target = (region.args[0].buffer for region in regions[:3])
    if target in found.uses and _is_true(call.args[9]):
        found.uses[target] = "write"
    flags = tuple(str(argument) for argument in call.args[3:9])
    notes = tuple(sorted(f"{key}={value}" for key, value in (call.annotations or {}).items()))
    # Where C lies does not depend on K, nor on how the operands are transposed.
    common = (str(first.dtype), str(second.dtype), str(target.dtype), str(first.scope()), str(second.scope()), notes)
    if target in found.uses:
        found.anchors[target] = ("c", flags[2], flags[3], flags[5], *common)
    for role, operand in (("a", first), ("b", second)):
        if operand in found.uses:
            found.anchors[operand] = (role, *flags, *common)


def _mark_addresses(found: Operator) -> None:
    """An operator that hands out a fragment's pointer is opaque."""
    pointers: list[Any] = []

    def visit(node: Any) -> None:
        if type(node).__name__ == "Call" and op_name(node).rpartition(".")[2] in ("address_of", "access_ptr", "tvm_access_ptr"):
            for argument in node.args:
                if type(argument).__name__ == "BufferLoad" and _is_fragment(argument.buffer):
                    pointers.append(argument.buffer)

    post_order_visit(found.node, visit)
    for buffer in pointers:
        found.uses[buffer] = "update"
        found.kind = "opaque"


def _element_uses(node: Any) -> dict[Any, Mode]:
    uses: dict[Any, Mode] = {}
    full = _written_whole(node)

    def visit(child: Any) -> None:
        kind = type(child).__name__
        if kind == "BufferLoad" and _is_fragment(child.buffer):
            _note(uses, child.buffer, "read")
        elif kind == "BufferStore" and _is_fragment(child.buffer):
            _note(uses, child.buffer, "write" if any(child.buffer.same_as(buffer) for buffer in full) else "update")

    post_order_visit(node, visit)
    return uses


def _written_whole(node: Any) -> list[Any]:
    """Fragments of which a nest of loops stores every element: its stores are unconditional and indexed by the loops themselves."""
    extents: dict[Any, int] = {}
    while type(node).__name__ == "For":
        if type(node.extent).__name__ == "IntImm" and int(node.min) == 0:
            extents[node.loop_var] = int(node.extent)
        node = node.body
    stores = list(node.seq) if type(node).__name__ == "SeqStmt" else [node]
    found = []
    for store in stores:
        if type(store).__name__ != "BufferStore" or not _is_fragment(store.buffer):
            continue
        indices = list(store.indices)
        distinct = all(type(index).__name__ == "Var" for index in indices) and len({hash(index) for index in indices}) == len(indices)
        if distinct and [extents.get(index) for index in indices] == _shape(store.buffer):
            found.append(store.buffer)
    return found


def _note(uses: dict[Any, Mode], buffer: Any, mode: Mode) -> None:
    """An element that is read and written, in whichever order, is updated."""
    before = uses.get(buffer)
    uses[buffer] = mode if before in (None, mode) else "update"


def _region_mode(region: Any) -> Mode:
    access = int(region.args[1])
    if not access & _WRITE:
        return "read"
    load = region.args[0]
    whole = [int(i) if type(i).__name__ == "IntImm" else -1 for i in load.indices] == [0] * len(load.indices)
    extents = [int(extent) if type(extent).__name__ == "IntImm" else -1 for extent in region.args[2:]]
    return "write" if not access & _READ and whole and extents == _shape(load.buffer) else "update"


def _is_fragment(buffer: Any) -> bool:
    return str(buffer.scope()) == FRAGMENT


def _shape(buffer: Any) -> list[int]:
    return [int(extent) for extent in buffer.shape]


def bytes_of(buffer: Any, bits: int) -> int:
    """The bytes of a fragment's elements."""
    return math.prod(_shape(buffer)) * bits // 8


def _is_true(node: Any) -> bool:
    return bool(int(getattr(node, "value", node)))
