"""Index expressions at many points at once, against the same expressions one point at a time, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tilelang import tvm  # noqa: F401  (puts TileLang's own tvm on the path)
from tvm import arith, tirx

from mosaic.errors import ReadError
from mosaic.layouts.evaluate import evaluate

ROW, COLUMN = tirx.Var("i", "int32"), tirx.Var("j", "int32")
ROWS, COLUMNS = 7, 12


def everywhere(expression: Any) -> list[list[int]]:
    values = {ROW: torch.arange(ROWS).reshape(-1, 1), COLUMN: torch.arange(COLUMNS).reshape(1, -1)}
    found: list[list[int]] = torch.broadcast_to(evaluate(expression, values), (ROWS, COLUMNS)).to(torch.int64).tolist()
    return found


def one_by_one(expression: Any) -> list[list[int]]:
    """TVM's own arithmetic, with numbers put in for the variables."""
    analyzer = arith.Analyzer()
    table = [[0] * COLUMNS for _ in range(ROWS)]
    for i, j in itertools.product(range(ROWS), range(COLUMNS)):
        numbers = {ROW: tirx.IntImm("int32", i), COLUMN: tirx.IntImm("int32", j)}
        table[i][j] = int(analyzer.simplify(tirx.stmt_functor.substitute(expression, numbers)))
    return table


def expressions() -> st.SearchStrategy[Any]:
    """Random trees of the operations that layouts are made of; divisors are positive numbers."""
    leaves = st.one_of(st.sampled_from([ROW, COLUMN]), st.integers(-9, 9).map(lambda n: tirx.IntImm("int32", n)))
    divisors = st.integers(1, 9).map(lambda n: tirx.IntImm("int32", n))
    free = st.sampled_from([tirx.Add, tirx.Sub, tirx.Mul, tirx.Min, tirx.Max])
    dividing = st.sampled_from([tirx.FloorDiv, tirx.FloorMod, tirx.Div, tirx.Mod])

    def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.builds(lambda make, a, b: make(a, b), free, inner, inner),
            st.builds(lambda make, a, b: make(a, b), dividing, inner, divisors),
            st.builds(lambda a, b, c: tirx.Select(tirx.LT(a, b), c, a), inner, inner, inner),
        )

    return st.recursive(leaves, grown, max_leaves=8)


@given(expressions())
def test_it_agrees_with_tvm_at_every_point(expression: Any) -> None:
    assert everywhere(expression) == one_by_one(expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda: ROW ^ COLUMN, lambda i, j: i ^ j),
        (lambda: ROW & COLUMN, lambda i, j: i & j),
        (lambda: ROW | COLUMN, lambda i, j: i | j),
        (lambda: ROW << 2, lambda i, j: i << 2),
        (lambda: COLUMN >> 1, lambda i, j: j >> 1),
        (
            lambda: tirx.if_then_else(tirx.And(ROW < COLUMN, tirx.Not(tirx.EQ(ROW, 3))), ROW, 100 + COLUMN),
            lambda i, j: i if i < j and i != 3 else 100 + j,
        ),
        (lambda: tirx.FloorDiv(ROW - 5, tirx.IntImm("int32", 2)), lambda i, j: (i - 5) // 2),
        (lambda: tirx.FloorMod(ROW - 5, tirx.IntImm("int32", 4)), lambda i, j: (i - 5) % 4),
    ],
)
def test_against_python(expression: Any, expected: Any) -> None:
    assert everywhere(expression()) == [[expected(i, j) for j in range(COLUMNS)] for i in range(ROWS)]


def test_an_unknown_variable() -> None:
    with pytest.raises(ReadError, match="the variable stranger of an index expression has no value"):
        evaluate(ROW + tirx.Var("stranger", "int32"), {ROW: torch.arange(3)})


def test_an_operation_on_fractions() -> None:
    with pytest.raises(ReadError, match=r"holds .*, which is no operation on whole numbers"):
        evaluate(tirx.exp(tirx.Cast("float32", ROW)), {ROW: torch.arange(3)})
