"""Dims of a registered tensor: whole-number expressions of symbols, such as `M`, `K//2` or `(L-W)//S+1`."""

from __future__ import annotations

import ast
import keyword
import operator
from collections.abc import Callable, Mapping
from typing import Final

from mosaic.errors import KernelError

_OPERATORS: Final[dict[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def symbols_of(dim: str) -> set[str]:
    """The symbols that a dim needs. Raises KernelError for what is no whole-number expression of symbols."""
    names: set[str] = set()
    try:
        nodes = [] if keyword.iskeyword(dim) else list(ast.walk(ast.parse(dim, mode="eval").body))
    except SyntaxError:
        nodes = []
    for node in nodes:
        match node:
            case ast.Name(id=name):
                names.add(name)
            case ast.Constant(value=value) if type(value) is int:
                pass
            case ast.BinOp(op=op) if type(op) in _OPERATORS:
                pass
            case ast.UnaryOp(op=ast.USub()) | ast.operator() | ast.USub() | ast.Load():
                pass
            case _:
                nodes = []
                break
    if not nodes:
        raise KernelError(f"the dim {dim!r} is no number, symbol, or expression of them with + - * // %")
    return names


def evaluate(dim: str, symbols: Mapping[str, object]) -> int:
    """The value of a dim that `symbols_of` accepts.

    Raises KeyError with the name of a symbol that has no whole number, ZeroDivisionError.
    """
    return _evaluate(ast.parse(dim, mode="eval").body, symbols)


def _evaluate(node: ast.expr, symbols: Mapping[str, object]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name) if isinstance(value := symbols.get(name), int):
            return int(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_evaluate(left, symbols), _evaluate(right, symbols))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, symbols)
    raise KeyError(ast.unparse(node))
