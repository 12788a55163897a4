"""Sampled propagation of errors."""

from __future__ import annotations

import math

import pytest
import torch

from mosaic.dtypes import DTYPES
from mosaic.harness.sampling import Samples, draw_normal, student_quantile


def test_student_quantiles_are_those_of_the_tables() -> None:
    # two-sided, from printed tables of the t distribution
    for degrees, failure, expected in ((2, 0.05, 4.303), (10, 0.05, 2.228), (10, 0.001, 4.587), (24, 0.01, 2.797), (60, 0.001, 3.460)):
        assert student_quantile(degrees, failure) == pytest.approx(expected, abs=6e-4)
    assert student_quantile(24, 1e-10) == pytest.approx(10.84, abs=0.01)


def test_draws_are_normal_and_independent() -> None:
    value = torch.randn(4096, dtype=torch.float64)
    drawn = draw_normal(value, DTYPES["float16"], "salt", 24)
    assert drawn.shape == (24, 4096)
    assert float(drawn.mean(1).abs().max()) < 0.08
    correlation = (drawn @ drawn.T) / 4096 - torch.eye(24, dtype=torch.float64)
    assert float(correlation.abs().max()) < 0.15
    assert float((drawn**4).mean()) == pytest.approx(3.0, abs=0.1)
    assert float((drawn.abs() < 0.01).double().mean()) == pytest.approx(0.00798, abs=0.001)
    other = draw_normal(value, DTYPES["float16"], "other", 24)
    assert float(((drawn * other).mean(1)).abs().max()) < 0.08


def test_equal_values_get_equal_errors() -> None:
    value = torch.tensor([0.1, 0.1, 0.1 + 1e-9, 0.2], dtype=torch.float64)
    drawn = draw_normal(value, DTYPES["float16"], "x", 62)
    assert torch.equal(drawn[:, 0], drawn[:, 1])
    assert torch.equal(drawn[:, 0], drawn[:, 2])
    assert not torch.equal(drawn[:, 0], drawn[:, 3])
    assert torch.equal(drawn, draw_normal(value, DTYPES["float16"], "x", 62))


def test_samples_follow_a_linear_map() -> None:
    """The bound of a sum of independent errors is a few standard deviations of it."""
    samples = Samples(64, 1e-10)
    value = torch.randn(400, 100, dtype=torch.float64)
    samples.store("x", value, DTYPES["float16"], None, torch.full_like(value, 0.01))
    moved = samples.push(lambda values: (values[0].sum(1),), ["x"], [value])
    assert moved is not None
    bound = samples.bound(moved[0])
    deviation = 0.01 / math.sqrt(3) * 10
    assert float(bound.min()) > 2 * deviation
    assert float(bound.median()) == pytest.approx(samples.quantile * deviation, rel=0.1)
    assert samples.push(lambda values: values, ["y"], [value]) is None


def test_unknown_elements_stay_unknown() -> None:
    samples = Samples(8, 1e-6)
    value = torch.ones(3, dtype=torch.float64)
    samples.store("x", value, DTYPES["float16"], None, torch.tensor([0.1, math.inf, 0.0], dtype=torch.float64))
    moved = samples.push(lambda values: (values[0] * 2,), ["x"], [value])
    assert moved is not None
    assert torch.isinf(samples.bound(moved[0])).tolist() == [False, True, False]
    samples.drop("x")
    assert not samples.errors


def test_infinite_values_do_not_move() -> None:
    samples = Samples(8, 1e-6)
    value = torch.tensor([-math.inf, 1.0], dtype=torch.float64)
    samples.store("x", value, DTYPES["float16"], None, torch.tensor([0.0, 0.1], dtype=torch.float64))
    moved = samples.push(lambda values: (values[0] + 1,), ["x"], [value])
    assert moved is not None
    assert float(samples.bound(moved[0])[0]) == 0.0


def test_the_number_of_samples_is_even_and_limited() -> None:
    assert [Samples(n, 1e-6).samples for n in (1, 7, 24, 1000)] == [2, 6, 24, 64]
