"""The roof: the least time in which a device can do a task, from what must be done and from rates measured on that device.

task = work_of(reference, inputs)
roof = floor(task, rates("cuda:0"), cache="flushed")
roof.seconds        what the fastest program imaginable takes at the measured rates
roof.least          below this a time is impossible
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mosaic.evidence.record import Stated, derived
from mosaic.harness.rates import Rate, Rates
from mosaic.harness.timed_sample import Cache
from mosaic.harness.work import Work

MATRIX_MARGIN: Final = 0.5
"""How far a program may exceed the best product of the vendor's library. Libraries reach two thirds of a peak and more at these sizes."""

MEMORY_MARGIN: Final = 0.2
"""How far a program may exceed the best copy. Copies reach four fifths of a memory's peak and more."""

CACHE_MARGIN: Final = 3.0
"""The same where the data may lie in a cache: those of one core are quicker than any copy from outside of it shows."""


@dataclass(frozen=True)
class Floor:
    """The least time of one call: `seconds` by the measured rates, and what of it is certain.

    `limit` is what sets it (memory, matrix). A time below `least` is impossible: only what no program can avoid is counted, at rates
    beyond the measured ones by their own uncertainty and the margins above; 0 if nothing is certain. `why_least` says so in words.
    """

    seconds: float
    limit: str
    least: float
    why_least: str
    how: str

    @property
    def figure(self) -> Stated:
        """As a packet has it."""
        return derived(self.seconds, "s", self.how, interval=(min(self.least, self.seconds), self.seconds))


def floor(work: Work, rates: Rates, *, cache: Cache = "uncontrolled") -> Floor | None:
    """The roof of a task on a device whose last-level cache is in the state `cache` before each call; None if nothing must be done."""
    cached = cache != "flushed" and work.bytes <= 2 * rates.cache
    memory = rates.memory(work.bytes, cached=cached)
    bounds = [("memory", work.bytes / memory.best)]
    for dtype, operations in work.products.items():
        if (rate := rates.matrix(dtype)) is not None:
            bounds.append((f"matrix {dtype}", operations / rate.best))
    limit, seconds = max(bounds, key=lambda bound: bound[1])
    if seconds <= 0:
        return None
    least, why = _least(work, rates, memory, cached=cached)
    parts = ", ".join(f"{name} {time * 1e6:.4g} us" for name, time in bounds)
    how = f"the largest of: {parts}; at the best rates measured on this device; {work.how}; the interval begins where times are impossible"
    return Floor(seconds, limit, least, why, how[:2000])


def sol_score(seconds: float, baseline: float, roof: Floor) -> float | None:
    """How much of the way from the baseline to the roof a program went: 1 / (1 + (T - T_roof) / (T_baseline - T_roof)).

    1 at the roof, one half for the baseline's own time. Clamped to between 0 and 1: a program may pass the measured roof by the
    measurement's uncertainty. None where it means nothing: below what is possible, or for a baseline at the roof or beyond.
    """
    if seconds < roof.least or baseline <= roof.seconds:
        return None
    ahead = (seconds - roof.seconds) / (baseline - roof.seconds)
    return 1.0 if ahead <= 0 else 1 / (1 + ahead)


def _least(work: Work, rates: Rates, memory: Rate, *, cached: bool) -> tuple[float, str]:
    # What is written may stay in the cache until after the end.
    moved = work.least_inputs + (work.least_outputs if cached else max(0, work.least_outputs - rates.cache))
    margin = 1 + (CACHE_MARGIN if cached else MEMORY_MARGIN) + memory.spread
    found = [(moved / (memory.best * margin), f"{moved:,} bytes cannot be moved", memory.best * margin, "B/s")]
    for dtype, operations in work.least_products.items():
        if (rate := rates.matrix(dtype)) is not None:
            most = rate.best * (1 + MATRIX_MARGIN + rate.spread)
            found.append((operations / most, f"{operations:,.0f} operations in {dtype} cannot be done", most, "FLOP/s"))
    seconds, why, rate_most, unit = max(found)
    return seconds, f"{why} on this device ({rate_most:.3g} {unit} at most)"
