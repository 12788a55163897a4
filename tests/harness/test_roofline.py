"""The roof: what limits, what is impossible, and the score between baseline and roof."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.harness.rates import Rate, Rates
from mosaic.harness.roofline import CACHE_MARGIN, MATRIX_MARGIN, MEMORY_MARGIN, Floor, floor, sol_score
from mosaic.harness.work import Work

RATES = Rates("by hand", 1 << 20, {1 << 18: Rate((4e10,)), 1 << 24: Rate((1e10,))}, {"float16": Rate((1e12,)), "float32": Rate((1e11,))})
STREAM = Work({}, 6 << 24, 2 << 24, {}, 6 << 24, 2 << 24)
PRODUCT = Work({"float16": 1e12}, 100, 100, {"float16": 1e12}, 100, 100)


def made(work: Work, cache: str = "uncontrolled") -> Floor:
    found = floor(work, RATES, cache="flushed" if cache == "flushed" else "uncontrolled")
    assert found is not None
    return found


def test_memory_limits_what_moves_much() -> None:
    found = made(STREAM)
    assert found.limit == "memory"
    assert found.seconds == pytest.approx((8 << 24) / 1e10)
    # The last mebibyte of what is written may still be in the cache at the end.
    assert found.least == pytest.approx(((8 << 24) - (1 << 20)) / (1e10 * (1 + MEMORY_MARGIN)))
    assert "bytes cannot be moved" in found.why_least


def test_the_matrix_units_limit_what_multiplies_much() -> None:
    found = made(PRODUCT)
    assert found.limit == "matrix float16"
    assert found.seconds == pytest.approx(1.0)
    assert found.least == pytest.approx(1 / (1 + MATRIX_MARGIN))
    assert found.figure.interval == (found.least, found.seconds)
    assert "matrix float16 1e+06 us" in found.how


def test_what_fits_the_cache_may_move_faster_unless_that_is_flushed() -> None:
    small = Work({}, 1 << 17, 1 << 17, {}, 1 << 17, 1 << 17)
    cached, flushed = made(small), made(small, "flushed")
    assert cached.seconds == pytest.approx((1 << 18) / 4e10)
    assert cached.least == pytest.approx((1 << 18) / (4e10 * (1 + CACHE_MARGIN)))
    assert flushed.seconds == pytest.approx((1 << 18) / 1e10)
    assert flushed.least == pytest.approx((1 << 17) / (1e10 * (1 + MEMORY_MARGIN)))


def test_what_can_be_avoided_makes_no_time_impossible() -> None:
    found = made(Work({"float16": 1e12}, 6 << 24, 2 << 24))
    assert found.seconds == pytest.approx(1.0)
    assert found.least == 0


def test_an_uncertain_rate_makes_fewer_times_impossible() -> None:
    shaky = Rates("by hand", 1 << 20, RATES.copies, {"float16": Rate((0.5e12, 0.5e12, 1e12))})
    found = floor(PRODUCT, shaky)
    assert found is not None
    assert found.least == pytest.approx(1 / (1 + MATRIX_MARGIN + 1.0))


def test_nothing_to_do_has_no_roof_and_products_without_a_rate_have_no_part_in_it() -> None:
    assert floor(Work({}, 0, 0), RATES) is None
    strange = floor(Work({"complex64": 1e15}, 1 << 24, 0, {"complex64": 1e15}, 1 << 24, 0), RATES)
    assert strange is not None
    assert strange.limit == "memory"


ROOF = Floor(1.0, "memory", 0.8, "", "")


def test_the_score() -> None:
    assert sol_score(1.0, 3.0, ROOF) == 1.0
    assert sol_score(0.9, 3.0, ROOF) == 1.0, "within the measurement's uncertainty"
    assert sol_score(3.0, 3.0, ROOF) == pytest.approx(0.5)
    assert sol_score(0.7, 3.0, ROOF) is None
    assert sol_score(2.0, 1.0, ROOF) is None


@given(st.floats(0.8, 1e6), st.floats(0.8, 1e6), st.floats(1.01, 1e6))
def test_the_score_is_between_zero_and_one_and_falls_with_time(one: float, other: float, baseline: float) -> None:
    first, second = sol_score(min(one, other), baseline, ROOF), sol_score(max(one, other), baseline, ROOF)
    assert first is not None
    assert second is not None
    assert 0 <= second <= first <= 1
