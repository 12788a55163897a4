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
from mosaic.harness.timed_sample import Cache, Sample

SHARE: Final = 0.25
"""How much of the time that the device's events tell may be missing between them and another clock. Machines that others use too have
noise of that size."""

HOST_SHARE: Final = 4.0
"""The same between the two clocks of the host where there is no device: handing outputs over lies between them, which can take longer than
a program does. Nothing is gained there: the asking process's clock is the one that counts."""

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

    `floor` is the seconds of an empty request. The bounds are a share of the claimed time and a slack: once for each call where each has
    events of its own (plain launches, flushed caches), else once a sample.
    """
    beside = "the clock beside the program"
    on_device, replayed = all(s.device is not None for s in own), any(s.launch == "graph-replay" for s in own)
    paired = baseline if len(baseline) == len(own) else ()
    each = any(s.launch == "plain" for s in own) or (on_device and cache == "flushed")
    slack = (SLACK_BESIDE_BASELINE if paired else SLACK) if each else SLACK / min(s.calls for s in own)
    # Work that goes on after the end event is missing from every clock but the outer one, so it is named first.
    found = [_late(own, paired)] if on_device else []
    found.append(_impossible(own, lambda s: s.inside, lambda s: s.outside, "patched_clock", beside, "its request took"))
    # Without a baseline nothing tells how long the flushing took, and capturing a graph lies between these two clocks as well.
    if (paired or cache != "flushed") and not replayed:
        told = _Told("patched_clock", beside, SHARE if on_device else HOST_SHARE, slack)
        found.append(_hidden(own, paired, lambda s: s.outside - floor - s.inside, lambda s: s.inside, told))
    if on_device:
        events = _Told("hooked_elapsed_time", "device events", SHARE, slack)
        found += [
            _impossible(own, _device, lambda s: s.inside, "hooked_elapsed_time", "device events", "the host saw pass"),
            _hidden(own, paired, lambda s: s.inside - _device(s), _device, events),
        ]
    return tuple(one for one in found if one is not None)


@dataclass(frozen=True)
class _Told:
    """A clock that tells too little: the cheat it would be, the clock in words, and what may be missing."""

    name: str
    clock: str
    share: float
    slack: float


def _device(sample: Sample) -> float:
    return sample.device if sample.device is not None else sample.inside


def _impossible(own: Sequence[Sample], part: _Gap, whole: _Gap, name: str, clock: str, than: str) -> Disagreement | None:
    """A part that takes longer than the whole. Two hundredths are left to clocks of different crystals."""
    over = statistics.median(part(s) - 1.02 * whole(s) for s in own)
    if over <= SLACK_BESIDE_BASELINE:
        return None
    return Disagreement(f"cheat.{name}", f"{clock} says {_us(over)} more than {than}")


def _late(own: Sequence[Sample], baseline: Sequence[Sample]) -> Disagreement | None:
    """Work that goes on after the end event: waiting for it takes a while by itself, which the baseline shows."""
    beside = [s.late or 0.0 for s in baseline] or [0.0] * len(own)
    over = [(s.late or 0.0) - other for s, other in zip(own, beside, strict=True)]
    low = median_interval(over)[0]
    bound = SHARE * statistics.median(_device(s) for s in own) + (SLACK_BESIDE_BASELINE if baseline else SLACK)
    if low <= bound:
        return None
    message = f"the device was busy for {_us(low)} a sample after the end event; {_us(bound)} are allowed for waiting"
    return Disagreement("cheat.work_after_end", message)


def _hidden(own: Sequence[Sample], baseline: Sequence[Sample], gap: _Gap, says: _Gap, told: _Told) -> Disagreement | None:
    """What passed between two clocks, for each call and more than for the baseline."""
    beside = [gap(s) / s.calls for s in baseline] or [0.0] * len(own)
    over = [gap(s) / s.calls - max(other, 0.0) for s, other in zip(own, beside, strict=True)]
    low, claim = median_interval(over)[0], statistics.median(says(s) / s.calls for s in own)
    bound = told.share * claim + told.slack
    if low <= bound:
        return None
    message = f"{told.clock} says {_us(claim)} a call, and {_us(low)} more passed; {_us(bound)} may, for waiting"
    return Disagreement(f"cheat.{told.name}", message)


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.4g} us"
