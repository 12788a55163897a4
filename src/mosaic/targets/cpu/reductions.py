"""T.reduce, T.cumsum, T.cummax and the reducers: everything that folds along an axis.

Partial results have the dtype of the destination, as TileLang has it. The order of a sum is not part of
its meaning (on a GPU it follows from the threads); here a contiguous axis is summed in vector lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mosaic.targets.cpu.context import Context, View
from mosaic.targets.cpu.expressions import Expressions
from mosaic.targets.cpu.nodes import Node, Region, constant, dtype_of, region_of
from mosaic.targets.cpu.scalars import Scalar

_BITWISE: Final = {"bitand": "&", "bitor": "|", "bitxor": "^"}


def _identity(kind: str, scalar: Scalar) -> str:
    """What `kind` starts from."""
    if kind in ("max", "min"):
        if scalar.is_float:
            return scalar.literal(float("-inf") if kind == "max" else float("inf"))
        if scalar.is_signed:
            return scalar.literal(-(2 ** (scalar.bits - 1)) if kind == "max" else 2 ** (scalar.bits - 1) - 1)
        return scalar.literal(0 if kind == "max" else 2**scalar.bits - 1)
    if kind == "bitand":
        return scalar.literal(-1 if scalar.is_signed else 2**scalar.bits - 1)
    return scalar.literal(0)


def _combined(emit: Expressions, kind: str, scalar: Scalar, a: str, b: str) -> str:
    """`a` and `b` put together, as a value of the type."""
    if kind in ("abssum", "absmax") and scalar.is_signed:
        b = emit.extreme("max", scalar, b, f"(-{b})")
    if scalar.is_narrow and kind in ("abssum", "absmax"):
        b = emit.extreme("max", scalar, b, f"(-{b})")
    if kind in ("max", "min", "absmax"):
        return emit.extreme("min" if kind == "min" else "max", scalar, a, b)
    if kind in _BITWISE:
        return f"(({scalar.value})({a} {_BITWISE[kind]} {b}))"
    return scalar.rounded(f"({a} + {b})") if scalar.is_float else f"(({scalar.value})((uint64_t){a} + (uint64_t){b}))"


def _address(emit: Expressions, view: View, region: Region, names: Sequence[str]) -> str:
    """The element of the region at the iteration `names`, one name an axis."""
    terms = [emit.index(view, region.minimum)]
    for name, stride in zip(names, view.strides, strict=True):
        if name != "0":
            terms.append(name if constant(stride) == 1 else f"{name} * {emit.value(stride)}")
    return f"{view.pointer}[{' + '.join(term for term in terms if term != '0') or '0'}]"


def _reduce(context: Context, emit: Expressions, call: Node) -> None:
    source, target = region_of(call.args[0]), region_of(call.args[1])
    kind, axis, clear = str(call.args[2].value), int(call.args[3].value), bool(int(call.args[4].value))
    a, b = context.view(source.buffer), context.view(target.buffer)
    scalar = b.scalar
    kept = [d for d in range(len(source.extent)) if d != axis]
    keeps_axis = len(target.extent) == len(source.extent)
    with context.names.scope():
        names = {d: context.names.new("ijklmnop"[d]) for d in range(len(source.extent))}
        indices = ["0" if d == axis else names[d] for d in range(len(source.extent))] if keeps_axis else [names[d] for d in kept]
        result = _address(emit, b, target, indices or ["0"] * len(target.extent))
        element = emit.cast(a.scalar.load(_address(emit, a, source, list(names.values()))), a.scalar, scalar)
        heads = {d: f"for (int {name} = 0; {name} < {emit.value(source.extent[d])}; {name}++)" for d, name in names.items()}
        start = _identity(kind, scalar)
        contiguous = constant(a.strides[axis]) == 1
        if contiguous:
            _nest(context, [heads[d] for d in kept], lambda: _fold_row(context, emit, (kind, scalar), heads[axis], result, element, start, clear))
            return
        if clear:
            _nest(context, [heads[d] for d in kept], lambda: context.line(f"{result} = {scalar.stored(start)};"))
        # the reduced axis outside the last kept one, so that the inner loop runs over neighbours
        order = [*kept[:-1], axis, *kept[-1:]]
        update = f"{result} = {scalar.stored(_combined(emit, kind, scalar, scalar.load(result), element))};"
        _nest(context, [heads[d] for d in order], lambda: context.line(update))


def _fold_row(
    context: Context, emit: Expressions, fold: tuple[str, Scalar], head: str, result: str, element: str, start: str, clear: bool
) -> None:
    kind, scalar = fold
    context.line(f"{scalar.value} folded = {start if clear else scalar.load(result)};")
    with context.block(head):
        context.line(f"folded = {_combined(emit, kind, scalar, 'folded', element)};")
    context.line(f"{result} = {scalar.stored('folded')};")


def _nest(context: Context, heads: Sequence[str], body: Callable[[], None]) -> None:
    """`body` within the loops `heads`."""
    if not heads:
        with context.block(""):
            body()
        return
    with context.block(heads[0]):
        if len(heads) == 1:
            body()
        else:
            _nest(context, heads[1:], body)


def _scan(kind: str) -> Callable[[Context, Expressions, Node], None]:
    """`T.cumsum` and `T.cummax`: the fold of all elements up to each one, from either end."""

    def operator(context: Context, emit: Expressions, call: Node) -> None:
        source, target = region_of(call.args[0]), region_of(call.args[1])
        axis, reverse = int(call.args[2].value), bool(int(call.args[3].value))
        a, b = context.view(source.buffer), context.view(target.buffer)
        scalar = b.scalar
        with context.names.scope():
            names = [context.names.new("ijklmnop"[d]) for d in range(len(source.extent))]
            extents = [emit.value(extent) for extent in source.extent]
            heads = [f"for (int {n} = 0; {n} < {e}; {n}++)" for n, e in zip(names, extents, strict=True)]
            if reverse:
                heads[axis] = f"for (int {names[axis]} = {extents[axis]} - 1; {names[axis]} >= 0; {names[axis]}--)"
            element = emit.cast(a.scalar.load(_address(emit, a, source, names)), a.scalar, scalar)
            result = _address(emit, b, target, names)

            def row() -> None:
                context.line(f"{scalar.value} folded = {_identity(kind, scalar)};")
                with context.block(heads[axis]):
                    context.line(f"folded = {_combined(emit, kind, scalar, 'folded', element)};")
                    context.line(f"{result} = {scalar.stored('folded')};")

            _nest(context, [head for d, head in enumerate(heads) if d != axis], row)

    return operator


def _elements(emit: Expressions, region: Region) -> str:
    return " * ".join(emit.value(extent) for extent in region.extent)


def _kind_of_reducer(context: Context, buffer: Node) -> str:
    kind = context.reducers.get(buffer.data)
    if kind is None:
        raise context.error(f"the reducer {buffer.name!r} has no operation; allocate it with T.alloc_reducer")
    return kind


def _reducer_init(context: Context, emit: Expressions, call: Node) -> None:
    """A reducer's first value counts once, so it can simply be where the folding starts."""
    region = region_of(call.args[0])
    view = context.view(region.buffer)
    start = _identity(_kind_of_reducer(context, region.buffer), view.scalar)
    if len(call.args) > 1:
        start = emit.cast(emit.value(call.args[1]), context.scalar(dtype_of(call.args[1])), view.scalar)
    with context.block(f"for (int i = 0; i < {_elements(emit, region)}; i++)"):
        context.line(f"{view.pointer}[i] = {view.scalar.stored(start)};")


def _reducer_update(context: Context, emit: Expressions, call: Node) -> None:
    target = call.args[0]
    view = context.view(target.buffer)
    place = f"{view.pointer}[{emit.index(view, target.indices)}]"
    kind = _kind_of_reducer(context, target.buffer)
    value = _combined(emit, kind, view.scalar, view.scalar.load(place), emit.value(call.args[1]))
    context.line(f"{place} = {view.scalar.stored(value)};")


def _finalize_reducer(context: Context, emit: Expressions, call: Node) -> None:
    """One thread holds the whole result already; the new form puts it into another buffer."""
    if len(call.args) < 2:
        return
    region, target = region_of(call.args[0]), region_of(call.args[1])
    a, b = context.view(region.buffer), context.view(target.buffer)
    value = b.scalar.stored(emit.cast(a.scalar.load(f"{a.pointer}[i]"), a.scalar, b.scalar))
    with context.block(f"for (int i = 0; i < {_elements(emit, region)}; i++)"):
        context.line(f"{b.pointer}[i] = {value};")


OPERATORS: Final[dict[str, Callable[[Context, Expressions, Node], None]]] = {
    "reduce": _reduce,
    "cumsum": _scan("sum"),
    "cummax": _scan("max"),
    "reducer_init": _reducer_init,
    "reducer_update": _reducer_update,
    "finalize_reducer": _finalize_reducer,
    "finalize_reducer_v2": _finalize_reducer,
}
