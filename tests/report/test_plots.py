"""Pictures of samples: every sample is in them, at its place."""

from __future__ import annotations

import math
import re
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.report.plots import LEFT, RIGHT, WIDTH, limits, plot, ticks

VALUES = [1.0, 1.1, 0.9, 1.05, 1.0, 0.95]


def dots(text: str) -> list[float]:
    return [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', text)]


def test_every_sample_is_a_dot_at_its_place() -> None:
    text = plot([("a", VALUES, (0.95, 1.05)), ("b", [2.0], None)], "s", noise=0.01)
    found = dots(text)
    assert len(found) == len(VALUES) + 1
    low, high = limits([VALUES, [2.0]])
    span = WIDTH - LEFT - RIGHT
    for x, value in zip(found, [*VALUES, 2.0], strict=True):
        assert x == pytest.approx(LEFT + span * (value - low) / (high - low), abs=0.06)
    assert text.count('class="steps"') == text.count('class="median"') == 2
    assert (text.count('class="interval"'), text.count('class="noise"')) == (1, 2)


def test_samples_far_out_are_marked_and_told() -> None:
    text = plot([("a", [*VALUES, 50.0], None)], "s")
    assert (len(dots(text)), text.count('class="beyond"')) == (len(VALUES), 1)
    assert "1 beyond, to 50 s" in text


def test_the_steps_end_at_all_of_the_samples() -> None:
    (path,) = re.findall(r'<path d="(M[^"]*)" class="steps"', plot([("a", VALUES, None)], "s"))
    heights = [float(y) for y in re.findall(r"V([\d.-]+)", path)]
    assert len(heights) == len(VALUES)
    assert heights == sorted(heights, reverse=True)


def test_names_are_escaped() -> None:
    text = plot([("<script>alert(1)</script>", [1.0], None)], "s")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@given(st.lists(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=20), min_size=1, max_size=4))
def test_limits_hold_every_median(samples: list[list[float]]) -> None:
    low, high = limits(samples)
    assert low < high
    assert all(low <= statistics.median_low(values) <= high for values in samples)
    assert plot([(str(i), values, None) for i, values in enumerate(samples)], "s")


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_a_few_and_within(low: float, width: float) -> None:
    high = low + width
    rounding = 4 * max(math.ulp(low), math.ulp(high))  # a narrow axis far from 0 is as fine as its ends can be written
    found = ticks(low, high)
    assert 3 <= len(found) <= 7
    assert all(low - 1e-6 * width - rounding <= tick <= high + 1e-6 * width + rounding for tick in found)


def test_what_is_beyond_the_axis_is_told_of_both_ends() -> None:
    values = [0.1, *(10.0 + 0.01 * index for index in range(20)), 50.0]
    text = str(plot([("own", values, None)], "s"))
    assert "2 beyond, to 100 ms and 50 s" in text
    paths = [path for path in re.findall(r'd="M([\d.]+),[\d.]+L([\d.]+),', text) if path]
    ends = sorted((float(a), float(b)) for a, b in paths)
    assert ends[0][0] > ends[0][1], "to the left"
    assert ends[-1][0] < ends[-1][1], "to the right"
