"""Small questions about TIR expressions, which have no types of their own here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mosaic.tiles.program import Extent

_OPERANDS: Final = ("a", "b", "value", "condition", "true_value", "false_value", "base", "body")


def operands(expr: Any) -> Iterator[Any]:
    """The direct operands of a TIR expression."""
    kind = type(expr).__name__
    if kind == "Call":
        yield from expr.args
    elif kind == "BufferLoad":
        yield from expr.indices
    elif kind not in ("Var", "SizeVar", "IntImm", "FloatImm", "StringImm"):
        for name in _OPERANDS:
            if (found := getattr(expr, name, None)) is not None:
                yield found


def op_name(call: Any) -> str:
    """A call's operator, such as "tl.tileop.copy"; "" if it calls no named operator."""
    return str(getattr(getattr(call, "op", None), "name", ""))


def is_region(expr: Any) -> bool:
    return type(expr).__name__ == "Call" and op_name(expr) == "tl.region"


def extent_of(expr: Any) -> Extent:
    """An int where it is constant, else the expression's text."""
    kind = type(expr).__name__
    if kind == "int":
        return int(expr)
    return int(expr.value) if kind == "IntImm" else str(expr)
