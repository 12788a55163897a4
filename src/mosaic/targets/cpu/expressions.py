"""TVM expressions as C expressions.

The C value of an expression has the `value` type of its dtype (see `scalars`): a float16 value is a C
float that float16 can hold. Integer arithmetic on data wraps as it does on a GPU; on indices it is
plain, so that gcc knows that they do not wrap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mosaic.targets.cpu import atomics
from mosaic.targets.cpu.context import Context, View
from mosaic.targets.cpu.intrinsics import INTRINSICS, MATH
from mosaic.targets.cpu.nodes import Node, Region, calls, constant, dtype_of, is_global, kind, loads_of, operator_name, reads_memory
from mosaic.targets.cpu.scalars import Scalar

_ARITHMETIC: Final = {"Add": "+", "Sub": "-", "Mul": "*"}
_COMPARE: Final = {"EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
_DIVISION: Final = {"FloorDiv": "floordiv", "FloorMod": "floormod", "Div": "truncdiv", "Mod": "truncmod"}


class Expressions:
    """Turns the expressions of one kernel into C text. Raises ReadError for what it does not know."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._bound: dict[Node, str] = {}

    def value(self, node: Node) -> str:
        """The C expression that has the value of `node`."""
        name = kind(node)
        if name in _ARITHMETIC:
            return self._arithmetic(node, _ARITHMETIC[name])
        if name in _COMPARE:
            return f"({self.value(node.a)} {_COMPARE[name]} {self.value(node.b)})"
        if name in _DIVISION:
            return self._divide(node, _DIVISION[name])
        handler: Callable[[Node], str] | None = getattr(self, f"_{name.lower()}", None)
        if handler is None:
            raise self._context.error(f"it holds the expression {name}, which has no meaning for one thread: {str(node)[:80]}")
        return handler(node)

    def index(self, view: View, indices: Sequence[Node]) -> str:
        """The element number, from the view's pointer on, of these indices."""
        terms = []
        for node, stride in zip(indices, view.strides, strict=True):
            if constant(node) == 0 or constant(stride) == 0:
                continue
            text = self.value(node)
            wide = f"(int64_t){text}" if view.is_global else text
            terms.append(text if constant(stride) == 1 else f"{wide} * {self.value(stride)}")
        if constant(view.offset) != 0:
            terms.append(self.value(view.offset))
        return " + ".join(terms) or "0"

    def in_bounds(self, view: View, indices: Sequence[Node]) -> list[Node] | None:
        """The conditions, not provable here, under which the indices lie inside the buffer; None if they never do."""
        conditions: list[Node] = []
        for node, extent in zip(indices, view.shape, strict=True):
            more = self.inside(node, extent)
            if more is None:
                return None
            conditions += more
        return conditions

    def inside(self, node: Node, extent: Node) -> list[Node] | None:
        """The conditions, not provable here, under which `0 <= node < extent`; None if that never holds."""
        bounds = self._context.bounds
        conditions = [] if bounds.not_negative(node) else [node >= 0]
        conditions += [] if bounds.below(node, extent) else [node < extent]
        decided = [bounds.decide(condition) for condition in conditions]
        if False in decided:
            return None
        return [condition for condition, holds in zip(conditions, decided, strict=True) if holds is None]

    def wrapped(self, view: View, indices: Sequence[Node]) -> list[Node]:
        """Indices that are always negative count from the end of their axis, as in Python."""
        return [node + extent if self._context.bounds.negative(node) else node for node, extent in zip(indices, view.shape, strict=True)]

    def all_of(self, conditions: Sequence[Node]) -> str:
        """One C condition that holds where all of them do; none of them may have effects."""
        return " & ".join(self.value(condition) for condition in conditions) if conditions else "1"

    def cast(self, text: str, source: Scalar, target: Scalar) -> str:
        """`text`, a value of type `source`, converted as CUDA does."""
        if source.name == target.name:
            return text
        if target.name == "bool":
            return f"({text} != 0)"
        if target.is_float:
            return self._cast_to_float(text, source, target)
        if source.is_float:
            return self._cast_to_integer(text, source, target)
        return text if target.value == source.value else f"(({target.value}){text})"

    def safe_value(self, buffer: Node) -> str:
        """What a read outside `buffer` gives: 0, or what `T.annotate_safe_value` says."""
        scalar = self._context.scalar(dtype_of(buffer))
        annotated = self._context.safe_values.get(buffer.data)
        if annotated is None:
            return scalar.literal(0)
        if kind(annotated) in ("FloatImm", "IntImm"):
            return scalar.literal(annotated.value)
        return self.cast(self.value(annotated), self._context.scalar(dtype_of(annotated)), scalar)

    def _cast_to_float(self, text: str, source: Scalar, target: Scalar) -> str:
        if not target.is_narrow:
            return text if source.value == target.value else f"(({target.value}){text})"
        if source.is_narrow and _holds(target, source):
            return text
        if source.bits == 64 or (source.bits == 32 and not source.is_float):
            # by way of double and "round to odd", so that the value is rounded to nearest only once
            text = f"ms_f64_to_odd_f32((double){text})"
        elif not source.is_float:
            text = f"(float){text}"
        return target.rounded(text)

    def _cast_to_integer(self, text: str, source: Scalar, target: Scalar) -> str:
        via = ("i" if target.is_signed else "u") + ("64" if target.bits == 64 else "32")
        from_type = "f64" if target.bits == 64 or source.value == "double" else "f32"
        text = f"ms_{from_type}_to_{via}({text})"
        return text if target.bits >= 32 else f"(({target.value}){text})"

    def _arithmetic(self, node: Node, symbol: str) -> str:
        scalar = self._context.scalar(dtype_of(node))
        a, b = self.value(node.a), self.value(node.b)
        if scalar.is_float:
            return scalar.rounded(f"({a} {symbol} {b})")
        if reads_memory(node):
            unsigned = "uint64_t" if scalar.bits == 64 else "uint32_t"
            return f"(({scalar.value})(({unsigned}){a} {symbol} ({unsigned}){b}))"
        return f"({a} {symbol} {b})"

    def _divide(self, node: Node, name: str) -> str:
        scalar = self._context.scalar(dtype_of(node))
        a, b = self.value(node.a), self.value(node.b)
        if scalar.is_float:
            if name == "truncdiv":
                return scalar.rounded(f"({a} / {b})")
            self._context.sections.add("math")
            if name == "floordiv":
                return scalar.rounded(f"ms_floor_{'f64' if scalar.bits == 64 else 'f32'}({scalar.rounded(f'({a} / {b})')})")
            raise self._context.error(f"it takes the {name} of two {scalar.name} numbers; use T.fmod")
        divisor = constant(node.b)
        if divisor is not None and divisor > 0 and (name.startswith("trunc") or self._context.bounds.not_negative(node.a)):
            return f"({a} {'/' if name.endswith('div') else '%'} {b})"
        return f"ms_{name}_{scalar.tag}({a}, {b})"

    def _intimm(self, node: Node) -> str:
        return self._context.scalar(dtype_of(node)).literal(int(node.value))

    def _floatimm(self, node: Node) -> str:
        return self._context.scalar(dtype_of(node)).literal(float(node.value))

    def _var(self, node: Node) -> str:
        if node in self._context.deferred:
            return self.value(self._context.deferred[node])
        return self._bound.get(node) or self._context.variable(node)

    _sizevar = _var

    def _min(self, node: Node) -> str:
        return self.extreme("min", self._context.scalar(dtype_of(node)), self.value(node.a), self.value(node.b))

    def _max(self, node: Node) -> str:
        return self.extreme("max", self._context.scalar(dtype_of(node)), self.value(node.a), self.value(node.b))

    def extreme(self, name: str, scalar: Scalar, a: str, b: str) -> str:
        """The larger or smaller of two values; the other one where one is NaN."""
        if scalar.is_float:
            return f"ms_{name}_{'f64' if scalar.bits == 64 else 'f32'}({a}, {b})"
        return f"({a} {'>' if name == 'max' else '<'} {b} ? {a} : {b})"

    def _and(self, node: Node) -> str:
        return self._logic(node, "&")

    def _or(self, node: Node) -> str:
        return self._logic(node, "|")

    def _logic(self, node: Node, symbol: str) -> str:
        # the right side may rely on the left one only if it can fail, which a load or a division can
        total = not reads_memory(node.b) and kind(node.b) in _COMPARE
        return f"({self.value(node.a)} {symbol if total else symbol * 2} {self.value(node.b)})"

    def _not(self, node: Node) -> str:
        return f"(!{self.value(node.a)})"

    def _select(self, node: Node) -> str:
        decided = self._context.bounds.decide(node.condition)
        if decided is not None:
            return self.value(node.true_value if decided else node.false_value)
        return f"({self.value(node.condition)} ? {self.value(node.true_value)} : {self.value(node.false_value)})"

    def _cast(self, node: Node) -> str:
        scalar = self._context.scalar
        if kind(node.value) in ("IntImm", "FloatImm") and scalar(dtype_of(node)).is_float:
            return scalar(dtype_of(node)).literal(float(scalar(dtype_of(node.value)).exact(node.value.value)))
        return self.cast(self.value(node.value), scalar(dtype_of(node.value)), scalar(dtype_of(node)))

    def _let(self, node: Node) -> str:
        # a name for the value of another expression: the text itself, which has no effects
        self._bound[node.var] = self.value(node.value)
        return self.value(node.body)

    def _bufferload(self, node: Node) -> str:
        view = self._context.view(node.buffer)
        indices = self.wrapped(view, node.indices)
        text = view.scalar.load(f"{view.pointer}[{self.index(view, indices)}]")
        return self._guarded(view, indices, text, self.safe_value(node.buffer))

    def guards(self, view: View, indices: Sequence[Node]) -> list[Node] | None:
        """The conditions that an access needs: on global memory, and on on-chip memory if that is to be checked."""
        return self.in_bounds(view, indices) if view.is_global or self._context.checked else []

    def _guarded(self, view: View, indices: Sequence[Node], text: str, otherwise: str) -> str:
        """`text` where the indices lie inside the buffer, else `otherwise`; outside on-chip memory that is a fault."""
        conditions = self.guards(view, indices)
        if conditions == []:
            return text
        otherwise = otherwise if view.is_global else f"(ms_fault = 1, {otherwise})"
        return otherwise if conditions is None else f"({self.all_of(conditions)} ? {text} : {otherwise})"

    def region_guards(self, *regions: Region) -> str | None:
        """The C condition, if one is needed, under which a tile operator may read and write these regions.

        Raises ReadError for a region of global memory that may leave its buffer, where only copies guard themselves.
        """
        bounds, conditions = self._context.bounds, []
        for region in regions:
            open_ends = []
            for minimum, extent, size in zip(region.minimum, region.extent, region.buffer.shape, strict=True):
                open_ends += [] if bounds.not_negative(minimum) else [minimum >= 0]
                open_ends += [] if bounds.below(minimum + extent - 1, size) else [minimum <= size - extent]
            if open_ends and is_global(region.buffer):
                raise self._context.error(f"a tile operator may leave the tensor {region.buffer.name!r}; copy it to a tile first")
            conditions += open_ends
        return self.all_of(conditions) if conditions and self._context.checked else None

    def stored(self, node: Node, target: Scalar) -> str:
        """What to assign to memory of type `target` so that it holds the value of `node`."""
        if kind(node) == "BufferLoad" and target.is_narrow and dtype_of(node) == target.name:  # its bits as they are
            view = self._context.view(node.buffer)
            indices = self.wrapped(view, node.indices)
            element = f"{view.pointer}[{self.index(view, indices)}]"
            return self._guarded(view, indices, element, target.stored(self.safe_value(node.buffer)))
        return target.stored(self.cast(self.value(node), self._context.scalar(dtype_of(node)), target))

    def _call(self, node: Node) -> str:
        name = operator_name(node)
        if name == "if_then_else":
            condition, yes, no = node.args
            decided = self._context.bounds.decide(condition)
            if decided is not None:
                return self.value(yes if decided else no)
            with self._context.bounds.given(condition):
                text = self.value(yes)
            return self._chosen(condition, text, node)
        if name in MATH:
            return self._math(name, node)
        if name in INTRINSICS:
            return INTRINSICS[name](self, self._context, node)
        raise self._context.error(f"it calls {name}, which the CPU target does not know")

    def _chosen(self, condition: Node, yes: str, node: Node) -> str:
        """C's ?: evaluates one side only, as must be where the other may be outside memory; but gcc often makes it a
        jump, and then does not vectorise. Where both sides can be computed, both are."""
        no, scalar = node.args[2], self._context.scalar(dtype_of(node))
        test = self.value(condition)
        if scalar.value in ("float", "int32_t") and self._is_total(node.args[1]) and self._is_total(no):
            return f"ms_select_{'f32' if scalar.is_float else 'i32'}({bare(test)}, {yes}, {self.value(no)})"
        return f"({test} ? {yes} : {self.value(no)})"

    def _is_total(self, node: Node) -> bool:
        """Whether an expression can be evaluated anywhere: all that it loads is inside its buffer, and it changes nothing."""
        bounds = self._context.bounds
        return not calls(node, atomics.VALUES) and all(
            bounds.not_negative(index) and bounds.below(index, extent)
            for load in loads_of(node)
            for index, extent in zip(load.indices, load.buffer.shape, strict=True)
        )

    def _math(self, name: str, node: Node) -> str:
        scalar = self._context.scalar(dtype_of(node))
        self._context.sections.add("math")
        arguments = ", ".join(self.value(argument) for argument in node.args)
        return scalar.rounded(f"ms_{MATH[name]}_{'f64' if scalar.bits == 64 else 'f32'}({arguments})")


def bare(text: str) -> str:
    """`text` without the parentheses around all of it, where nothing stands beside it."""
    if not text.startswith("("):
        return text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[1:-1] if position == len(text) - 1 else text
    return text


def _holds(wide: Scalar, narrow: Scalar) -> bool:
    """Whether every number of the type `narrow` is one of the type `wide`."""
    return (wide.name, narrow.name) in {
        ("float16", "float8_e4m3fn"),
        ("float16", "float8_e5m2"),
        ("bfloat16", "float8_e4m3fn"),
        ("bfloat16", "float8_e5m2"),
    }
