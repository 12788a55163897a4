"""What samples tell: medians and ratios with their intervals, the noise between two timings of the same, and when nothing is told.

Intervals are percentile bootstraps, widened for small samples as Hesterberg proposes (What Teachers Should Know About the Bootstrap,
The American Statistician 69(4), 2015, section 4: quantiles of the normal at sqrt(n / (n - 1)) times Student's t), as plain percentiles
promise too much below some 30 samples. Ratios are of neighbours in time, whose order was drawn at random: drift is the same in both.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import torch

from mosaic.errors import InputError

Verdict = Literal["faster", "slower", "inconclusive"]

CONFIDENCE: Final = 0.95
"""Of every interval here. So of comparisons of a program with itself no more than 2.5 % may end in `faster`."""

RESAMPLES: Final = 4000
"""Draws of a bootstrap. Its own error moves the ends by about a hundredth of the interval."""

FEWEST: Final = 6
"""With fewer rounds no interval of a median reaches 95 %: that all 5 lie on one side of it happens in one of 16 cases."""

_ELEMENTS: Final = 1 << 22
"""Of the largest tensor of draws at once."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long the second takes: the median of the pairs' ratios, with its interval. `pairs` is their number."""

    value: float
    interval: tuple[float, float]
    pairs: int

    @property
    def farthest(self) -> float:
        """How far from 1 the interval reaches, as a factor of at least 1."""
        return max(self.interval[1], 1 / self.interval[0])


@dataclass(frozen=True)
class Conclusion:
    """What a comparison says of the first program against the second, and why, in a sentence."""

    verdict: Verdict
    reason: str


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Between what the median lies with 95 % confidence: the same at every call.

    Raises InputError for no values. A single value has itself as both ends: it tells nothing of its spread.
    """
    if not values:
        raise InputError("no samples were taken, so they have no median; ask for one at least")
    tensor = torch.tensor(values, dtype=torch.float64)
    if len(values) == 1 or bool((tensor == tensor[0]).all()):
        return values[0], values[0]
    generator = torch.Generator().manual_seed(0)
    rows = max(1, min(RESAMPLES, _ELEMENTS // len(values)))
    medians = []
    for start in range(0, RESAMPLES, rows):
        drawn = torch.randint(len(values), (min(rows, RESAMPLES - start), len(values)), generator=generator)
        medians.append(_medians(tensor[drawn]))
    tail = widened_tail(len(values))
    low, high = torch.quantile(torch.cat(medians), torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return float(low), float(high)


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Of second[i] / first[i], which were timed beside each other: above 1 the first is faster.

    Raises InputError unless both have the same number of samples, all of them positive.
    """
    if len(first) != len(second) or not first:
        raise InputError(f"{len(first)} samples cannot be paired with {len(second)}; take one of each in every round")
    if min(*first, *second) <= 0:
        raise InputError("a time of zero or less is no sample; use a clock that can tell it from zero")
    logs = [math.log(b / a) for a, b in zip(first, second, strict=True)]
    low, high = median_interval(logs)
    return Ratio(math.exp(statistics.median(logs)), (math.exp(low), math.exp(high)), len(logs))


def conclude(compared: Ratio, noise: Ratio | None) -> Conclusion:
    """Whether the first program is faster or slower than the second, given how far two timings of the same program lie apart.

    Nothing is concluded from fewer than `FEWEST` rounds, from an interval that holds 1, nor of an effect within the noise.
    """
    low, high = compared.interval
    told = f"the ratio is {compared.value:.4g}, between {low:.4g} and {high:.4g} with 95 % confidence"
    if compared.pairs < FEWEST:
        return Conclusion("inconclusive", f"{compared.pairs} rounds are too few to exclude chance; take {FEWEST} at least")
    if low <= 1 <= high:
        return Conclusion("inconclusive", f"{told}: it may be 1")
    if noise is not None and max(compared.value, 1 / compared.value) <= noise.farthest:
        return Conclusion("inconclusive", f"{told}, and two timings of the same program differ by up to {noise.farthest:.4g}")
    return Conclusion("faster" if low > 1 else "slower", told)


@lru_cache(maxsize=256)
def widened_tail(count: int) -> float:
    """The share of draws beyond each end of an interval from `count` samples."""
    normal = statistics.NormalDist()
    return normal.cdf(-math.sqrt(count / (count - 1)) * student_quantile((1 + CONFIDENCE) / 2, count - 1))


def student_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution at a probability of at least one half, by bisection of its distribution function."""
    low, high = 0.0, 1e4
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_below(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _student_below(t: float, degrees: int) -> float:
    """P(T <= t) for t >= 0: the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2 == 1
    term = total = cosine if odd else 1.0
    if degrees == 1:
        return 0.5 + angle / math.pi
    for i in range(3 if odd else 2, degrees - 1, 2):
        term *= cosine * cosine * (i - 1) / i
        total += term
    return 0.5 + ((angle + sine * total) / math.pi if odd else sine * total / 2)


def _medians(rows: torch.Tensor) -> torch.Tensor:
    """Of each row; with an even count the mean of the two in the middle, as statistics.median has it."""
    ordered = rows.sort(dim=1).values
    count = rows.shape[1]
    return (ordered[:, (count - 1) // 2] + ordered[:, count // 2]) / 2
