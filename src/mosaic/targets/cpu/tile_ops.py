"""The tile operators that move and fill memory, as loops over elements: copy, fill, transpose, atomics.

    T.copy(A[by * 64, 0], A_shared)    ->    for i, j in T.Parallel(64, 32): A_shared[i, j] = A[by * 64 + i, j]

These follow TileLang's rules: the axes of extent 1 are dropped on both sides, the others pair up in order,
the loops have the extents of the side that is nearer to the registers, reads outside the source give its
safe value, writes outside the destination are dropped. (Loops over global memory guard themselves, see
`statements`; what is added here are the guards that a tile operator has on on-chip memory too.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tvm import ir, tirx

from mosaic.layouts.order import moved
from mosaic.stitch.contraction import order_of
from mosaic.targets.cpu.context import Context
from mosaic.targets.cpu.nodes import Node, Region, constant, dtype_of, is_buffer_like, is_global, scope_of

Expansion = Callable[[Context, Node], Node]

PARALLEL: Final = 1
"""`tirx.ForKind.PARALLEL`."""

_NEARNESS: Final = {"local.fragment": 2, "local": 2, "shared": 1, "shared.dyn": 1, "shared.tmem": 1}


class _Nest:
    """Loops over a region's elements."""

    def __init__(self, context: Context, extents: Sequence[Node]) -> None:
        self._context = context
        self._extents = extents
        self.variables = [tirx.Var("ijklmnop"[number % 8], dtype_of(extent)) for number, extent in enumerate(extents)]
        for variable, extent in zip(self.variables, extents, strict=True):
            context.bounds.loop(variable, tirx.const(0, dtype_of(extent)), extent)

    def indices(self, region: Region, loops: Sequence[int | None] | None = None) -> list[Node]:
        """The element of the region that each iteration is at; `loops` says which loop runs along each axis, by default in order."""
        if loops is None:
            number = {axis: position for position, axis in enumerate(region.axes)}
            loops = [number.get(axis) for axis in range(len(region.extent))]
        return [minimum if loop is None else minimum + self.variables[loop] for minimum, loop in zip(region.minimum, loops, strict=True)]

    def inside(self, region: Region, indices: Sequence[Node]) -> Node | None:
        """The condition, if one is needed, under which an on-chip element exists."""
        if is_global(region.buffer):
            return None
        bounds, needed = self._context.bounds, []
        for index, axis_size, extent in zip(indices, region.buffer.shape, region.extent, strict=True):
            if constant(extent) == 1:
                continue  # TileLang leaves these to the author
            needed += [] if bounds.not_negative(index) else [index >= 0]
            needed += [] if bounds.below(index, axis_size) else [index < axis_size]
        return tirx.all(*needed) if needed else None

    def around(self, body: Node) -> Node:
        """`body` within the loops."""
        for variable, extent in zip(reversed(self.variables), reversed(self._extents), strict=True):
            body = tirx.For(variable, tirx.const(0, dtype_of(extent)), extent, PARALLEL, body)
        return body


def _extents(context: Context, source: Region, target: Region) -> list[Node]:
    """The extents of a copy's loops. Raises ReadError where the sides have another number of axes."""
    if len(source.axes) != len(target.axes):
        raise context.error(
            f"it copies {len(source.axes)} axes of {source.buffer.name!r} to {len(target.axes)} of {target.buffer.name!r}; make them equal"
        )
    near = source if _NEARNESS.get(scope_of(source.buffer), 0) >= _NEARNESS.get(scope_of(target.buffer), 0) else target
    return [near.extent[axis] for axis in near.axes]


def _copy(context: Context, call: Node) -> Node:
    source, target = context.region(call.args[0]), context.region(call.args[1])
    nest = _Nest(context, _extents(context, source, target))
    return _move(context, nest, source, target, nest.indices(target))


def _transpose(context: Context, call: Node) -> Node:
    """The last two axes change places."""
    source, target = context.region(call.args[0]), context.region(call.args[1])
    rank = len(source.extent)
    nest = _Nest(context, [source.extent[axis] for axis in source.axes])
    number = {axis: position for position, axis in enumerate(source.axes)}
    swapped = [number.get(axis) for axis in (*range(rank - 2), rank - 1, rank - 2)]
    return _move(context, nest, source, target, nest.indices(target, swapped))


def _move(context: Context, nest: _Nest, source: Region, target: Region, place: Sequence[Node]) -> Node:
    value = _element(context, nest, source, dtype_of(target.buffer))
    store = tirx.BufferStore(target.buffer, value, place)
    allowed = nest.inside(target, place)
    return nest.around(store if allowed is None else tirx.IfThenElse(allowed, store, None))


def _element(context: Context, nest: _Nest, source: Region, dtype: str) -> Node:
    """The element of the source at each iteration, in the dtype of the destination."""
    indices = nest.indices(source)
    value = tirx.BufferLoad(source.buffer, indices)
    inside = nest.inside(source, indices)
    if inside is not None:
        safe = context.safe_values.get(source.buffer.data)
        safe = tirx.const(0, dtype_of(value)) if safe is None else _as(safe, dtype_of(value))
        value = tirx.if_then_else(inside, value, safe)
    return _as(value, dtype)


def _as(value: Node, dtype: str) -> Node:
    return value if dtype_of(value) == dtype else tirx.Cast(dtype, value)


def _fill(context: Context, call: Node) -> Node:
    region = context.region(call.args[0])
    nest = _Nest(context, [region.extent[axis] for axis in region.axes])
    place = nest.indices(region)
    store = tirx.BufferStore(region.buffer, _as(call.args[1], dtype_of(region.buffer)), place)
    allowed = nest.inside(region, place)
    return nest.around(store if allowed is None else tirx.IfThenElse(allowed, store, None))


def _im2col(context: Context, call: Node) -> Node:
    """Rows of windows of an image [N, H, W, C]: element (m, k) is that at output place m, and window place and channel k.

    A block takes the rows from `nhw_step` blocks on and the columns from `c_step` blocks on; padding is zeros.
    """
    source, target = context.region(call.args[0]), context.region(call.args[1])
    nhw_step, c_step, kernel, stride, dilation, padding = call.args[2:8]
    _, height, width, channels = source.buffer.shape
    rows, columns = target.extent[-2:]
    nest = _Nest(context, [rows, columns])
    reach = (kernel - 1) * dilation + 1
    out_height, out_width = ((size + 2 * padding - reach) // stride + 1 for size in (height, width))
    m, k = nhw_step * rows + nest.variables[0], c_step * columns + nest.variables[1]
    h = m % (out_height * out_width) // out_width * stride + k // (kernel * channels) * dilation - padding
    w = m % out_width * stride + k // channels % kernel * dilation - padding
    pixel = tirx.BufferLoad(source.buffer, [m // (out_height * out_width), h, w, k % channels])
    inside = tirx.all(h >= 0, w >= 0, h < height, w < width)
    value = tirx.if_then_else(inside, pixel, tirx.const(0, dtype_of(pixel)))
    place = [*target.minimum[:-2], target.minimum[-2] + nest.variables[0], target.minimum[-1] + nest.variables[1]]
    return nest.around(tirx.BufferStore(target.buffer, _as(value, dtype_of(target.buffer)), place))


def _atomic(operation: str) -> Expansion:
    """`T.atomic_add(C[...], tile)`: one atomic update an element; an element outside the destination is left out."""
    operator = ir.Op.get(f"tl.atomic_{operation}_elem_op")

    def expansion(context: Context, call: Node) -> Node:
        target = context.region(call.args[1])
        dtype = dtype_of(target.buffer)
        if is_buffer_like(call.args[0]):
            source = context.region(call.args[0])
            nest = _Nest(context, _extents(context, source, target))
            value = _element(context, nest, source, dtype)
        else:
            nest = _Nest(context, [target.extent[axis] for axis in target.axes])
            value = _as(call.args[0], dtype)
        place = nest.indices(target)
        one, read_write = tirx.const(1, "int32"), tirx.const(3, "int32")
        address = tirx.Call("handle", ir.Op.get("tl.access_ptr"), [tirx.BufferLoad(target.buffer, place), one, read_write])
        update = tirx.Evaluate(tirx.Call("handle", operator, [address, value]))
        allowed = nest.inside(target, place)
        return nest.around(update if allowed is None else tirx.IfThenElse(allowed, update, None))

    return expansion


def handover(context: Context, call: Node) -> Node:
    """`mosaic_convert_n(source, target[, stage])`: layouts are nothing here, so that it is a copy of all elements.

    Where its name says so, the target has the elements in the order in which a product contracts them (`stitch.contraction`).
    """
    source, target = (context.allocated(pointer) for pointer in call.args[1:3])
    nest = _Nest(context, list(target.shape))
    indices = list(nest.variables)
    if (axis_order := order_of(str(call.args[0].value))) is not None:
        axis, order = axis_order
        indices[axis] = moved(indices[axis], order)
    value = _as(tirx.BufferLoad(source, indices), dtype_of(target))
    return nest.around(tirx.BufferStore(target, value, nest.variables))


EXPANSIONS: Final[dict[str, Expansion]] = {
    "copy": _copy,
    "async_copy": _copy,
    "tma_copy": _copy,
    "fill": _fill,
    "transpose": _transpose,
    "im2col": _im2col,
    "atomicadd": _atomic("add"),
    "atomicmax": _atomic("max"),
    "atomicmin": _atomic("min"),
}
"""The tile operators that are loops over elements, by name without dialect."""
