"""The tile operators that move and fill memory: copy, fill, transpose, atomics; and the table of all of them.

Copies follow TileLang's rules: the axes of extent 1 are dropped on both sides, the others pair up in
order, the loop runs over the extents of the side that is nearer to the registers, reads outside the
source give its safe value, writes outside the destination are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.targets.cpu import gemm, reductions
from mosaic.targets.cpu.context import Context, View
from mosaic.targets.cpu.expressions import Expressions
from mosaic.targets.cpu.nodes import Node, Region, constant, dtype_of, is_buffer_like, kind, region_of, scope_of

Operator = Callable[[Context, Expressions, Node], None]

_NEARNESS: Final = {"local.fragment": 2, "local": 2, "shared": 1, "shared.dyn": 1, "shared.tmem": 1}


@dataclass(frozen=True)
class _Side:
    """One side of a copy: its view, and for each of its axes the first index and the loop along it (None: extent 1)."""

    view: View
    region: Region
    loops: tuple[int | None, ...]

    def offset(self, emit: Expressions, names: Sequence[str]) -> str:
        """The element number at the iteration `names`."""
        terms = [emit.index(self.view, self.region.minimum)]
        for loop, stride in zip(self.loops, self.view.strides, strict=True):
            if loop is not None:
                step = emit.value(stride)
                wide = "(int64_t)" if self.view.is_global else ""
                terms.append(names[loop] if constant(stride) == 1 else f"{wide}{names[loop]} * {step}")
        return " + ".join(term for term in terms if term != "0") or "0"


def _side(context: Context, region: Region, order: Sequence[int] | None = None) -> _Side:
    """`order` says which loop runs along each axis that has more than one element; by default, in order."""
    axes = region.axes
    loops: list[int | None] = [None] * len(region.extent)
    for number, axis in enumerate(axes):
        loops[axis] = order[number] if order is not None else number
    return _Side(context.view(region.buffer), region, tuple(loops))


@dataclass
class _Range:
    """Where a loop may run: `low <= index < high`, as C expressions; None where that is known."""

    low: str | None = None
    high: str | None = None


def _ranges(context: Context, emit: Expressions, side: _Side, extents: Sequence[Node]) -> tuple[list[_Range], list[str]]:
    """For each loop the range that stays inside the buffer; and the conditions on the axes without a loop."""
    ranges, conditions = [_Range() for _ in extents], []
    for axis, loop in enumerate(side.loops):
        first, size = side.region.minimum[axis], side.view.shape[axis]
        if loop is None:
            # on-chip memory outside the tile operator's own loops is the author's care, as it is TileLang's
            conditions += [emit.value(c) for c in emit.in_bounds(side.view, _only(side, axis)) if axis >= 0 and side.view.is_global]
            continue
        if not context.bounds.not_negative(first):
            ranges[loop].low = f"-({emit.value(first)})"
        if not context.bounds.below(first + extents[loop] - 1, size):
            ranges[loop].high = f"{emit.value(size)} - ({emit.value(first)})"
    return ranges, conditions


def _only(side: _Side, axis: int) -> list[Node]:
    """Indices that are the region's along `axis` and certainly inside elsewhere."""
    return [minimum if d == axis else minimum - minimum for d, minimum in enumerate(side.region.minimum)]


@dataclass
class _Move:
    """A nest of loops that stores something for each element of a region."""

    context: Context
    emit: Expressions
    extents: Sequence[Node]
    inside: list[_Range]  # where there is a source to read
    inside_if: list[str]
    allowed: list[_Range]  # where the destination may be written
    allowed_if: list[str]
    store: Callable[[Sequence[str]], str]
    store_safe: Callable[[Sequence[str]], str]

    def write(self) -> None:
        context = self.context
        head = f"if ({' & '.join(self.allowed_if)})" if self.allowed_if else ""
        with context.block(head):
            if self.inside_if:
                context.line(f"const int inside = {' & '.join(self.inside_if)};")
                with context.block("if (inside)", "} else {"):
                    self._loops([], True)
                context.depth += 1
                self._loops([], False)
                context.depth -= 1
                context.line("}")
            else:
                self._loops([], True)

    def _loops(self, names: list[str], inside: bool) -> None:
        context, level = self.context, len(names)
        if level == len(self.extents):
            context.line((self.store if inside else self.store_safe)(names))
            return
        extent = self.emit.value(self.extents[level])
        allowed, source = self.allowed[level], self.inside[level]
        low = f"ms_max_index(0, {allowed.low})" if allowed.low else "0"
        high = f"ms_min_index({extent}, {allowed.high})" if allowed.high else extent
        if not inside or (source.low is None and source.high is None):
            self._loop(names, low, high, inside)
            return
        with context.block(""):
            first, last = context.names.new("first"), context.names.new("last")
            context.line(f"const int64_t {first} = {f'ms_clamp_index({source.low}, {low}, {high})' if source.low else low};")
            context.line(f"const int64_t {last} = {f'ms_clamp_index({source.high}, {first}, {high})' if source.high else high};")
            if source.low:
                self._loop(names, low, first, False)
            self._loop(names, first, last, True)
            if source.high:
                self._loop(names, last, high, False)

    def _loop(self, names: list[str], low: str, high: str, inside: bool) -> None:
        context = self.context
        with context.names.scope():
            name = context.names.new("ijklmnop"[len(names)])
            with context.block(f"for (int {name} = {low}; {name} < {high}; {name}++)"):
                self._loops([*names, name], inside)


def _extents(context: Context, source: Region, target: Region) -> tuple[Node, ...]:
    """The extents of a copy's loops. Raises ReadError where the sides have another number of axes."""
    if len(source.axes) != len(target.axes):
        raise context.error(
            f"it copies {len(source.axes)} axes of {source.buffer.name!r} to {len(target.axes)} of {target.buffer.name!r}; make them equal"
        )
    near = source if _NEARNESS.get(scope_of(source.buffer), 0) >= _NEARNESS.get(scope_of(target.buffer), 0) else target
    return tuple(near.extent[axis] for axis in near.axes)


def _copy(context: Context, emit: Expressions, call: Node) -> None:
    source, target = region_of(call.args[0]), region_of(call.args[1])
    _move(context, emit, _side(context, source), _side(context, target), _extents(context, source, target))


def _transpose(context: Context, emit: Expressions, call: Node) -> None:
    """The last two axes change places."""
    source, target = region_of(call.args[0]), region_of(call.args[1])
    rank = len(source.extent)
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    loop_of = {axis: number for number, axis in enumerate(source.axes)}
    loops = tuple(loop_of.get(axis) for axis in swapped)
    extents = tuple(source.extent[axis] for axis in source.axes)
    _move(context, emit, _side(context, source), _Side(context.view(target.buffer), target, loops), extents)


def _move(context: Context, emit: Expressions, source: _Side, target: _Side, extents: Sequence[Node]) -> None:
    inside, inside_if = _ranges(context, emit, source, extents)
    allowed, allowed_if = _ranges(context, emit, target, extents)
    a, b = source.view, target.view
    safe = emit.cast(emit.safe_value(source.region.buffer), a.scalar, b.scalar)

    def store(names: Sequence[str]) -> str:
        text = f"{a.pointer}[{source.offset(emit, names)}]"
        value = text if a.scalar == b.scalar else b.scalar.stored(emit.cast(a.scalar.load(text), a.scalar, b.scalar))
        return f"{b.pointer}[{target.offset(emit, names)}] = {value};"

    def store_safe(names: Sequence[str]) -> str:
        return f"{b.pointer}[{target.offset(emit, names)}] = {b.scalar.stored(safe)};"

    _Move(context, emit, extents, inside, inside_if, allowed, allowed_if, store, store_safe).write()


def _fill(context: Context, emit: Expressions, call: Node) -> None:
    region, value = region_of(call.args[0]), call.args[1]
    side = _side(context, region)
    scalar = side.view.scalar
    if kind(value) in ("IntImm", "FloatImm"):
        text = scalar.literal(value.value)
    else:
        text = emit.cast(emit.value(value), context.scalar(dtype_of(value)), scalar)

    def store(names: Sequence[str]) -> str:
        return f"{side.view.pointer}[{side.offset(emit, names)}] = {scalar.stored(text)};"

    extents = tuple(region.extent[axis] for axis in region.axes)
    allowed, allowed_if = _ranges(context, emit, side, extents)
    _Move(context, emit, extents, [_Range() for _ in extents], [], allowed, allowed_if, store, store).write()


def _atomic_tile(operation: str) -> Operator:
    """`T.atomic_add(C[...], tile)`: one atomic update an element; what lies outside either side is left out."""

    def operator(context: Context, emit: Expressions, call: Node) -> None:
        target = region_of(call.args[1])
        side = _side(context, target)
        extents = tuple(target.extent[axis] for axis in target.axes)
        allowed, allowed_if = _ranges(context, emit, side, extents)
        if is_buffer_like(call.args[0]):
            region = region_of(call.args[0])
            extents = _extents(context, region, target)
            allowed, allowed_if = _ranges(context, emit, side, extents)
            source = _side(context, region)
            inside, inside_if = _ranges(context, emit, source, extents)
            allowed_if = allowed_if + inside_if
            if any(r.low or r.high for r in inside):
                raise context.error(f"its atomic {operation} may read outside {region.buffer.name!r}; copy it to a tile first")

            def value(names: Sequence[str]) -> str:
                text = source.view.scalar.load(f"{source.view.pointer}[{source.offset(emit, names)}]")
                return emit.cast(text, source.view.scalar, side.view.scalar)
        else:
            constant_text = emit.cast(emit.value(call.args[0]), context.scalar(dtype_of(call.args[0])), side.view.scalar)

            def value(names: Sequence[str]) -> str:
                return constant_text

        def store(names: Sequence[str]) -> str:
            return _atomic(context, operation, side.view, side.offset(emit, names), value(names)) + ";"

        _Move(context, emit, extents, [_Range() for _ in extents], [], allowed, allowed_if, store, store).write()

    return operator


def _atomic(context: Context, operation: str, view: View, offset: str, value: str) -> str:
    context.sections.add("atomic")
    return f"ms_atomic_{operation}_{view.scalar.tag}(&{view.pointer}[{offset}], {value})"


def _atomic_element(operation: str) -> Operator:
    """`T.atomic_add(C[i], x)` on one element; nothing where the element is outside."""

    def operator(context: Context, emit: Expressions, call: Node) -> None:
        load = call.args[0].args[0]
        view = context.view(load.buffer)
        indices = emit.wrapped(view, load.indices)
        value = emit.cast(emit.value(call.args[1]), context.scalar(dtype_of(call.args[1])), view.scalar)
        conditions = emit.in_bounds(view, indices) if view.is_global else []
        guard = f"if ({emit.all_of(conditions)}) " if conditions else ""
        context.line(f"{guard}{_atomic(context, operation, view, emit.index(view, indices), value)};")

    return operator


OPERATORS: Final[dict[str, Operator]] = {
    "copy": _copy,
    "async_copy": _copy,
    "tma_copy": _copy,
    "fill": _fill,
    "transpose": _transpose,
    "atomicadd": _atomic_tile("add"),
    "atomicmax": _atomic_tile("max"),
    "atomicmin": _atomic_tile("min"),
    "atomic_add_elem_op": _atomic_element("add"),
    "atomic_max_elem_op": _atomic_element("max"),
    "atomic_min_elem_op": _atomic_element("min"),
    "atomic_or_elem_op": _atomic_element("or"),
    "atomic_store_elem_op": _atomic_element("store"),
    **gemm.OPERATORS,
    **reductions.OPERATORS,
}
"""The tile operators, by name without dialect."""
