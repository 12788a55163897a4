"""Whether the clocks of a timed run agree: the asking process's, the host's beside the program, and the device's events.

Every clock but the asking process's runs where the program runs, which could change it. A program that tells less than it took leaves
the difference in the gaps between the clocks: gaps that the baseline, run the same way in the same rounds, doesn't have.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.harness.intervals import median_interval
from mosaic.harness.sample import Cache, Sample

SHARE: Final = 0.25
"""How much of the claimed time may be missing between two clocks. Below that the noise of shared machines is told from nothing."""

SLACK: Final = 1e-4
"""Seconds that may lie between two clocks beside that, of whatever is started and waited for once: launching, waking a process."""

SLACK_BESIDE_BASELINE: Final = 2e-5
"""The same where the baseline shows what starting and waiting takes, and only the difference counts."""

_Gap = Callable[[Sample], float]


@dataclass(frozen=True)
class Disagreement:
    """Two clocks that cannot both be right: a failure class, and a sentence with the figures."""

    kind: str
    message: str


def claimed(sample: Sample, floor: float) -> float:
    """Seconds a call by the clock that counts: the device's if there is one, else the asking process's without an empty request."""
    return (sample.device if sample.device is not None else max(sample.outside - floor, 1e-9)) / sample.calls


def disagreements(own: Sequence[Sample], baseline: Sequence[Sample], floor: float, cache: Cache) -> tuple[Disagreement, ...]:
    """What is wrong with a program's clocks, beside those of the baseline in the same rounds (empty if there is none).

    `floor` is the seconds of an empty request. Bounds: `SHARE` of the claimed time and `SLACK` for each time the program was waited
    for, which with a flushed cache is every call.
    """
    beside = "the clock beside the program"
    found = [_impossible(own, lambda s: s.inside, lambda s: s.outside, "patched_clock", beside, "its request took"), _late(own)]
    if baseline or cache != "flushed":  # else nothing tells how long the flushing took
        found.append(_hidden(own, baseline, floor, cache, lambda s: s.outside - floor - s.inside, "patched_clock", beside))
    if all(sample.device is not None for sample in own):
        found += [
            _impossible(own, _device, lambda s: s.inside, "hooked_elapsed_time", "device events", "the host saw pass"),
            _hidden(own, baseline, floor, cache, lambda s: s.inside - _device(s), "hooked_elapsed_time", "device events"),
        ]
    return tuple(one for one in found if one is not None)


def _device(sample: Sample) -> float:
    return sample.device if sample.device is not None else sample.inside


def _impossible(own: Sequence[Sample], part: _Gap, whole: _Gap, name: str, clock: str, than: str) -> Disagreement | None:
    """A part that takes longer than the whole. Two hundredths are left to clocks of different crystals."""
    over = statistics.median(part(s) - 1.02 * whole(s) for s in own)
    if over <= SLACK_BESIDE_BASELINE:
        return None
    return Disagreement(f"cheat.{name}", f"{clock} says {_us(over)} more than {than}")


def _late(own: Sequence[Sample]) -> Disagreement | None:
    late = [s.late / s.calls for s in own if s.late is not None]
    if not late:
        return None
    low, bound = (
        median_interval(late)[0],
        SHARE * statistics.median(_device(s) / s.calls for s in own) + SLACK_BESIDE_BASELINE / own[0].calls,
    )
    if low <= bound:
        return None
    return Disagreement(
        "cheat.work_after_end", f"the device was busy for {_us(low)} a call after the end event; {_us(bound)} are allowed for waiting"
    )


def _hidden(
    own: Sequence[Sample], baseline: Sequence[Sample], floor: float, cache: Cache, gap: _Gap, name: str, clock: str
) -> Disagreement | None:
    mine = [gap(s) / s.calls for s in own]
    beside = [gap(s) / s.calls for s in baseline] if len(baseline) == len(own) else [0.0] * len(own)
    slack = SLACK_BESIDE_BASELINE if len(baseline) == len(own) else SLACK
    waits = 1 if cache == "flushed" else min(s.calls for s in own)  # once a call, or once in so many
    told = statistics.median((_device(s) if s.device is not None else s.inside) / s.calls for s in own)
    low = median_interval([a - max(b, 0.0) for a, b in zip(mine, beside, strict=True)])[0]
    bound = SHARE * told + (slack if waits == 1 else SLACK / waits)
    if low <= bound:
        return None
    return Disagreement(f"cheat.{name}", f"{clock} says {_us(told)} a call, and {_us(low)} more passed; {_us(bound)} may, for waiting")


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.4g} us"
