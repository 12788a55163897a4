"""Discrete results: certain, or one of the alternatives that lie within the errors."""

from __future__ import annotations

import pytest
import torch

from mosaic.errors import KernelError
from mosaic.harness.error_tensor import ErrorTensor
from mosaic.harness.tolerance import bounds_of
from tests.harness.honest import numbers, through, violation, with_error


def test_comparisons_are_uncertain_within_the_error() -> None:
    x = with_error(torch.tensor([1.0, 1.05, 2.0, -1.0]), torch.full((4,), 0.1))
    result: ErrorTensor = through(lambda t: t > 1.0, x)
    assert result.dtype == torch.bool
    assert result.value.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert result.bound.tolist() == [1.0, 1.0, 0.0, 0.0]
    certain = through(lambda t: t > 5.0, x)
    assert type(certain) is torch.Tensor
    assert certain.dtype == torch.bool


def test_logic_of_uncertain_truths() -> None:
    x = with_error(torch.tensor([1.0, 1.0, 3.0]), torch.full((3,), 0.1))
    both = through(lambda t: (t > 1.0) & (t > 2.0), x)
    assert not isinstance(both, ErrorTensor)  # the second is certainly false where the first is uncertain
    either: ErrorTensor = through(lambda t: (t > 1.0) | (t > 2.0), x)
    assert either.bound.tolist() == [1.0, 1.0, 0.0]
    assert through(lambda t: ~(t > 1.0), x).value.tolist() == [1.0, 1.0, 0.0]
    assert through(lambda t: torch.logical_xor(t > 1.0, t > 2.0), x).bound.tolist() == [1.0, 1.0, 0.0]


def test_a_selection_by_an_uncertain_condition_may_give_either() -> None:
    x = with_error(torch.tensor([0.01, 1.0]), torch.full((2,), 0.1))
    result: ErrorTensor = through(lambda t: torch.where(t > 0, torch.full_like(t, 5.0), torch.full_like(t, -2.0)), x)
    assert result.value.tolist() == [5.0, 5.0]
    assert result.bound.tolist() == [7.0, 0.0]
    filled: ErrorTensor = through(lambda t: t.masked_fill(t > 0, 3.0), x)
    assert float(filled.bound[0]) >= 2.99
    assert violation(lambda t: torch.where(t > 0, t, 0.1 * t), [numbers((8, 8), "float32")], [torch.full((8, 8), 0.1)], 1) <= 1.0


def test_casts() -> None:
    x = with_error(torch.tensor([1.5, 2.04, -2.04, 0.05]), torch.full((4,), 0.1))
    whole: ErrorTensor = through(lambda t: t.to(torch.int8), x)
    assert whole.dtype == torch.int8
    assert whole.value.tolist() == [1.0, 2.0, -2.0, 0.0]
    assert whole.bound.tolist() == [0.0, 1.0, 1.0, 0.0]
    again: ErrorTensor = through(lambda t: t.to(torch.int8).to(torch.float64) * 2, x)
    assert again.bound.tolist() == pytest.approx([0.0, 2.0, 2.0, 0.0], rel=1e-6)
    assert through(lambda t: t.bool(), x).bound.tolist() == [0.0, 0.0, 0.0, 1.0]
    half: ErrorTensor = through(lambda t: t.half(), with_error(torch.tensor([1.0, 0.1]), torch.zeros(2)))
    assert half.bound.tolist() == [0.0, 2.0**-15]
    with pytest.raises(KernelError, match="integers that are not certain"):
        through(lambda t: t.to(torch.int32) & 3, x)


def test_certain_integers_stay_plain() -> None:
    x = numbers((4, 4), "float16", "integers")

    def pack(t: torch.Tensor) -> torch.Tensor:
        codes = t.to(torch.int32)
        return (codes[:, ::2] & 15) | ((codes[:, 1::2] & 15) << 4)

    (bound,) = bounds_of(pack, [x], ["int32"])
    assert not bound.error.any()
    assert torch.equal(bound.value, pack(x).double())


def test_quantised_codes_may_differ_by_one_at_a_boundary_only() -> None:
    x = numbers((16, 64), "float16", seed=1)

    def quantise(t: torch.Tensor) -> torch.Tensor:
        return torch.round(t / (t.abs().amax(1, keepdim=True) / 127)).clamp(-128, 127).to(torch.int8)

    (bound,) = bounds_of(quantise, [x], ["int8"])
    assert float(bound.error.max()) <= 1.0
    assert float((bound.error > 0).double().mean()) < 0.01
    right = quantise(x.float())
    assert bound.compare(right).passed
    inner = (bound.error == 0) & (bound.value.abs() < 100)
    place = tuple(int(i) for i in inner.nonzero()[5])
    wrong = right.clone()
    wrong[place] += 1
    assert bound.compare(wrong).worst == place
    reciprocal = torch.round(x.float() * (127 / x.float().abs().amax(1, keepdim=True))).to(torch.int8)
    assert bound.compare(reciprocal).passed


def test_a_value_on_a_boundary_may_round_either_way() -> None:
    scores = with_error(torch.tensor([2.5, 2.4]), torch.tensor([1e-6, 1e-6]))
    result: ErrorTensor = through(torch.round, scores)
    assert result.value.tolist() == [2.0, 2.0]
    assert result.bound.tolist() == [1.0, 0.0]


def test_fp8_codes() -> None:
    x = numbers((32, 32), "float16", seed=1)

    def quantise(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = t.abs().amax(1, keepdim=True) / 448
        return (t / scale).to(torch.float8_e4m3fn), scale

    codes, scale = bounds_of(quantise, [x], ["float8_e4m3fn", "float32"])
    right, right_scale = quantise(x.float())
    assert codes.compare(right).passed
    assert scale.compare(right_scale).passed
    bits = right.view(torch.uint8).clone()
    bits[3, 3] ^= 1  # the next code
    assert not codes.compare(bits.view(torch.float8_e4m3fn)).passed


def test_argmax_accepts_the_alternatives_within_the_error() -> None:
    x = torch.tensor([[1.0, 3.0, 3.0 + 2.0**-22, 0.0], [5.0, 1.0, 2.0, 3.0]])

    def best(t: torch.Tensor) -> torch.Tensor:
        return (t * 0.3).argmax(1)

    (bound,) = bounds_of(best, [x], ["int64"])
    assert bound.choices is not None
    assert bound.choices.allowed.tolist() == [[False, True, True, False], [True, False, False, False]]
    for answer, right in (([2, 0], True), ([1, 0], True), ([0, 0], False), ([2, 1], False), ([9, 0], False), ([-1, 0], False)):
        assert bound.compare(torch.tensor(answer)).passed is right
    assert "index is right" in bound.explanation
    (kept,) = bounds_of(lambda t: best(t).unsqueeze(1).to(torch.int32), [x], ["int32"])
    assert kept.compare(torch.tensor([[1], [0]], dtype=torch.int32)).passed
    assert not kept.compare(torch.tensor([[3], [0]], dtype=torch.int32)).passed
    (low,) = bounds_of(lambda t: (-t * 0.3).argmin(1), [x], ["int64"])
    assert low.compare(torch.tensor([1, 0])).passed
    assert low.compare(torch.tensor([2, 0])).passed


def test_exact_ties_leave_all_tied_indices() -> None:
    x = torch.tensor([[2.0, 2.0, 1.0]])
    (bound,) = bounds_of(lambda t: t.argmax(1), [x], ["int64"])
    assert [bound.compare(torch.tensor([i])).passed for i in range(3)] == [True, True, False]
    whole = bounds_of(lambda t: t.argmax(), [x], ["int64"])[0]
    assert whole.compare(torch.tensor(1)).passed


def test_maximum_with_index() -> None:
    x = numbers((6, 20), "float32", seed=1)
    value, index = bounds_of(lambda t: (t * 0.7).max(1), [x], ["float32", "int64"])
    got = (x * 0.7).max(1)
    assert value.compare(got.values).passed
    assert index.compare(got.indices).passed
    low, where = bounds_of(lambda t: (t * 0.7).min(1, keepdim=True), [x], ["float32", "int64"])
    assert low.compare((x * 0.7).min(1, keepdim=True).values).passed
    assert where.compare((x * 0.7).min(1, keepdim=True).indices).passed


def test_topk_values_and_distinct_indices() -> None:
    x = torch.tensor([[1.0, 1.0 + 1e-7, 3.0, 0.0]])
    value, index = bounds_of(lambda t: torch.topk(t * 0.3, 2), [x], ["float32", "int64"])
    assert value.compare((x * 0.3).topk(2).values).passed
    for answer, right in (([2, 1], True), ([2, 0], True), ([2, 3], False), ([1, 2], False), ([2, 2], False)):
        assert index.compare(torch.tensor([answer])).passed is right
    assert violation(lambda t: t.topk(3, 1).values, [numbers((4, 9), "float32")], [torch.full((4, 9), 0.3)], 1) <= 1.0
    ordered, places = bounds_of(lambda t: torch.sort(t * 0.3, 1, descending=True), [x], ["float32", "int64"])
    assert ordered.compare((x * 0.3).sort(1, descending=True).values).passed
    assert places.compare(torch.tensor([[2, 1, 0, 3]])).passed
    assert places.compare(torch.tensor([[2, 0, 1, 3]])).passed


def test_pools_and_extremes() -> None:
    x, error = numbers((2, 3, 8, 8), "float32", seed=1), torch.full((2, 3, 8, 8), 0.2)
    assert violation(lambda t: torch.nn.functional.max_pool2d(t, 2), [x], [error], 1) <= 1.0
    assert violation(lambda t: torch.nn.functional.max_pool1d(t[0], 3), [x], [error], 1) <= 1.0
    assert violation(lambda t: t.amax((1, 2)), [x], [error], 1) <= 1.0
    assert violation(lambda t: t.amin(-1, keepdim=True), [x], [error], 1) <= 1.0
    assert violation(lambda t: t.max(), [x], [error], 1) <= 1.0


def test_classification_of_special_values() -> None:
    x = torch.tensor([float("nan"), float("inf"), 1.0])
    (bound,) = bounds_of(torch.isnan, [x], ["bool"])
    assert bound.value.tolist() == [1.0, 0.0, 0.0]
    assert bound.compare(torch.tensor([True, False, False])).passed
    assert not bound.compare(torch.tensor([True, True, False])).passed


def test_arithmetic_of_uncertain_integers() -> None:
    table, x = numbers((5, 3), "float32", seed=1), torch.tensor([[2.0, 2.0, 1.0], [0.0, 1.0, 5.0]])

    def pick(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return t[(2 * s.argmax(1) + 1) % len(t)]

    (bound,) = bounds_of(pick, [table, x], ["float32"])
    assert torch.isinf(bound.error).all()  # which element an index reaches is not looked into
    (certain,) = bounds_of(pick, [table, x[1:]], ["float32"])
    assert certain.compare(table[[0]]).passed
    wrapped: ErrorTensor = through(lambda t: torch.remainder(t, 2.0), with_error(torch.tensor([1.9, 1.0, -0.5]), torch.full((3,), 0.2)))
    assert wrapped.bound.tolist() == pytest.approx([4.0, 0.2, 0.2])
    truncated: ErrorTensor = through(lambda t: torch.fmod(t, 2.0), with_error(torch.tensor([-0.5]), torch.full((1,), 0.2)))
    assert truncated.value.tolist() == [-0.5]


def test_casts_out_of_range_are_unknown() -> None:
    x = torch.tensor([float("nan"), float("inf"), 300.0, 127.5, -128.5, 5.0])
    (bound,) = bounds_of(lambda t: t.to(torch.int8), [x], ["int8"])
    assert torch.isinf(bound.error).tolist() == [True, True, True, False, False, False]
    assert bound.compare(torch.tensor([0, 127, 44, 127, -128, 5], dtype=torch.int8)).passed
    assert not bound.compare(torch.tensor([0, 127, 44, 127, -128, 6], dtype=torch.int8)).passed
