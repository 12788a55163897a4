"""Integer index expressions of TVM, evaluated at many points at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from mosaic.errors import ReadError

Operation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _floor_div(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.div(a, b, rounding_mode="floor")


def _trunc_div(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.div(a, b, rounding_mode="trunc")


# TVM's names of its nodes. Div and Mod round towards zero, as in C; FloorDiv and FloorMod down, as in Python.
_BINARY: Final[Mapping[str, Operation]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": _trunc_div,
    "Mod": torch.fmod,
    "FloorDiv": _floor_div,
    "FloorMod": torch.remainder,
    "Min": torch.minimum,
    "Max": torch.maximum,
    "EQ": torch.eq,
    "NE": torch.ne,
    "LT": torch.lt,
    "LE": torch.le,
    "GT": torch.gt,
    "GE": torch.ge,
    "And": torch.logical_and,
    "Or": torch.logical_or,
}
_CALLS: Final[Mapping[str, Operation]] = {
    "tirx.bitwise_xor": torch.bitwise_xor,
    "tirx.bitwise_and": torch.bitwise_and,
    "tirx.bitwise_or": torch.bitwise_or,
    "tirx.shift_left": torch.bitwise_left_shift,
    "tirx.shift_right": torch.bitwise_right_shift,
}


def evaluate(expression: Any, values: Mapping[Any, torch.Tensor]) -> torch.Tensor:
    """The value of an integer expression where its variables have `values`: int64 tensors of shapes that broadcast; so is the result.

    Exact: nothing is assumed of the expression's form (it need not be affine).
    Raises ReadError if it holds an operation that is none on integers, or a variable without a value.
    """
    kind = type(expression).__name__
    if isinstance(expression, int):
        return torch.tensor(expression)
    if kind == "IntImm":
        return torch.tensor(int(expression.value))
    if kind in ("Var", "SizeVar"):
        if expression not in values:
            raise ReadError(f"the variable {expression.name} of an index expression has no value")
        return values[expression]
    if kind in _BINARY:
        return _BINARY[kind](evaluate(expression.a, values), evaluate(expression.b, values))
    if kind == "Not":
        return torch.logical_not(evaluate(expression.a, values))
    if kind == "Cast" and str(expression.dtype) in ("int32", "int64"):
        return evaluate(expression.value, values).to(torch.int64)
    if kind == "Select":
        return _chosen([expression.condition, expression.true_value, expression.false_value], values)
    if kind == "Call":
        name = str(expression.op.name)
        if name == "tirx.if_then_else":
            return _chosen(list(expression.args), values)
        if name in _CALLS:
            first, second = (evaluate(argument, values) for argument in expression.args)
            return _CALLS[name](first, second)
        kind = name
    raise ReadError(f"an index expression holds {kind}, which is no operation on whole numbers known here: {expression}")


def _chosen(parts: list[Any], values: Mapping[Any, torch.Tensor]) -> torch.Tensor:
    condition, yes, no = (evaluate(part, values) for part in parts)
    return torch.where(condition, yes, no)
