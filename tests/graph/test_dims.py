"""Dims: what they need, and what they come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.errors import KernelError
from mosaic.graph.dims import evaluate, symbols_of

EXPRESSIONS = st.recursive(
    st.sampled_from(("M", "K", "1", "2", "17")),
    lambda inner: st.one_of(
        st.builds("({}{}{})".format, inner, st.sampled_from(("+", "-", "*", "//", "%")), inner), st.builds("-{}".format, inner)
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.integers(1, 100), st.integers(1, 100))
def test_a_dim_is_what_python_makes_of_it(dim: str, m: int, k: int) -> None:
    assert symbols_of(dim) == {name for name in ("M", "K") if name in dim}
    try:
        expected = eval(dim, {"M": m, "K": k})
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            evaluate(dim, {"M": m, "K": k})
    else:
        assert evaluate(dim, {"M": m, "K": k}) == expected


@pytest.mark.parametrize(
    "dim", ["", "M+", "M/2", "M**2", "f(M)", "M.x", "M[0]", "1.5", "'M'", "True", "None", "M if K else 2", "M==2", "~M", "M,K"]
)
def test_anything_else_is_refused(dim: str) -> None:
    with pytest.raises(KernelError, match="is no number, symbol, or expression"):
        symbols_of(dim)


@pytest.mark.parametrize("value", [1.5, "float16"])
def test_a_symbol_must_be_a_whole_number(value: object) -> None:
    with pytest.raises(KeyError, match="K"):
        evaluate("M+K", {"M": 1, "K": value})
