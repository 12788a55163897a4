"""Atomic updates of one element, from any block at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mosaic.targets.cpu.context import Context
from mosaic.targets.cpu.nodes import Node, dtype_of

if TYPE_CHECKING:
    from mosaic.targets.cpu.expressions import Expressions


def _update(operation: str) -> Callable[[Context, Expressions, Node], None]:
    """`T.atomic_add(C[i], x)`; nothing where the element is outside a global buffer."""

    def operator(context: Context, emit: Expressions, call: Node) -> None:
        load = call.args[0].args[0]
        view = context.written_view(load.buffer)
        indices = emit.wrapped(view, load.indices)
        conditions = emit.in_bounds(view, indices) if view.is_global else []
        if conditions is None:
            return
        with context.bounds.settled(conditions):
            value = emit.cast(emit.value(call.args[1]), context.scalar(dtype_of(call.args[1])), view.scalar)
        context.sections.add("atomic")
        guard = f"if ({emit.all_of(conditions)}) " if conditions else ""
        context.line(f"{guard}ms_atomic_{operation}_{view.scalar.tag}(&{view.pointer}[{emit.index(view, indices)}], {value});")

    return operator


def _previous(operation: str) -> Callable[[Expressions, Context, Node], str]:
    """`T.atomic_add(C[i], x, return_prev=True)`: what was there before; the safe value where the element is outside."""

    def intrinsic(emit: Expressions, context: Context, call: Node) -> str:
        load = call.args[0].args[0]
        view = context.view(load.buffer) if operation == "load" else context.written_view(load.buffer)
        indices = emit.wrapped(view, load.indices)
        conditions = emit.in_bounds(view, indices) if view.is_global else []
        if conditions is None:
            return emit.safe_value(load.buffer)
        context.sections.add("atomic")
        arguments = f"&{view.pointer}[{emit.index(view, indices)}]"
        if operation != "load":
            arguments += ", " + emit.cast(emit.value(call.args[1]), context.scalar(dtype_of(call.args[1])), view.scalar)
        text = f"ms_atomic_{operation}_{view.scalar.tag}({arguments})"
        return f"({emit.all_of(conditions)} ? {text} : {emit.safe_value(load.buffer)})" if conditions else text

    return intrinsic


VALUES: Final[dict[str, Callable[[Expressions, Context, Node], str]]] = {
    "atomic_load_elem_op": _previous("load"),
    **{f"atomic_{operation}_ret_elem_op": _previous(operation) for operation in ("add", "max", "min")},
}
"""The atomic operators that have a value."""

OPERATORS: Final[dict[str, Callable[[Context, Expressions, Node], None]]] = {
    f"atomic_{operation}_elem_op": _update(operation) for operation in ("add", "max", "min", "or", "store")
}
