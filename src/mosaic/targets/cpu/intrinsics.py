"""The operators of TileLang that are functions of values: which C they become.

`MATH` are the functions of one or two floats, computed in float (or double) and rounded to the
dtype; the runtime header's `math` section has one for each name. `INTRINSICS` are all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mosaic.targets.cpu import atomics
from mosaic.targets.cpu.context import Context
from mosaic.targets.cpu.nodes import Node, dtype_of

if TYPE_CHECKING:
    from mosaic.targets.cpu.expressions import Expressions

Intrinsic = Callable[["Expressions", Context, Node], str]

_SAME_NAME: Final = (
    "exp exp2 exp10 log log2 log10 log1p sqrt rsqrt sin cos tan sinh cosh tanh asin acos atan atan2 pow fmod erf sigmoid floor "
    "ceil trunc copysign hypot"
)

MATH: Final[dict[str, str]] = {
    **{name: name for name in _SAME_NAME.split()},
    # TileLang lowers round to nearbyint: halves go to the even neighbour
    "round": "nearbyint",
    "nearbyint": "nearbyint",
    "fabs": "fabs",
    # CUDA's approximate forms; here they are exact
    "__exp": "exp",
    "__exp10": "exp10",
    "__log": "log",
    "__log2": "log2",
    "__log10": "log10",
    "__sin": "sin",
    "__cos": "cos",
    "__tan": "tan",
}


def _clamp(emit: Expressions, context: Context, node: Node) -> str:
    """NaN where an operand is NaN, unlike max and min."""
    x, low, high = (emit.value(argument) for argument in node.args)
    scalar = context.scalar(dtype_of(node))
    if not scalar.is_float:
        return emit.extreme("min", scalar, emit.extreme("max", scalar, x, low), high)
    tag = "f64" if scalar.bits == 64 else "f32"
    context.sections.add("math")
    return f"ms_clamp_{tag}({x}, {low}, {high})"


def _infinity(emit: Expressions, context: Context, node: Node) -> str:
    return context.scalar(dtype_of(node)).literal(float("inf"))


def _bitwise(symbol: str) -> Intrinsic:
    def intrinsic(emit: Expressions, context: Context, node: Node) -> str:
        scalar = context.scalar(dtype_of(node))
        return f"(({scalar.value})({emit.value(node.args[0])} {symbol} {emit.value(node.args[1])}))"

    return intrinsic


def _bitwise_not(emit: Expressions, context: Context, node: Node) -> str:
    scalar = context.scalar(dtype_of(node))
    return f"(!{emit.value(node.args[0])})" if scalar.name == "bool" else f"(({scalar.value})~{emit.value(node.args[0])})"


def _shift_left(emit: Expressions, context: Context, node: Node) -> str:
    scalar = context.scalar(dtype_of(node))
    unsigned = "uint64_t" if scalar.bits == 64 else "uint32_t"
    return f"(({scalar.value})(({unsigned}){emit.value(node.args[0])} << {emit.value(node.args[1])}))"


def _reinterpret(emit: Expressions, context: Context, node: Node) -> str:
    """The same bits as another dtype of the same width."""
    source, target = context.scalar(dtype_of(node.args[0])), context.scalar(dtype_of(node))
    if source.bits != target.bits:
        raise context.error(f"it reinterprets {source.name} as {target.name}, which has another width")
    text = emit.value(node.args[0])
    bits = {32: "ms_bits_of_f32", 64: "ms_bits_of_f64"}
    back = {32: "ms_f32_from_bits", 64: "ms_f64_from_bits"}
    if source.is_float:
        text = source.stored(text) if source.is_narrow else f"{bits[source.bits]}({text})"
    if not target.is_float:
        return f"(({target.value}){text})"
    unsigned = f"(uint{target.bits}_t){text}"
    return target.load(unsigned) if target.is_narrow else f"{back[target.bits]}({unsigned})"


def _popcount(emit: Expressions, context: Context, node: Node) -> str:
    scalar = context.scalar(dtype_of(node.args[0]))
    suffix = "ll" if scalar.bits == 64 else ""
    mask = "" if scalar.bits >= 32 else f" & {(1 << scalar.bits) - 1}"
    return f"__builtin_popcount{suffix}({emit.value(node.args[0])}{mask})"


def _clz(emit: Expressions, context: Context, node: Node) -> str:
    """Leading zeros; all bits of a zero, as CUDA's __clz."""
    scalar = context.scalar(dtype_of(node.args[0]))
    x = emit.value(node.args[0])
    if scalar.bits == 64:
        return f"({x} == 0 ? 64 : __builtin_clzll({x}))"
    return f"({x} == 0 ? 32 : __builtin_clz({x}))"


def _classify(test: str) -> Intrinsic:
    def intrinsic(emit: Expressions, context: Context, node: Node) -> str:
        scalar = context.scalar(dtype_of(node.args[0]))
        context.sections.add("math")
        return f"ms_{test}_{'f64' if scalar.bits == 64 else 'f32'}({emit.value(node.args[0])})"

    return intrinsic


def _rounded_operation(symbol: str) -> Intrinsic:
    """`T.ieee_add` and the like, in the one rounding mode that a CPU thread has: to nearest."""

    def intrinsic(emit: Expressions, context: Context, node: Node) -> str:
        scalar = context.scalar(dtype_of(node))
        mode = getattr(node.args[-1], "value", "rn")
        if mode != "rn":
            raise context.error(f"it rounds with the mode {mode!r}; the CPU target knows 'rn' only")
        a, b = emit.value(node.args[0]), emit.value(node.args[1])
        return scalar.rounded(f"({a} {symbol} {b})")

    return intrinsic


def _rounded_function(name: str) -> Intrinsic:
    """`T.ieee_fsqrt` and the like."""

    def intrinsic(emit: Expressions, context: Context, node: Node) -> str:
        scalar = context.scalar(dtype_of(node))
        mode = getattr(node.args[1], "value", "rn") if len(node.args) > 1 else "rn"
        if mode != "rn":
            raise context.error(f"it rounds with the mode {mode!r}; the CPU target knows 'rn' only")
        context.sections.add("math")
        x = emit.value(node.args[0])
        return scalar.rounded(f"(1.0f / {x})" if name == "reciprocal" else f"ms_{name}_{'f64' if scalar.bits == 64 else 'f32'}({x})")

    return intrinsic


def _over_elements(macro: str) -> Intrinsic:
    """`T.any_of` and `T.all_of`: arguments are `access_ptr(first element, count, mask)` and the count."""

    def intrinsic(emit: Expressions, context: Context, node: Node) -> str:
        first = node.args[0].args[0]
        view = context.view(first.buffer)
        return f"{macro}(&{view.pointer}[{emit.index(view, first.indices)}], {emit.value(node.args[1])})"

    return intrinsic


def _likely(emit: Expressions, context: Context, node: Node) -> str:
    return emit.value(node.args[0])


def _fma(emit: Expressions, context: Context, node: Node) -> str:
    scalar = context.scalar(dtype_of(node))
    a, b, c = (emit.value(argument) for argument in node.args[:3])
    return scalar.rounded(f"__builtin_fma{'' if scalar.bits == 64 else 'f'}({a}, {b}, {c})")


def _nan_extreme(name: str) -> Intrinsic:
    def intrinsic(emit: Expressions, context: Context, node: Node) -> str:
        return f"ms_{name}_nan_f32({emit.value(node.args[0])}, {emit.value(node.args[1])})"

    return intrinsic


INTRINSICS: Final[dict[str, Intrinsic]] = {
    "clamp": _clamp,
    "infinity": _infinity,
    "bitwise_and": _bitwise("&"),
    "bitwise_or": _bitwise("|"),
    "bitwise_xor": _bitwise("^"),
    "bitwise_not": _bitwise_not,
    "shift_left": _shift_left,
    "shift_right": _bitwise(">>"),
    "reinterpret": _reinterpret,
    "popcount": _popcount,
    "clz": _clz,
    "isnan": _classify("isnan"),
    "isinf": _classify("isinf"),
    "isfinite": _classify("isfinite"),
    "ieee_add": _rounded_operation("+"),
    "ieee_sub": _rounded_operation("-"),
    "ieee_mul": _rounded_operation("*"),
    "ieee_fdiv": _rounded_operation("/"),
    "ieee_fsqrt": _rounded_function("sqrt"),
    "ieee_frsqrt": _rounded_function("rsqrt"),
    "ieee_frcp": _rounded_function("reciprocal"),
    "fast_rcp": _rounded_function("reciprocal"),
    "ieee_fmaf": _fma,
    "fma": _fma,
    "any_of": _over_elements("MS_ANY"),
    "all_of": _over_elements("MS_ALL"),
    "max_nan": _nan_extreme("max"),
    "min_nan": _nan_extreme("min"),
    "likely": _likely,
    **atomics.VALUES,
}
