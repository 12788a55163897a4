"""A packet's statistics from its samples."""

from __future__ import annotations

import math

import pytest

from mosaic.evidence.categories import Baseline, Performance, Reference
from mosaic.evidence.record import derived
from mosaic.report.statistics import recomputed
from tests.evidence.samples import performance, timing


def compared(how: str, value: float, own: tuple[float, ...] = (1.0, 2.0, 3.0), other: tuple[float, ...] = (2.0, 2.0, 9.0)) -> Performance:
    baseline = Baseline(
        reference=Reference(name="other", version="1"), timings=(timing(*other),), speedup={"64 by 80": derived(value, "1", how)}
    )
    return performance(*own).model_copy(update={"baselines": (baseline,), "roofs": None})


@pytest.mark.parametrize(
    ("how", "true"),
    [
        ("geometric mean of the ratios of neighbours", math.prod((2.0, 1.0, 3.0)) ** (1 / 3)),
        ("median of the ratios of neighbouring samples", 2.0),
        ("ratio of medians", 1.0),
        ("as the source says", 1.0),
    ],
)
def test_speedups_by_their_rule(how: str, true: float) -> None:
    (good,) = recomputed(compared(how, true))
    assert good.same
    assert good.found == pytest.approx(true)
    (bad,) = recomputed(compared(how, true * 1.05))
    assert not bad.same


def test_an_even_count_has_two_medians_of_ratios() -> None:
    own, other = (1.0, 1.0), (1.0, 4.0)
    for value in (2.5, 2.0):
        (claim,) = recomputed(compared("median of the ratios", value, own, other))
        assert claim.same
    (claim,) = recomputed(compared("median of the ratios", 2.2, own, other))
    assert not claim.same


def test_times_that_cannot_be_are_no_ratio() -> None:
    assert [claim.same for claim in recomputed(compared("ratio of medians", 1.0, (0.0, 1.0, 1.0)))] == [False]


def test_roofs() -> None:
    claims = {claim.what: claim for claim in recomputed(performance())}
    assert claims["of the roof, 64 by 80"].found == pytest.approx(0.08)
    assert all(claim.same for claim in claims.values())
