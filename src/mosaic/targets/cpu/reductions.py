"""T.reduce, T.cumsum, T.cummax and the reducers: everything that folds along an axis.

Partial results have the dtype of the destination, as TileLang has it. The order of a sum is not part of
its meaning (on a GPU it follows from the threads); here a contiguous axis is summed in vector lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.targets.cpu.context import Context, View
from mosaic.targets.cpu.expressions import Expressions
from mosaic.targets.cpu.nodes import Node, Region, constant, dtype_of
from mosaic.targets.cpu.scalars import Scalar

LANES: Final = 16
"""Partial results of a fold along a contiguous axis."""

_BITWISE: Final = {"bitand": "&", "bitor": "|", "bitxor": "^"}


@dataclass(frozen=True)
class _Fold:
    """One way of putting values of a type together: "sum", "max", "min", "abssum", "absmax" or a bitwise one."""

    emit: Expressions
    kind: str
    scalar: Scalar

    @property
    def identity(self) -> str:
        """What folding starts from."""
        scalar = self.scalar
        if self.kind in ("max", "min"):
            sign = -1 if self.kind == "max" else 1
            if scalar.is_float:
                return scalar.literal(sign * float("inf"))
            if scalar.is_signed:
                return scalar.literal(-(2 ** (scalar.bits - 1)) if self.kind == "max" else 2 ** (scalar.bits - 1) - 1)
            return scalar.literal(0 if self.kind == "max" else 2**scalar.bits - 1)
        if self.kind == "bitand":
            return scalar.literal(-1 if scalar.is_signed else 2**scalar.bits - 1)
        return scalar.literal(0)

    def combined(self, a: str, b: str) -> str:
        """The result so far, `a`, with one more element `b`."""
        if self.kind in ("abssum", "absmax") and (self.scalar.is_float or self.scalar.is_signed):
            b = self.emit.extreme("max", self.scalar, b, f"(-{b})")
        return self.merged(a, b)

    def merged(self, a: str, b: str) -> str:
        """Two partial results put together."""
        scalar = self.scalar
        if self.kind in ("max", "min", "absmax"):
            return self.emit.extreme("min" if self.kind == "min" else "max", scalar, a, b)
        if self.kind in _BITWISE:
            return f"(({scalar.value})({a} {_BITWISE[self.kind]} {b}))"
        return scalar.rounded(f"({a} + {b})") if scalar.is_float else f"(({scalar.value})((uint64_t){a} + (uint64_t){b}))"


@dataclass(frozen=True)
class _Row:
    """The elements to fold: the name and extent of their index, the value of the element at one; where floats, their address."""

    name: str
    extent: str
    number: int | None
    element: Callable[[str], str]
    address: str | None


def _address(emit: Expressions, view: View, region: Region, names: Sequence[str]) -> str:
    """The element of the region at the iteration `names`, one name an axis."""
    terms = [emit.index(view, region.minimum)]
    for name, stride in zip(names, view.strides, strict=True):
        if name != "0":
            terms.append(name if constant(stride) == 1 else f"{name} * {emit.value(stride)}")
    return f"{view.pointer}[{' + '.join(term for term in terms if term != '0') or '0'}]"


def _reduce(context: Context, emit: Expressions, call: Node) -> None:
    source, target = context.region(call.args[0]), context.region(call.args[1])
    kind, axis, clear = str(call.args[2].value), int(call.args[3].value), bool(int(call.args[4].value))
    a, b = context.view(source.buffer), context.written_view(target.buffer)
    fold = _Fold(emit, kind, b.scalar)
    kept = [d for d in range(len(source.extent)) if d != axis]
    keeps_axis = len(target.extent) == len(source.extent)
    with context.names.scope():
        names = {d: context.names.new("ijklmnop"[d]) for d in range(len(source.extent))}
        indices = ["0" if d == axis else names[d] for d in names] if keeps_axis else [names[d] for d in kept]
        result = _address(emit, b, target, indices or ["0"] * len(target.extent))
        heads = {d: f"for (int {name} = 0; {name} < {emit.value(source.extent[d])}; {name}++)" for d, name in names.items()}

        def element(index: str) -> str:
            place = _address(emit, a, source, [index if d == axis else name for d, name in names.items()])
            return emit.cast(a.scalar.load(place), a.scalar, b.scalar)

        if constant(a.strides[axis]) == 1 or not kept:
            start = fold.identity if clear else b.scalar.load(result)
            floats = a.scalar.name == b.scalar.name == "float32" and constant(a.strides[axis]) == 1 and kind not in _BITWISE
            address = "&" + _address(emit, a, source, ["0" if d == axis else name for d, name in names.items()])
            extent = source.extent[axis]
            row = _Row(names[axis], emit.value(extent), constant(extent), element, address if floats else None)
            _nest(context, [heads[d] for d in kept], lambda: _fold_row(context, fold, row, start, result))
            return
        if clear:
            _nest(context, [heads[d] for d in kept], lambda: context.line(f"{result} = {b.scalar.stored(fold.identity)};"))
        # the reduced axis outside the last kept one, so that the inner loop runs over neighbours
        update = f"{result} = {b.scalar.stored(fold.combined(b.scalar.load(result), element(names[axis])))};"
        _nest(context, [heads[d] for d in (*kept[:-1], axis, *kept[-1:])], lambda: context.line(update))


def _fold_row(context: Context, fold: _Fold, row: _Row, start: str, result: str) -> None:
    """Fold neighbours: floats by the runtime's vectors, others LANES at a time into as many partial results, then the rest."""
    value, whole = fold.scalar.value, 0
    if row.address is not None:
        context.sections.add("fold")
        context.line(f"{result} = ms_fold_{fold.kind}({row.address}, {row.extent}, {start}, {fold.identity});")
        return
    folded = context.names.new("folded")
    context.line(f"{value} {folded} = {start};")
    if row.number is not None and row.number >= 2 * LANES:
        whole = row.number // LANES * LANES
        part, lane = context.names.new("part"), context.names.new("lane")
        lanes = f"for (int {lane} = 0; {lane} < {LANES}; {lane}++)"
        context.line(f"{value} {part}[{LANES}];")
        context.line(f"{lanes} {part}[{lane}] = {fold.identity};")
        context.line(f"for (int {row.name} = 0; {row.name} < {whole}; {row.name} += {LANES})")
        context.line(f"  {lanes} {part}[{lane}] = {fold.combined(f'{part}[{lane}]', row.element(f'({row.name} + {lane})'))};")
        context.line(f"{lanes} {folded} = {fold.merged(folded, f'{part}[{lane}]')};")
    if whole != row.number:
        context.line(f"for (int {row.name} = {whole}; {row.name} < {row.extent}; {row.name}++)")
        context.line(f"  {folded} = {fold.combined(folded, row.element(row.name))};")
    context.line(f"{result} = {fold.scalar.stored(folded)};")


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
        source, target = context.region(call.args[0]), context.region(call.args[1])
        axis, reverse = int(call.args[2].value), bool(int(call.args[3].value))
        a, b = context.view(source.buffer), context.written_view(target.buffer)
        fold = _Fold(emit, kind, b.scalar)
        with context.names.scope():
            names = [context.names.new("ijklmnop"[d]) for d in range(len(source.extent))]
            extents = [emit.value(extent) for extent in source.extent]
            heads = [f"for (int {n} = 0; {n} < {e}; {n}++)" for n, e in zip(names, extents, strict=True)]
            if reverse:
                heads[axis] = f"for (int {names[axis]} = {extents[axis]} - 1; {names[axis]} >= 0; {names[axis]}--)"
            element = emit.cast(a.scalar.load(_address(emit, a, source, names)), a.scalar, b.scalar)
            result = _address(emit, b, target, names)

            def row() -> None:
                folded = context.names.new("folded")
                context.line(f"{b.scalar.value} {folded} = {fold.identity};")
                with context.block(heads[axis]):
                    context.line(f"{folded} = {fold.combined(folded, element)};")
                    context.line(f"{result} = {b.scalar.stored(folded)};")

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
    region = context.region(call.args[0])
    view = context.written_view(region.buffer)
    start = _Fold(emit, _kind_of_reducer(context, region.buffer), view.scalar).identity
    if len(call.args) > 1:
        start = emit.cast(emit.value(call.args[1]), context.scalar(dtype_of(call.args[1])), view.scalar)
    i = context.names.new("i")
    with context.block(f"for (int {i} = 0; {i} < {_elements(emit, region)}; {i}++)"):
        context.line(f"{view.pointer}[{i}] = {view.scalar.stored(start)};")


def _reducer_update(context: Context, emit: Expressions, call: Node) -> None:
    target = call.args[0]
    view = context.written_view(target.buffer)
    place = f"{view.pointer}[{emit.index(view, target.indices)}]"
    if (conditions := emit.guards(view, target.indices)) != []:
        context.line(f"if (!({'0' if conditions is None else emit.all_of(conditions)})) ms_fault = 1; else")
    fold = _Fold(emit, _kind_of_reducer(context, target.buffer), view.scalar)
    value = fold.combined(view.scalar.load(place), emit.value(call.args[1]))
    context.line(f"{place} = {view.scalar.stored(value)};")


def _finalize_reducer(context: Context, emit: Expressions, call: Node) -> None:
    """One thread holds the whole result already; the new form puts it into another buffer."""
    if len(call.args) < 2:
        return
    region, target = context.region(call.args[0]), context.region(call.args[1])
    a, b = context.view(region.buffer), context.written_view(target.buffer)
    i = context.names.new("i")
    value = b.scalar.stored(emit.cast(a.scalar.load(f"{a.pointer}[{i}]"), a.scalar, b.scalar))
    with context.block(f"for (int {i} = 0; {i} < {_elements(emit, region)}; {i}++)"):
        context.line(f"{b.pointer}[{i}] = {value};")


OPERATORS: Final[dict[str, Callable[[Context, Expressions, Node], None]]] = {
    "reduce": _reduce,
    "cumsum": _scan("sum"),
    "cummax": _scan("max"),
    "reducer_init": _reducer_init,
    "reducer_update": _reducer_update,
    "finalize_reducer": _finalize_reducer,
    "finalize_reducer_v2": _finalize_reducer,
}
