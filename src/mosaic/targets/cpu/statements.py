"""The statements of a block as C: loops, conditions, stores; tile operators are in `tile_ops`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mosaic.stitch.cut import CALL
from mosaic.targets.cpu import atomics, gemm, reductions, tile_ops
from mosaic.targets.cpu.context import EXPLICIT_THREADS, Context
from mosaic.targets.cpu.expressions import Expressions, bare
from mosaic.targets.cpu.nodes import (
    Node,
    constant,
    dtype_of,
    is_buffer_like,
    is_global,
    kind,
    operator_name,
    runs_along,
    uses,
    variables_of,
)
from mosaic.targets.cpu.splitting import MAX_CUTS, first_cut, is_splittable

THREAD_BINDING: Final = 4
"""`tirx.ForKind.THREAD_BINDING`."""

_IGNORED: Final = (
    "tvm_storage_sync sync_threads sync_warp sync_grid syncwarp no_set_max_nreg set_max_nreg fence_proxy_async pdl_sync pdl_trigger "
    "ptx_commit_group ptx_wait_group cp_async_wait_group wait_wgmma warpgroup_arrive warpgroup_wait warpgroup_fence_operand "
    "tma_store_arrive tma_store_wait ptx_fence_barrier_init device_assert device_assert_with_msg"
)
_IGNORED_CALLS: Final = frozenset(_IGNORED.split())
"""Orders between threads, hints and assertions: nothing where a block runs as one thread, a statement after the other."""


_CONVERSIONS: Final = {("float16", "float32"): "ms_widen_f16", ("float32", "float16"): "ms_narrow_f16"}
"""The runtime's functions for rows of neighbours."""

_OPERATORS: Final = {**gemm.OPERATORS, **reductions.OPERATORS, **atomics.OPERATORS}


@dataclass(frozen=True)
class _Stretch:
    """A part of a loop's range, as C expressions; where they are known, also as numbers."""

    low: str
    high: str
    low_number: int | None
    high_number: int | None

    @property
    def is_empty(self) -> bool:
        return self.low_number is not None and self.high_number is not None and self.low_number >= self.high_number


class Statements:
    """Writes the statements of one block into its context. Raises ReadError for what has no meaning on a CPU."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.expressions = Expressions(context)

    def visit(self, node: Node) -> None:
        handler: Callable[[Node], None] | None = getattr(self, f"_{kind(node).lower()}", None)
        if handler is None:
            raise self._context.error(f"it holds the statement {kind(node)}: {str(node)[:80]}")
        handler(node)

    def _seqstmt(self, node: Node) -> None:
        for child in node.seq:
            self.visit(child)

    def _sblockrealize(self, node: Node) -> None:
        block = node.block
        for key, value in block.annotations.items():
            if str(key) == "safe_value_map":
                self._context.safe_values.update(dict(value.items()))
            elif str(key) == "tl.non_restrict_params":
                self._context.overlapping.update(value)
            elif str(key).startswith("reducer_info"):
                self._context.reducers.update({variable: str(info["op"]) for variable, info in value.items()})
        for buffer in block.alloc_buffers:
            if is_global(buffer):
                raise self._context.error(f"it allocates the global buffer {buffer.name!r}; pass it as a parameter instead")
            self._context.allocate(buffer)
        self.visit(block.body)

    def _allocbuffer(self, node: Node) -> None:
        self._context.allocate(node.buffer)
        self._inner(node)

    def _inner(self, node: Node) -> None:
        """Declarations, assertions and attributes (swizzle patterns, launch bounds): hints to a GPU compiler."""
        if getattr(node, "body", None) is not None:
            self.visit(node.body)

    _declbuffer = _attrstmt = _assertstmt = _inner

    def _for(self, node: Node) -> None:
        context = self._context
        if int(node.kind) == THREAD_BINDING:
            raise context.error(EXPLICIT_THREADS)
        first, extent = self.expressions.value(node.min), self.expressions.value(node.extent)
        low, size = constant(node.min), constant(node.extent)
        high = low + size if low is not None and size is not None else None
        last = str(high) if high is not None else extent if low == 0 else f"{first} + {extent}"
        context.bounds.loop(node.loop_var, node.min, node.extent)
        whole = _Stretch(first, last, low, high)
        if context.bounds.asked is None and getattr(node, "step", None) is None and is_splittable(node.body):
            self._split(node, whole, MAX_CUTS)
        else:
            self._loop(node, whole)

    def _split(self, node: Node, stretch: _Stretch, cuts_left: int) -> None:
        """Write a loop over `stretch`, in parts if a condition changes within it."""
        context = self._context
        if stretch.is_empty:
            return
        asked: list[Node] = []
        context.bounds.asked = asked
        with context.quiet() as lines:
            self._loop(node, stretch)
        context.bounds.asked = None
        if not lines:
            return
        cut = first_cut(context.bounds, node.loop_var, asked, context.names.is_visible) if cuts_left else None
        if cut is None:
            self._loop(node, stretch)
            return
        before, after = self._parts(stretch, cut.boundary)
        holds = after if cut.holds_after else before
        for part in (before, after):
            with context.bounds.settled(*((cut.conditions, ()) if part is holds else ((), cut.conditions))):
                self._split(node, part, cuts_left - 1)

    def _parts(self, stretch: _Stretch, boundary: Node) -> tuple[_Stretch, _Stretch]:
        context, number = self._context, constant(boundary)
        if number is not None and stretch.low_number is not None and stretch.high_number is not None:
            number = min(max(number, stretch.low_number), stretch.high_number)
            name = str(number)
        else:
            number, name = None, context.names.new("split")
            context.line(f"const int {name} = ms_clamp_index({bare(self.expressions.value(boundary))}, {stretch.low}, {stretch.high});")
        return _Stretch(stretch.low, name, stretch.low_number, number), _Stretch(name, stretch.high, number, stretch.high_number)

    def _loop(self, node: Node, stretch: _Stretch) -> None:
        context = self._context
        with context.names.scope():
            name = context.names.new(str(node.loop_var.name), node.loop_var)
            row = self._converted_row(node)
            if row is not None:
                context.line(f"{{ const int {name} = {stretch.low}; {row[0]}({stretch.high} - {name}, {row[1]}, {row[2]}); }}")
                return
            step = "++" if getattr(node, "step", None) is None else f" += {self.expressions.value(node.step)}"
            kind_of = "int64_t" if dtype_of(node.loop_var) == "int64" else "int"
            context.depth += 1
            with context.quiet() as lines:
                self.visit(node.body)
            context.depth -= 1
            if lines:  # where all that the body writes is outside its tensor, there is nothing to do
                context.line(f"for ({kind_of} {name} = {stretch.low}; {name} < {stretch.high}; {name}{step}) {{")
                context.lines += lines
                context.line("}")

    def _converted_row(self, node: Node) -> tuple[str, str, str] | None:
        """If a loop does nothing but copy a row of halves to floats or back: the function for that, from where, to where."""
        store, emit = node.body, self.expressions
        if kind(store) != "BufferStore" or kind(store.value) != "Cast" or kind(store.value.value) != "BufferLoad":
            return None
        load = store.value.value
        function = _CONVERSIONS.get((dtype_of(load), dtype_of(store.buffer)))
        if function is None or not (runs_along(node.loop_var, load) and runs_along(node.loop_var, store)):
            return None
        source, target = self._context.view(load.buffer), self._context.written_view(store.buffer)
        if emit.guards(source, load.indices) != [] or emit.guards(target, store.indices) != []:
            return None
        self._context.sections.add("convert")
        places = [
            f"&{view.pointer}[{emit.index(view, emit.wrapped(view, access.indices))}]" for view, access in ((source, load), (target, store))
        ]
        return function, places[0], places[1]

    def _while(self, node: Node) -> None:
        with self._context.block(f"while ({bare(self.expressions.value(node.condition))})"):
            self.visit(node.body)

    def _ifthenelse(self, node: Node) -> None:
        context = self._context
        decided = context.bounds.decide(node.condition)
        if decided is not None:
            taken = node.then_case if decided else node.else_case
            if taken is not None:
                self.visit(taken)
            return
        with context.block(f"if ({bare(self.expressions.value(node.condition))})"), context.bounds.given(node.condition):
            self.visit(node.then_case)
        if node.else_case is not None:
            with context.block("else"):
                self.visit(node.else_case)

    def _bind(self, node: Node) -> None:
        context = self._context
        if kind(node.value) == "Call" and operator_name(node.value) == "launch_thread_idx":
            context.thread_variables.append(node.var)
            return
        if uses(node.value, context.thread_variables):  # an error only where it is used
            context.thread_variables.append(node.var)
            return
        if not all(context.names.is_visible(variable) for variable in variables_of(node.value)):
            # T.Persistent binds its indices before the loop whose variable they use
            context.deferred[node.var] = node.value
            context.bounds.equal(node.var, node.value)
            return
        if dtype_of(node.var) == "handle":
            raise context.error(f"it binds the pointer {node.var.name!r}, which the CPU target does not follow")
        scalar = context.scalar(dtype_of(node.var))
        value = self.expressions.value(node.value)
        if not scalar.is_float:
            context.bounds.equal(node.var, node.value)
        name = context.names.new(str(node.var.name), node.var)
        context.line(f"const {scalar.value} {name} = {bare(value)};")

    def _bufferstore(self, node: Node) -> None:
        context, emit = self._context, self.expressions
        view = context.written_view(node.buffer)
        indices = emit.wrapped(view, node.indices)
        conditions = emit.guards(view, indices)
        fault = None if view.is_global else "ms_fault = 1;"
        if conditions is None:
            context.lines += ["  " * context.depth + fault] if fault else []
            return
        with context.bounds.settled(conditions):
            value = emit.stored(node.value, view.scalar)
        store = f"{view.pointer}[{emit.index(view, indices)}] = {bare(value)};"
        context.line(f"if ({bare(emit.all_of(conditions))}) {store}{f' else {fault}' if fault else ''}" if conditions else store)

    def _evaluate(self, node: Node) -> None:
        call = node.value
        if kind(call) in ("IntImm", "FloatImm"):
            return
        if kind(call) != "Call":
            raise self._context.error(f"it evaluates {kind(call)}: {str(call)[:80]}")
        name = operator_name(call)
        if name in _IGNORED_CALLS:
            return
        if name == "loop_break":
            self._context.line("break;")
            return
        if name in atomics.VALUES:
            self._context.line(f"(void){self.expressions.value(call)};")
            return
        if name in tile_ops.EXPANSIONS:
            self.visit(tile_ops.EXPANSIONS[name](self._context, call))
            return
        if name == "call_extern" and str(getattr(call.args[0], "value", "")).startswith(CALL):
            self.visit(tile_ops.handover(self._context, call))
            return
        if name not in _OPERATORS:
            raise self._context.error(f"it calls {name}, which the CPU target does not know")
        regions = [self._context.region(argument) for argument in call.args if is_buffer_like(argument)]
        guard = self.expressions.region_guards(*regions)
        if guard is None:
            _OPERATORS[name](self._context, self.expressions, call)
            return
        with self._context.block(f"if (!({guard})) ms_fault = 1; else"):
            _OPERATORS[name](self._context, self.expressions, call)
