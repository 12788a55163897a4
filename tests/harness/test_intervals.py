"""Intervals: coverage and false alarms on noise of known make, small samples, and what is never concluded."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.errors import InputError
from mosaic.harness.intervals import (
    FEWEST,
    Ratio,
    conclude,
    median_interval,
    ratio,
    student_quantile,
    widened_tail,
)

TRIALS = 300


def rounds(seed: int, count: int, speedup: float = 1.0) -> tuple[list[float], list[float], list[float]]:
    """Times of a program, one `speedup` times as long, and the first again: with drift, noise that lasts, and spikes; in random order."""
    draw = random.Random(seed)
    level = 0.0
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for i in range(count):
        for which in draw.sample(range(3), 3):
            level = 0.8 * level + draw.gauss(0, 0.02)
            spike = draw.expovariate(5) if draw.random() < 0.05 else 0.0
            seconds = 1e-3 * math.exp(level + 0.3 * i / count) * (1 + spike) * (1 + draw.gauss(0, 0.01))
            found[which].append(seconds * (speedup if which == 1 else 1.0))
    return found


def allowed(rate: float) -> float:
    """What a share of that rate stays below in `TRIALS` trials, but for one in some thousand: four standard deviations."""
    return rate + 4 * math.sqrt(rate * (1 - rate) / TRIALS)


@pytest.mark.parametrize("count", [6, 10, 25])
def test_ratios_of_a_program_with_itself_hold_one_as_often_as_is_said(count: int) -> None:
    missed = faster = faster_beside_noise = 0
    for seed in range(TRIALS):
        first, second, again = rounds(seed, count)
        compared = ratio(first, second)
        missed += not compared.interval[0] <= 1 <= compared.interval[1]
        faster += conclude(compared, None).verdict == "faster"
        faster_beside_noise += conclude(compared, ratio(first, again)).verdict == "faster"
    assert missed / TRIALS <= allowed(0.05)
    assert faster / TRIALS <= allowed(0.025)
    assert faster_beside_noise <= faster


def test_a_difference_is_found_where_there_is_one() -> None:
    verdicts = []
    for seed in range(60):
        first, second, again = rounds(seed, 20, speedup=1.2)
        verdicts.append(conclude(ratio(first, second), ratio(first, again)).verdict)
        assert conclude(ratio(second, first), ratio(first, again)).verdict != "faster"
    assert verdicts.count("faster") >= 57


@pytest.mark.parametrize(("count", "least"), [(8, 0.93), (30, 0.93)])
def test_intervals_of_medians_hold_the_median(count: int, least: float) -> None:
    """Of lopsided times, whose median is known: those of an exponential have ln 2."""
    draw = random.Random(7)
    held = 0
    for _ in range(TRIALS):
        low, high = median_interval([draw.expovariate(1) for _ in range(count)])
        held += low <= math.log(2) <= high
    assert held / TRIALS >= least - 4 * math.sqrt(0.95 * 0.05 / TRIALS) + 0.02


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_an_interval_lies_within_the_samples_and_is_the_same_at_every_call(values: list[float]) -> None:
    low, high = median_interval(values)
    assert min(values) <= low <= high <= max(values)
    assert (low, high) == median_interval(values)


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)), min_size=2, max_size=20), st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_a_ratio_turns_around_with_its_programs_and_knows_no_unit(pairs: list[tuple[float, float]], unit: float) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    one, other = ratio(first, second), ratio(second, first)
    assert one.value == pytest.approx(1 / other.value)
    scaled = ratio([a * unit for a in first], [b * unit for b in second])
    assert scaled.value == pytest.approx(one.value)
    assert scaled.interval == pytest.approx(one.interval)
    assert one.value == pytest.approx(math.exp(statistics.median(math.log(b / a) for a, b in pairs)))


def test_what_is_never_concluded() -> None:
    twice = ratio([1.0] * 5, [2.0] * 5)
    assert conclude(twice, None).verdict == "inconclusive"
    assert f"take {FEWEST} at least" in conclude(twice, None).reason
    assert conclude(ratio([1.0] * 6, [2.0] * 6), None).verdict == "faster"
    assert conclude(ratio([2.0] * 6, [1.0] * 6), None).verdict == "slower"
    within = conclude(Ratio(1.05, (1.04, 1.06), 20), Ratio(1.01, (0.98, 1.06), 20))
    assert within.verdict == "inconclusive"
    assert "two timings of the same program differ by up to 1.06" in within.reason
    assert conclude(Ratio(1.5, (0.99, 2.0), 20), None).reason.endswith("it may be 1")


def test_the_noise_is_how_far_its_interval_reaches_either_way() -> None:
    assert Ratio(1.0, (0.5, 1.1), 9).farthest == 2.0
    assert Ratio(1.0, (0.9, 1.5), 9).farthest == 1.5


def test_students_quantiles_are_those_of_the_tables() -> None:
    """Abramowitz and Stegun, table 26.10."""
    for degrees, value in ((1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (120, 1.980)):
        assert student_quantile(0.975, degrees) == pytest.approx(value, abs=6e-4)


def test_small_samples_have_wider_intervals() -> None:
    tails = [widened_tail(count) for count in (5, 10, 30, 1000)]
    assert tails == sorted(tails)
    assert tails[-1] == pytest.approx(0.025, rel=0.02)


@pytest.mark.parametrize(("first", "second"), [([1.0], [1.0, 2.0]), ([], []), ([0.0], [1.0]), ([1.0], [-1.0])])
def test_what_cannot_be_paired_is_refused(first: list[float], second: list[float]) -> None:
    with pytest.raises(InputError):
        ratio(first, second)


def test_no_samples_have_no_median() -> None:
    with pytest.raises(InputError, match="no samples were taken"):
        median_interval([])
    assert median_interval([3.0]) == (3.0, 3.0)
