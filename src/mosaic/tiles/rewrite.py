"""Rebuilding TIR statements with other variables and buffers.

`Rewriter` rebuilds a statement bottom-up. Every variable that a loop or a binding defines becomes
a new one, so that a body can be inserted several times without defining a variable twice.
Subclasses override `load`, `store`, `region` and `call` to change accesses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import tilelang  # noqa: F401  (puts its own tvm on the path)
import tvm
from tvm import tirx

from mosaic.errors import ReadError
from mosaic.tiles.anatomy import Anatomy, assemble, dissect, sequence
from mosaic.tiles.nodes import is_region

_BINARY: Final = {
    name: getattr(tirx, name)
    for name in ("Add", "Sub", "Mul", "Div", "Mod", "FloorDiv", "FloorMod", "Min", "Max", "EQ", "NE", "LT", "LE", "GT", "GE", "And", "Or")
}
_LEAVES: Final = ("IntImm", "FloatImm", "StringImm")


class Rewriter:
    """Rebuilds statements; `variables` and `buffers` say what is replaced, and grow with what is defined."""

    def __init__(self, variables: Mapping[Any, Any] | None = None, buffers: Mapping[Any, Any] | None = None) -> None:
        self.variables: dict[Any, Any] = dict(variables or {})
        self.buffers: dict[Any, Any] = dict(buffers or {})
        for old, new in self.buffers.items():
            self.variables.setdefault(old.data, new.data)

    # -- what subclasses change

    def load(self, node: Any) -> Any:
        """An element read, outside regions."""
        return tirx.BufferLoad(self.buffer(node.buffer), self.exprs(node.indices), node.predicate if hasattr(node, "predicate") else None)

    def store(self, node: Any) -> Any:
        """An element written; a statement."""
        return tirx.BufferStore(self.buffer(node.buffer), self.expr(node.value), self.exprs(node.indices), node.predicate)

    def region(self, node: Any) -> Any:
        """A region that a tile operator reads or writes."""
        load = node.args[0]
        base = tirx.BufferLoad(self.buffer(load.buffer), self.exprs(load.indices))
        return tirx.Call(node.dtype, node.op, [base, *self.exprs(node.args[1:])], self.annotations(node.annotations))

    def call(self, node: Any) -> Any:
        """A statement that is a call, such as a tile operator; a statement."""
        return tirx.Evaluate(self.expr(node))

    # -- the rest

    def variable(self, old: Any) -> Any:
        return self.variables.get(old, old)

    def define(self, old: Any) -> Any:
        new = tirx.Var(str(old.name), old.dtype if getattr(old, "type_annotation", None) is None else old.type_annotation)
        self.variables[old] = new
        return new

    def buffer(self, old: Any) -> Any:
        if old in self.buffers:
            return self.buffers[old]
        data = self.variables.get(old.data)
        shape = [self.expr(size) for size in old.shape]
        if data is None and all(a is b or a.same_as(b) for a, b in zip(shape, old.shape, strict=True)):
            return old
        return self.redeclare(old, shape, old.data if data is None else data)

    def redeclare(self, old: Any, shape: Sequence[Any], data: Any, name: str | None = None) -> Any:
        """The same buffer with another shape, pointer or name."""
        new = tirx.decl_buffer(
            list(shape),
            old.dtype,
            name or str(old.name),
            data=data,
            strides=self.exprs(old.strides) if old.strides else None,
            elem_offset=old.elem_offset,
            scope=str(old.scope()),
            data_alignment=old.data_alignment,
            offset_factor=old.offset_factor,
        )
        self.buffers[old] = new
        return new

    def copy_buffer(self, old: Any, name: str | None = None) -> Any:
        """A buffer of its own memory, like `old`; it replaces `old` from here on."""
        pointer = old.data
        data = tirx.Var(name or str(pointer.name), pointer.type_annotation)
        self.variables[pointer] = data
        return self.redeclare(old, self.exprs(old.shape), data, name)

    def exprs(self, nodes: Sequence[Any]) -> list[Any]:
        return [self.expr(node) for node in nodes]

    def expr(self, node: Any) -> Any:
        kind = type(node).__name__
        if kind in ("int", *_LEAVES):
            return node
        if kind in ("Var", "SizeVar"):
            return self.variable(node)
        if kind in _BINARY:
            return _BINARY[kind](self.expr(node.a), self.expr(node.b))
        match kind:
            case "BufferLoad":
                return self.load(node)
            case "Call":
                return self.region(node) if is_region(node) else self.plain_call(node)
            case "Cast":
                return tirx.Cast(node.dtype, self.expr(node.value))
            case "Not":
                return tirx.Not(self.expr(node.a))
            case "Select":
                return tirx.Select(self.expr(node.condition), self.expr(node.true_value), self.expr(node.false_value))
            case "Ramp":
                return tirx.Ramp(self.expr(node.base), self.expr(node.stride), node.lanes)
            case "Broadcast":
                return tirx.Broadcast(self.expr(node.value), node.lanes)
            case "Let":
                value = self.expr(node.value)
                return tirx.Let(self.define(node.var), value, self.expr(node.body))
        raise ReadError(f"the expression {node} is a {kind}, which cannot be rewritten")

    def plain_call(self, node: Any) -> Any:
        return tirx.Call(node.dtype, node.op, self.exprs(node.args), self.annotations(node.annotations))

    def stmt(self, node: Any) -> Any:
        kind = type(node).__name__
        match kind:
            case "SeqStmt":
                return sequence([self.stmt(each) for each in node.seq])
            case "For":
                return self.loop(node)
            case "IfThenElse":
                otherwise = None if node.else_case is None else self.stmt(node.else_case)
                return tirx.IfThenElse(self.expr(node.condition), self.stmt(node.then_case), otherwise)
            case "Bind":
                value = self.expr(node.value)
                return tirx.Bind(self.define(node.var), value)
            case "AttrStmt":
                return tirx.AttrStmt(node.node, node.attr_key, self.expr(node.value), self.stmt(node.body))
            case "BufferStore":
                return self.store(node)
            case "Evaluate":
                return self.call(node.value) if type(node.value).__name__ == "Call" else node
            case "While":
                return tirx.While(self.expr(node.condition), self.stmt(node.body))
            case "SBlockRealize":
                return self.sblock(node)
            case "DeclBuffer":
                return tirx.DeclBuffer(self.buffer(node.buffer))
            case "AllocBuffer":
                return tirx.AllocBuffer(self.copy_buffer(node.buffer), node.annotations)
        raise ReadError(f"a {kind} statement cannot be rewritten")

    def loop(self, node: Any) -> Any:
        low, extent = self.expr(node.min), self.expr(node.extent)
        loop_var = self.define(node.loop_var)
        return tirx.For(
            loop_var, low, extent, node.kind, self.stmt(node.body), node.thread_binding, self.annotations(node.annotations), node.step
        )

    def sblock(self, node: Any) -> Any:
        block = node.block
        allocations = [self.copy_buffer(b) for b in block.alloc_buffers]
        body = self.stmt(block.body)
        inner = tirx.SBlock(
            block.iter_vars,
            [],
            [],
            block.name_hint,
            body,
            block.init,
            allocations,
            block.match_buffers,
            self.annotations(block.annotations),
        )
        return tirx.SBlockRealize(node.iter_values, node.predicate, inner)

    def annotations(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        """The annotations of a block, a loop or a call, with what they say of variables and buffers replaced.

        Maps are keyed by pointers; a barrier is the element of a buffer.
        """
        found: dict[str, Any] = {}
        for key, value in notes.items():
            kind = type(value).__name__
            if kind == "Map":
                found[str(key)] = {self.variable(k) if type(k).__name__ == "Var" else k: v for k, v in value.items()}
            else:
                found[str(key)] = self.expr(value) if isinstance(value, tirx.PrimExpr) else value
        return found


def bind(func: Any, names: Mapping[str, str], sizes: Mapping[str, int] | None = None, name: str | None = None) -> Any:
    """A copy of a PrimFunc with its own variables and buffers, its tensors renamed.

    before   kernel(A[m, 64], B[m, 64])     names {"A": "x", "B": "y"}, sizes {"m": 77}
    after    kernel(x[77, 64], y[77, 64])

    `sizes` gives the dynamic shape variables by name. Tensors not in `names` keep theirs. Tensors that get one
    name, which the kernel must only read, become one parameter.
    """
    anatomy = dissect(func)
    rewriter = Rewriter()
    for handle in func.params:
        for size in func.buffer_map[handle].shape:
            if type(size).__name__ in ("Var", "SizeVar") and str(size.name) in (sizes or {}):
                rewriter.variables[size] = tirx.IntImm(str(size.dtype), (sizes or {})[str(size.name)])
    params: dict[str, tuple[Any, Any]] = {}
    for handle in func.params:
        old = func.buffer_map[handle]
        label = names.get(str(old.name), str(old.name))
        if label in params:
            buffer = rewriter.buffers[old] = params[label][1]
            rewriter.variables[old.data] = buffer.data
        else:
            params[label] = tirx.Var(f"{label}_handle", "handle"), rewriter.copy_buffer(old, label)
    return rebuild(anatomy, rewriter, list(params.values()), name)


def rebuild(anatomy: Anatomy, rewriter: Rewriter, params: Sequence[tuple[Any, Any]], name: str | None = None) -> Any:
    """The PrimFunc of `anatomy`, rewritten throughout, with these parameters."""
    simplify = tvm.arith.Analyzer().simplify
    grid = []
    for loop in anatomy.grid:
        extent = simplify(rewriter.expr(loop.extent))
        loop_var = rewriter.define(loop.loop_var)
        binding = loop.thread_binding
        thread = tirx.IterVar(None, tirx.Var(str(binding.var.name), "int32"), binding.iter_type, binding.thread_tag)
        grid.append(tirx.For(loop_var, loop.min, extent, loop.kind, tirx.Evaluate(tirx.IntImm("int32", 0)), thread, loop.annotations))
    binds = []
    for each in anatomy.binds:
        binds.append(tirx.Bind(rewriter.define(each.var), each.value))
    allocations = [rewriter.copy_buffer(buffer) for buffer in anatomy.allocations]
    body = [rewriter.stmt(stmt) for stmt in anatomy.body]
    frame = Anatomy(anatomy.func, anatomy.top, tuple(grid), tuple(binds), anatomy.root)
    return assemble(
        frame, params=params, body=body, allocations=allocations, annotations=rewriter.annotations(anatomy.block.annotations), name=name
    )
