"""Affine functions against Python's own integers."""

from __future__ import annotations

import itertools
from typing import Any, Final

import pytest
import tilelang  # noqa: F401  (puts its own tvm on the path)
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx

from mosaic.tiles.affine import Affine, Div, Mod, Var, parse, to_expr, var
from tests.tiles.trace import number

NAMES: Final = ("x", "y", "z")
TIR: Final = {name: tirx.Var(name, "int32") for name in NAMES}
VARS: Final = {name: var(TIR[name]) for name in NAMES}
BACK: Final = {VARS[name]: TIR[name] for name in NAMES}
RANGES: Final = {VARS["x"]: (0, 4), VARS["y"]: (0, 6), VARS["z"]: (-3, 2)}


def plain(name: str) -> Affine:
    return Affine(((VARS[name], 1),))


_SMALL: Final = st.integers(-12, 12)
_BY: Final = st.integers(1, 9)
# Expression trees: a leaf, or (operator, left, right or number).
Tree = Any
_TREES: Final[st.SearchStrategy[Tree]] = st.recursive(
    st.one_of(st.sampled_from(NAMES), _SMALL),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-"), inner, inner),
        st.tuples(st.just("*"), inner, _SMALL),
        st.tuples(st.sampled_from(("//", "%")), inner, _BY),
    ),
    max_leaves=6,
)


def affine(tree: Tree) -> Affine:
    if isinstance(tree, str):
        return plain(tree)
    if isinstance(tree, int):
        return Affine((), tree)
    operator, left, right = tree
    a = affine(left)
    match operator:
        case "+":
            return a + affine(right)
        case "-":
            return a - affine(right)
        case "*":
            return a * int(right)
        case "//":
            return a // int(right)
    return a % int(right)


def expression(tree: Tree) -> Any:
    if isinstance(tree, str):
        return TIR[tree]
    if isinstance(tree, int):
        return tirx.IntImm("int32", tree)
    operator, left, right = tree
    a, b = expression(left), expression(right)
    return {"+": tirx.Add, "-": tirx.Sub, "*": tirx.Mul, "//": tirx.FloorDiv, "%": tirx.FloorMod}[operator](a, b)


def integer(tree: Tree, values: dict[str, int]) -> int:
    if isinstance(tree, str):
        return values[tree]
    if isinstance(tree, int):
        return tree
    operator, left, right = tree
    a, b = integer(left, values), integer(right, values)
    return {"+": a + b, "-": a - b, "*": a * b, "//": a // (b or 1), "%": a % (b or 1)}[operator]


def points() -> list[dict[str, int]]:
    spans = [range(low, high + 1) for low, high in RANGES.values()]
    return [dict(zip(NAMES, point, strict=True)) for point in itertools.product(*spans)]


POINTS: Final = points()


def known(point: dict[str, int]) -> dict[Var, int]:
    return {VARS[name]: value for name, value in point.items()}


@given(_TREES)
def test_arithmetic_is_that_of_integers(tree: Tree) -> None:
    value = affine(tree)
    for point in POINTS[::7]:
        assert number(value, known(point)) == integer(tree, point)


@given(_TREES)
def test_parsing_gives_the_same_as_building(tree: Tree) -> None:
    assert parse(expression(tree)) == affine(tree)


@given(_TREES)
def test_parsing_an_expression_gives_it_back(tree: Tree) -> None:
    value = affine(tree)
    assert parse(to_expr(value, lambda v: BACK[v])) == value


@given(_TREES, _TREES)
def test_sums_commute_and_differences_cancel(one: Tree, other: Tree) -> None:
    a, b = affine(one), affine(other)
    assert a + b == b + a
    assert (a + b) - b == a
    assert a - a == Affine()
    assert hash(a + b) == hash(b + a)


@given(_TREES, _BY)
def test_division_and_remainder_recompose(tree: Tree, by: int) -> None:
    value = affine(tree)
    whole = (value // by) * by + value % by
    for point in POINTS[::11]:
        assert number(whole, known(point)) == integer(tree, point)


@given(_TREES)
@settings(max_examples=200)
def test_intervals_hold_every_value(tree: Tree) -> None:
    value = affine(tree)
    found = value.interval(RANGES)
    assert found is not None
    values = [number(value, known(point)) for point in POINTS]
    assert found[0] <= min(values)
    assert max(values) <= found[1]


@given(st.tuples(_SMALL, _SMALL, _SMALL), _SMALL)
def test_intervals_are_sharp_where_each_variable_stands_once(factors: tuple[int, int, int], constant: int) -> None:
    value = Affine((), constant)
    for name, factor in zip(NAMES, factors, strict=True):
        value = value + plain(name) * factor
    values = [number(value, known(point)) for point in POINTS]
    assert value.interval(RANGES) == (min(values), max(values))


@given(_TREES, _BY)
def test_what_a_division_leaves_of_its_dividend(tree: Tree, by: int) -> None:
    value = affine(tree)
    left = value - (value // by) * by
    found = left.interval(RANGES)
    assert found is not None
    assert found[0] >= 0
    assert found[1] < by


def test_the_remainder_of_multiples_is_a_multiple() -> None:
    value = plain("x") * 48 + plain("y") * 16 + 8
    assert (value % 32).interval(RANGES) == (8, 24)
    assert (value - (value // 32) * 32).interval(RANGES) == (8, 24)


@given(_TREES, _TREES, _TREES)
def test_substitution_is_evaluation(tree: Tree, one: Tree, other: Tree) -> None:
    value = affine(tree).substitute({VARS["x"]: affine(one), VARS["y"]: affine(other)})
    for point in POINTS[::17]:
        inner = {"x": integer(one, point), "y": integer(other, point), "z": point["z"]}
        assert number(value, known(point)) == integer(tree, inner)


def test_a_variable_without_a_range_has_no_bounds() -> None:
    assert (plain("x") + 1).interval({}) is None
    assert (plain("x") // 2).interval({}) is None


def test_equal_sums_of_variables_of_one_name_are_equal() -> None:
    """Unrelated kernels name their variables alike."""
    one, other = Var(1, "i"), Var(2, "i")
    a = Affine(((Div(Affine(((one, 1),)), 3), 1),))
    b = Affine(((Div(Affine(((other, 1),)), 3), 1),))
    assert a != b
    assert a + b == b + a
    assert (a + b).terms == (b + a).terms
    assert Affine(((one, 1),)) + Affine(((other, 1),)) == Affine(((other, 1),)) + Affine(((one, 1),))


def test_queries() -> None:
    value = plain("x") * 3 + (plain("y") % 4) + 5
    assert value.coefficient(VARS["x"]) == 3
    assert value.coefficient(VARS["z"]) == 0
    assert not value.is_constant
    assert Affine((), 3).is_constant
    assert list(value.variables()) == [VARS["x"], VARS["y"]]
    assert list(value.plain_variables()) == [VARS["x"]]
    assert repr(value) == "3*x + (y) % 4 + 5"
    assert repr((plain("y") // 4) * 32) == "32*((y) // 4)"
    assert repr(Affine()) == "0"
    assert isinstance((plain("x") % 3).terms[0][0], Mod)


def test_bound_variables_are_followed() -> None:
    assert parse(TIR["x"] + 1, {VARS["x"]: plain("y") * 2}) == plain("y") * 2 + 1
    assert parse(TIR["x"] + 1, {VARS["x"]: None}) is None


_X: Final = TIR["x"]
_BUFFER: Final = tirx.decl_buffer((4,), "int32", "b")


@pytest.mark.parametrize(
    "expr",
    [
        tirx.Mul(_X, _X),
        tirx.FloorDiv(_X, TIR["y"]),
        tirx.FloorDiv(_X, tirx.IntImm("int32", -2)),
        tirx.FloorDiv(_X, tirx.IntImm("int32", 0)),
        tirx.Div(_X, tirx.IntImm("int32", 2)),  # rounds towards zero
        tirx.Mod(_X, tirx.IntImm("int32", 2)),
        tirx.Cast("int8", _X),  # wraps
        tirx.Cast("uint16", _X),
        tirx.Cast("float32", _X),
        tirx.BufferLoad(_BUFFER, [_X]),
        tirx.Min(_X, TIR["y"]),
        tirx.FloatImm("float32", 1.0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_what_is_not_affine_is_none(expr: Any) -> None:
    assert parse(expr) is None
    if str(expr.dtype) == "int32":
        assert parse(expr + _X) is None


def test_wide_casts_are_followed() -> None:
    assert parse(tirx.Cast("int64", _X)) == plain("x")
    assert parse(7) == Affine((), 7)
