"""How fast a program is beside its baseline: samples in turn, in an order drawn for each round, and what they allow to say.

measured = measure(candidate, baseline, again, "4096x1024", settings, roof, device="cuda:0")
measured.conclusion.verdict        "faster", "slower" or "inconclusive"
measured.invalid                   why the times count for nothing, if so
performance([measured], reference, verified=True)      the packet's record

A round takes one sample of each: the candidate, the baseline, and the candidate once more as another program (`again`). The last two
columns are what the noise is: how far two timings of the same program lie apart, in the very rounds that the claim rests on.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from mosaic.errors import InputError
from mosaic.evidence.categories import Baseline, Conditions, Method, Performance, Reference, Roof, Timing
from mosaic.evidence.record import Figure, Samples, Stated, derived
from mosaic.evidence.record import Measured as MeasuredFigure
from mosaic.evidence.record import measured as measured_figure
from mosaic.harness.clocks import Disagreement, claimed, disagreements
from mosaic.harness.environment import conditions
from mosaic.harness.intervals import Conclusion, Ratio, conclude, median_interval, ratio
from mosaic.harness.roofline import Floor
from mosaic.harness.timed_sample import Data, Sample, Settings, TimedRun

HOST_SECONDS: Final = 0.005
"""What a sample takes at least, about, where the host's clock counts: long beside a scheduler's interruptions."""

DEVICE_SECONDS: Final = 0.001
"""The same with device events, whose resolution is half a microsecond."""

PROBES: Final = 5
"""Rounds in which data that was seen before is handed over at other addresses."""

SEEN_BEFORE: Final = 2.0
"""Data that was seen before may be this much quicker, beside what it is for the baseline, which is told from it by address only."""

SLOW_START: Final = 8.0
"""As many times as many calls fit a sample after the run as were found to fit before it, if the start was slowed down."""

MOST_FLOOR: Final = 0.5
"""The share of a sample that an empty request may take. With more of it the samples tell of the requests."""


@dataclass(frozen=True)
class Measured:
    """What one case's samples tell. `invalid` holds failure classes with a sentence each; `suspicions` too, of what may be honest.

    `seconds` is the candidate's median of a call, `speedup` how many times as long the baseline takes (None without one), `noise` the
    same of the candidate against itself (None without a second copy of it).
    """

    case: str
    seconds: float
    speedup: Ratio | None
    noise: Ratio | None
    conclusion: Conclusion
    invalid: tuple[Disagreement, ...]
    suspicions: tuple[Disagreement, ...]
    timings: tuple[Timing, ...]
    baseline_timings: tuple[Timing, ...]
    roof: Roof | None
    method: Method
    before: Conditions | None
    after: Conditions | None

    @property
    def verdict(self) -> str:
        """The conclusion's; `invalid` if the clocks disagree or the time is impossible."""
        return "invalid" if self.invalid else self.conclusion.verdict

    @property
    def speedup_figure(self) -> Stated | None:
        """As a packet has it."""
        if self.speedup is None:
            return None
        how = "median of the ratios of neighbouring samples, baseline over candidate; interval: 95 %, bootstrap over the rounds"
        return derived(self.speedup.value, "1", how, interval=self.speedup.interval)


def measure(
    candidate: TimedRun,
    baseline: TimedRun | None,
    again: TimedRun | None,
    case: str,
    settings: Settings,
    roof: Floor | Callable[[bool], Floor | None] | None = None,
    *,
    device: str | torch.device = "cpu",
    seed: int = 0,
    probe: bool = True,
    seconds: float | None = None,
) -> Measured:
    """Time a candidate beside its baseline and beside itself, all ready to run, in `settings.samples` rounds.

    roof: the least time that the device allows, or a function that gives it, of whether to measure rates anew: that is asked before a
    time is called impossible. It is left out if even the baseline is beyond it: then the rates were measured on a busy device.
    device: whose clocks and temperature are read before and after. seed: draws the order within each round. probe: whether to look for
    results kept by their inputs' contents. seconds: the length of a sample, about.
    Raises InputError for less than one round; what a run raises passes through.
    """
    if settings.samples < 1:
        raise InputError(f"a measurement needs at least 1 round, not {settings.samples}")
    length = seconds or (HOST_SECONDS if torch.device(device).type == "cpu" else DEVICE_SECONDS)
    runs = {name: run for name, run in (("own", candidate), ("baseline", baseline), ("again", again)) if run is not None}
    before = conditions(device)
    draw = random.Random(seed)
    calls = _warmed_up(runs, length, settings.warm_up)
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for _ in range(settings.samples):
        for name in draw.sample(sorted(runs), len(runs)):
            samples[name].append(_one(runs[name], calls[name]))
    floor = _floor(runs)
    own, beside = samples["own"], samples.get("baseline", [])
    invalid = [*disagreements(own, beside, floor, settings.cache)]
    if probe:
        invalid += _seen_before(runs, calls, floor, draw)
    after = conditions(device)
    times = {name: [claimed(sample, floor) for sample in taken] for name, taken in samples.items()}
    speedup = ratio(times["own"], times["baseline"]) if beside else None
    noise = ratio(times["own"], times["again"]) if again is not None else None
    told_roof, impossible = _roof(roof, case, times["own"], times.get("baseline", []))
    return Measured(
        case=case,
        seconds=statistics.median(times["own"]),
        speedup=speedup,
        noise=noise,
        conclusion=_conclusion(speedup, noise, own, beside, floor),
        invalid=(*invalid, *impossible),
        suspicions=_slow_start(candidate, calls["own"], length),
        timings=_timings(case, own, floor),
        baseline_timings=_timings(case, beside, floor) if beside else (),
        roof=told_roof,
        method=_method(settings, own[0].calls, own, floor, interleaved=len(runs) > 1),
        before=before,
        after=after,
    )


def performance(measured: Sequence[Measured], reference: Reference | None, *, verified: bool) -> Performance:
    """The packet's record of several cases that were measured in the same way, against one baseline.

    verified: whether the outputs of the timed calls were compared too. Raises InputError if there is nothing to record.
    """
    if not measured:
        raise InputError("no case was measured, so there is no performance to record; leave it out")
    noisiest = max((m.noise for m in measured if m.noise is not None), key=lambda noise: noise.farthest, default=None)
    speedups: dict[str, Figure] = {m.case: figure for m in measured if (figure := m.speedup_figure) is not None}
    timings = tuple(timing for m in measured for timing in m.baseline_timings)
    return Performance(
        method=measured[0].method.model_copy(update={"verified": verified}),
        timings=tuple(timing for m in measured for timing in m.timings),
        noise=_noise_figure(noisiest) if noisiest is not None else None,
        baselines=(Baseline(reference=reference, timings=timings, speedup=speedups),) if reference is not None and timings else None,
        roofs=tuple(m.roof for m in measured if m.roof is not None) or None,
    )


def _one(run: TimedRun, calls: int, data: Data = "fresh") -> Sample:
    run.prepare(calls)
    return run.sample(data)


def _warmed_up(runs: dict[str, TimedRun], length: float, rounds: int) -> dict[str, int]:
    """How many calls of each make a sample, after `rounds` samples of each. Both copies of the candidate make as many: what the quicker
    one found to fit, as one that was disturbed at that moment would make short samples."""
    calls = {name: run.calls(length) for name, run in runs.items()}
    calls["own"] = calls["again"] = max(calls["own"], calls.get("again", 1))
    for _ in range(rounds):
        for name, run in runs.items():
            _one(run, calls[name])
    return calls


def _floor(runs: dict[str, TimedRun]) -> float:
    """Of an empty request: the quickest program's, as a candidate that answers slowly would have more of its time left out."""
    return min(statistics.median(run.floor() for _ in range(5)) for run in runs.values())


def _seen_before(runs: dict[str, TimedRun], calls: dict[str, int], floor: float, draw: random.Random) -> list[Disagreement]:
    """Whether the same data at other addresses is quicker than fresh data, by more than for the baseline."""
    names = [name for name in runs if name != "again"]
    fresh: dict[str, list[float]] = {name: [] for name in names}
    moved: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(PROBES):
        for name in draw.sample(names, len(names)):
            fresh[name].append(claimed(_one(runs[name], calls[name]), floor))
            moved[name].append(claimed(_one(runs[name], calls[name], "moved"), floor))
    gain = {name: ratio(moved[name], fresh[name]) for name in names}
    allowed = SEEN_BEFORE * max(1.0, gain["baseline"].value if "baseline" in gain else 1.0)
    low = gain["own"].interval[0]
    if low <= allowed:
        return []
    message = f"data that was seen before takes {low:.3g} times less than fresh data, at whatever address; {allowed:.3g} is allowed"
    return [Disagreement("cheat.cached_by_content", message)]


def _slow_start(candidate: TimedRun, calls: int, length: float) -> tuple[Disagreement, ...]:
    later = candidate.calls(length)
    if later < SLOW_START * calls:
        return ()
    return (Disagreement("cheat.slow_warm_up", f"{calls} calls made a sample at first, and {later} would after the run"),)


def _conclusion(speedup: Ratio | None, noise: Ratio | None, own: list[Sample], beside: list[Sample], floor: float) -> Conclusion:
    if speedup is None:
        return Conclusion("inconclusive", "there is no baseline to compare with")
    for name, samples in (("candidate", own), ("baseline", beside)):
        whole = statistics.median(sample.outside for sample in samples)
        if samples[0].device is None and floor > MOST_FLOOR * whole:
            return Conclusion(
                "inconclusive", f"an empty request takes {floor / whole:.0%} of a sample of the {name}; give it more work a sample"
            )
    return conclude(speedup, noise)


def _roof(
    given: Floor | Callable[[bool], Floor | None] | None, case: str, times: list[float], baseline: list[float]
) -> tuple[Roof | None, list[Disagreement]]:
    high = median_interval(times)[1]
    quickest = min(high, median_interval(baseline)[1]) if baseline else high
    roof = given(False) if callable(given) else given
    if roof is not None and quickest < roof.least and callable(given):
        roof = given(True)
    if roof is None or (baseline and median_interval(baseline)[1] < roof.least):
        return None, []
    how = "the roof's time over the median of the candidate's samples"
    told = Roof(case=case, time=roof.figure, limit=roof.limit, fraction=derived(roof.seconds / statistics.median(times), "1", how))
    if high >= roof.least:
        return told, []
    message = f"a call takes {high * 1e6:.4g} us, but {roof.why_least} in less than {roof.least * 1e6:.4g} us"
    return told, [Disagreement("impossible_time", message)]


def _timings(case: str, samples: list[Sample], floor: float) -> tuple[Timing, ...]:
    """One record a clock, the one that counts first. All are seconds of one call: the mean of a sample's calls."""
    empty = f"by the judge's clock, less {floor:.3g} s for an empty request"
    columns = [("host", empty, [max(s.outside - floor, 1e-9) / s.calls for s in samples])]
    columns.append(("host-in-worker", "by the host's clock in the program's process", [s.inside / s.calls for s in samples]))
    if all(s.device is not None for s in samples):
        columns.insert(0, ("device-events", "by device events in the program's process", [(s.device or 0.0) / s.calls for s in samples]))
    return tuple(_timing(case, clock, how, values, samples[0]) for clock, how, values in columns)


def _timing(case: str, clock: str, how: str, values: list[float], sample: Sample) -> Timing:
    how = f"of a call, the mean of {sample.calls} a sample, {how}; interval: 95 %, bootstrap"
    low, high = median_interval(values)
    median = statistics.median(values)
    return Timing(
        case=case,
        clock=clock,
        launch=sample.launch,
        samples=Samples(label="measured", unit="s", values=tuple(values)),
        median=measured_figure(median, "s", interval=(min(low, median), max(high, median)), how=how),
    )


def _noise_figure(noise: Ratio) -> MeasuredFigure:
    how = "candidate against a second copy of itself in the same rounds: how far the median of the ratios is from 1; interval: 95 %"
    low, high = sorted((noise.interval[0], noise.interval[1]))
    nearest = 0.0 if low <= 1 <= high else min(abs(low - 1), abs(high - 1))
    value = abs(noise.value - 1)
    return measured_figure(value, "1", interval=(min(nearest, value), max(noise.farthest - 1, value)), how=how)


def _method(settings: Settings, calls: int, own: list[Sample], floor: float, *, interleaved: bool) -> Method:
    with_device = all(sample.device is not None for sample in own)
    counts = "device events" if with_device else f"the judge's clock, less {floor:.3g} s for an empty request"
    return Method(
        timer=f"{counts}, {calls} {'call' if calls == 1 else 'calls'} a sample; also the host's clock beside the program",
        warm_up=settings.warm_up * calls,
        cache=settings.cache,
        synchronisation="the device was waited for before and after each sample" if with_device else "each request was waited for",
        interleaved=interleaved,
        verified=False,
    )
