"""A packet's statistics computed again from its samples: anyone can, on any machine, without the device.

    for claim in recomputed(packet):
        claim.what, claim.claimed, claim.found, claim.same

Medians are checked when a packet is read. Here: each speedup against each baseline, by the rule that its `how` names or else by the ratio
of medians, and each roof's fraction.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.evidence.categories import Performance, Timing

TOLERANCE: Final = 0.01
"""How far a claim may be from what its samples give: a hundredth, as rules differ in how they treat ties and ends."""


@dataclass(frozen=True)
class Claim:
    """One figure, as the packet has it and as its samples give it."""

    what: str
    claimed: float
    found: float

    @property
    def same(self) -> bool:
        return abs(self.claimed - self.found) <= TOLERANCE * max(abs(self.claimed), abs(self.found))


def recomputed(performance: Performance) -> Iterator[Claim]:
    """Every figure that follows from the samples."""
    for baseline in performance.baselines or ():
        for case, speedup in baseline.speedup.items():
            pairs = _pairs(performance.timings, baseline.timings, case)
            if not pairs:
                continue
            if min(value for pair in pairs for values in pair for value in values) <= 0 or speedup.value <= 0:
                yield Claim(f"speed against {baseline.reference.name}, {case}", speedup.value, 0.0)  # no time is zero or less
                continue
            found = [_ratio(rule, *pair) for pair in pairs for rule in _rules(speedup.how or "")]
            # Two clocks may have taken samples of one case: the claim is of one of them.
            nearest = min(found, key=lambda value: abs(math.log(value) - math.log(speedup.value)))
            yield Claim(f"speed against {baseline.reference.name}, {case}", speedup.value, nearest)
    for roof in performance.roofs or ():
        medians = [statistics.median(timing.samples.values) for timing in performance.timings if timing.case == roof.case]
        if medians and min(medians) > 0:
            found = [roof.time.value / median for median in medians]
            yield Claim(f"of the roof, {roof.case}", roof.fraction.value, min(found, key=lambda value: abs(value - roof.fraction.value)))


def _pairs(own: Sequence[Timing], others: Sequence[Timing], case: str) -> list[tuple[Sequence[float], Sequence[float]]]:
    return [
        (mine.samples.values, theirs.samples.values)
        for mine in own
        for theirs in others
        if mine.case == theirs.case == case and (mine.clock, mine.samples.unit) == (theirs.clock, theirs.samples.unit)
    ]


def _rules(how: str) -> tuple[str, ...]:
    words = how.lower()
    if "geometric mean" in words:
        return ("geometric mean",)
    if "median of" in words and "ratio" in words and "ratio of medians" not in words:
        # With an even count the median lies between two: halfway, or halfway in their logarithms.
        return ("median of ratios", "median of logarithms")
    return ("ratio of medians",)


def _ratio(rule: str, own: Sequence[float], other: Sequence[float]) -> float:
    ratios = [b / a for a, b in zip(own, other, strict=False)]
    if rule == "geometric mean":
        return math.exp(statistics.fmean(map(math.log, ratios)))
    if rule == "median of logarithms":
        return math.exp(statistics.median(map(math.log, ratios)))
    return statistics.median(ratios) if rule == "median of ratios" else statistics.median(other) / statistics.median(own)
