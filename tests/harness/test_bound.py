"""Comparing a candidate's tensor with a bound."""

from __future__ import annotations

import math

import pytest
import torch

from mosaic.errors import InputError
from mosaic.harness.bound import BLOCK, Bound
from mosaic.harness.error_tensor import Choices
from mosaic.harness.tolerance import bounds_of


def bound_of(values: list[float], errors: list[float], dtype: str = "float32") -> Bound:
    return Bound(torch.tensor(values, dtype=torch.float64), torch.tensor(errors, dtype=torch.float64), dtype)


def test_the_ratio_says_how_much_of_the_bound_is_used() -> None:
    comparison = bound_of([1.0, 2.0, 3.0], [0.1, 0.1, 0.0]).compare(torch.tensor([1.05, 2.2, 3.0]))
    torch.testing.assert_close(comparison.ratio, torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64), rtol=1e-5, atol=1e-6)
    assert not comparison.passed
    assert comparison.worst == (1,)
    assert bound_of([3.0], [0.0]).compare(torch.tensor([3.0000002])).ratio.tolist() == [math.inf]


def test_nan_is_right_exactly_where_the_reference_has_one() -> None:
    bound = bound_of([math.nan, 1.0], [0.0, 0.5])
    assert bound.compare(torch.tensor([math.nan, 1.0])).passed
    assert not bound.compare(torch.tensor([0.0, 1.0])).passed
    assert not bound.compare(torch.tensor([math.nan, math.nan])).passed


def test_infinities_have_a_sign() -> None:
    bound = bound_of([math.inf, -math.inf, 1.0], [0.0, 0.0, 0.5])
    assert bound.compare(torch.tensor([math.inf, -math.inf, 1.0])).passed
    for wrong in ([-math.inf, -math.inf, 1.0], [math.inf, 1e30, 1.0], [math.inf, -math.inf, math.inf], [math.nan, -math.inf, 1.0]):
        assert not bound.compare(torch.tensor(wrong)).passed


def test_overflow_may_give_an_infinity_or_the_largest_number() -> None:
    bound = bound_of([65519.0, -70000.0, 60000.0], [32.0, 32.0, 32.0], "float16")
    for answer, right in (
        ([65504.0, -math.inf, 60000.0], True), ([math.inf, -65504.0, 60000.0], True), ([-math.inf, -math.inf, 60000.0], False),
        ([math.inf, math.inf, 60000.0], False), ([math.inf, -60000.0, 60000.0], False), ([math.inf, -math.inf, math.inf], False),
        ([math.nan, -math.inf, 60000.0], False),
    ):  # fmt: skip
        assert bound.compare(torch.tensor(answer).half()).passed is right
    eight = bound_of([500.0], [1.0], "float8_e4m3fn")
    assert eight.compare(torch.tensor([448.0])).passed
    assert eight.compare(torch.tensor([math.nan])).passed
    assert not eight.compare(torch.tensor([224.0])).passed


def test_unknown_elements_are_counted_and_not_judged() -> None:
    comparison = bound_of([1.0, 2.0], [math.inf, 0.1]).compare(torch.tensor([math.nan, 2.0]))
    assert comparison.passed
    assert comparison.unchecked == 0.5


def test_choices() -> None:
    allowed = torch.tensor([[[True, True, False], [True, True, False]]])
    bound = Bound(
        torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64), "int64", choices=Choices(allowed, distinct=True)
    )
    assert bound.compare(torch.tensor([[1, 0]])).passed
    assert not bound.compare(torch.tensor([[0, 0]])).passed
    assert not bound.compare(torch.tensor([[0, 2]])).passed
    assert bound.looseness == 0.0


def test_another_shape_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="shape"):
        bound_of([1.0], [0.1]).compare(torch.ones(1, 1))


def test_looseness() -> None:
    assert bound_of([2.0, -2.0], [0.1, 0.1]).looseness == pytest.approx(0.05)
    assert bound_of([0.0, 0.0], [0.0, 0.0]).looseness == 0.0
    assert bound_of([0.0, 0.0], [0.1, 0.1]).looseness == math.inf
    assert bound_of([1.0], [math.inf]).looseness == math.inf


def test_explanations() -> None:
    assert bound_of([1.0], [0.0]).explanation.startswith("exact")
    assert bound_of([1.0], [math.inf]).explanation.startswith("unbounded")
    text = bounds_of(lambda a, b: a @ b, [torch.rand(4, 64).half(), torch.rand(64, 4).half()], ["float16"])[0].explanation
    assert "float16: median" in text
    assert "adding 64 terms in float32" in text


def test_scalars_and_empty_tensors() -> None:
    scalar = Bound(torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64), "float32")
    assert scalar.compare(torch.tensor(1.05)).passed
    assert scalar.compare(torch.tensor(2.0)).worst == ()
    empty = bound_of([], [])
    assert empty.compare(torch.ones(0)).passed


def test_large_tensors_are_compared_as_small_ones() -> None:
    """Most blocks are right and ordinary, some are not: together they say what their elements say alone."""
    draw = torch.Generator().manual_seed(0)
    value = torch.randn(5 * BLOCK + 3, generator=draw, dtype=torch.float64)
    error = torch.rand(value.shape, generator=draw, dtype=torch.float64) + 0.5
    got = value + 0.4 * error
    odd = {3: (1.0, 0.0, 1.0), BLOCK + 1: (math.nan, 0.0, math.nan), 2 * BLOCK: (0.0, math.inf, 9.0), 4 * BLOCK: (1.0, 0.1, 1.3)}
    for index, (wanted, allowed, found) in odd.items():
        value[index], error[index], got[index] = wanted, allowed, found
    comparison = Bound(value, error, "float32").compare(got)
    assert not comparison.passed
    assert comparison.worst == (4 * BLOCK,)
    assert comparison.unchecked == 1 / len(value)
    for index in (0, 3, BLOCK, BLOCK + 1, 2 * BLOCK, 4 * BLOCK, 5 * BLOCK + 2):
        one = slice(index, index + 1)
        assert comparison.ratio[one].equal(Bound(value[one], error[one], "float32").compare(got[one]).ratio)


@pytest.mark.parametrize("strange", [(), (math.inf,), (math.nan, math.inf)])
@pytest.mark.parametrize("size", [1, 2, 101, BLOCK + 1])
def test_loose_bounds_are_told_without_their_median(size: int, strange: tuple[float, ...]) -> None:
    draw = torch.Generator().manual_seed(size)
    value = torch.randn(size, generator=draw, dtype=torch.float64)
    error = torch.rand(size, generator=draw, dtype=torch.float64)
    for index, one in enumerate(strange[:size]):
        error[index] = one
        value[-1 - index] = one
    bound = Bound(value, error, "float32")
    for limit in (0.0, 0.1, 0.4, 0.5, 0.6, 2.0, bound.looseness, bound.looseness * 0.99, bound.looseness * 1.01):
        assert bound.is_looser(limit) == (bound.looseness > limit), limit
    assert not Bound(value * 0, error * 0, "float32").is_looser(0.25) or not math.isfinite(float(value.sum() + error.sum()))
    choices = Choices(torch.ones(2, 3, dtype=torch.bool))
    assert not Bound(torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), "int64", {}, choices).is_looser(0.25)
