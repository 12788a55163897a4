"""Programs as bytes, for another process: `dump` and `restore`.

TVM's own form keeps all of a program but that the coordinates of TileLang's layouts are placeholders, the same objects in every layout:
what is read back has others of the same names, and its layouts cannot be evaluated. They are built anew with the placeholders here.

before   Layout((64, 128) -> (_i + 1, 128), ...)       read back: `_i` is any variable
after    Layout((64, 128) -> (64, 128), ...)
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import tilelang
import tvm_ffi
from tvm.tirx.stmt_functor import post_order_visit, substitute

from mosaic.tiles.anatomy import assemble, dissect
from mosaic.tiles.rewrite import Rewriter


def dump(func: Any) -> bytes:
    """A PrimFunc as bytes."""
    return pickle.dumps(func)


def restore(data: bytes) -> Any:
    """The PrimFunc that was dumped. The bytes must be one's own: reading a pickle runs what is in it."""
    func = pickle.loads(data)
    anatomy = dissect(func)
    rewriter = _Relinking()
    rewriter.buffers |= {buffer: buffer for buffer in func.buffer_map.values()}
    allocations = [rewriter.copy_buffer(buffer) for buffer in anatomy.allocations]
    body = [rewriter.stmt(stmt) for stmt in anatomy.body]
    params = [(p, func.buffer_map[p]) for p in func.params if p in func.buffer_map]
    notes = rewriter.annotations(anatomy.block.annotations)
    return assemble(anatomy, params=params, body=body, allocations=allocations, annotations=notes)


class _Relinking(Rewriter):
    def annotations(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        found = super().annotations(notes)
        return {
            key: {k: _linked(v) for k, v in value.items()} if isinstance(value, dict) else _linked(value) for key, value in found.items()
        }


def _linked(value: Any) -> Any:
    """A layout with this process's placeholders; anything else as it is."""
    if type(value).__name__ not in ("Layout", "Fragment"):
        return value
    names = [str(variable.name) for variable in value.get_forward_vars()]
    shape = [int(extent) for extent in value.get_input_shape()]
    index = list(value.get_forward_index())
    if type(value).__name__ == "Layout":
        return tilelang.layout.Layout(shape, lambda *axes: [_replaced(e, names, axes) for e in index])
    thread, replicas = value.forward_thread, int(value.replicate_size)
    return tilelang.layout.Fragment(
        shape,
        forward_thread_fn=lambda *axes: _replaced(thread, names, axes),
        forward_index_fn=lambda *axes: tvm_ffi.convert([_replaced(e, names, axes) for e in index]),
        replicate=replicas,
    )


def _replaced(expression: Any, names: list[str], axes: tuple[Any, ...]) -> Any:
    """An expression of a layout's own coordinates, of these instead; the replica's number comes after the coordinates."""
    known = dict(zip([*(name for name in names if name != "_rep"), "_rep"], axes, strict=False))
    found: dict[Any, Any] = {}

    def visit(node: Any) -> None:
        if type(node).__name__ == "Var" and str(node.name) in known:
            found[node] = known[str(node.name)]

    post_order_visit(expression, visit)
    return substitute(expression, found)
