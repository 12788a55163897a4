"""Which of two programs is faster on this machine: timed in turn, so that what disturbs one disturbs the other.

times = paired(fused, unfused, rounds=15)
times.ratio, times.interval        how many times as long the second takes, and between what bounds
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import torch

from mosaic.errors import InputError

Run = Callable[[], object]

RESAMPLES: Final = 2000
"""Draws of the bootstrap behind an interval."""

SAMPLE_SECONDS: Final = 0.02
"""What a sample by the host's clock takes at least, about: programs of microseconds would be timed by the scheduler's hiccups."""

REPLAYS: Final = 20
"""Replays of a CUDA graph between two device events: one alone would be within the events' resolution of half a microsecond."""

_cuda: Any = torch.cuda  # parts of it have no types


@dataclass(frozen=True)
class Paired:
    """Seconds of two programs that ran in turn, first[i] just before second[i]. `clock` says how they were taken."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    clock: str

    @property
    def ratios(self) -> tuple[float, ...]:
        """second / first of each pair."""
        return tuple(b / a for a, b in zip(self.first, self.second, strict=True))

    @property
    def ratio(self) -> float:
        """Geometric mean of the ratios: above 1 the first is faster."""
        return math.exp(statistics.fmean(map(math.log, self.ratios)))

    @property
    def interval(self) -> tuple[float, float]:
        """Between what the ratio lies with 95 % confidence: a percentile bootstrap over the pairs, the same at every call."""
        generator = random.Random(0)
        logs = [math.log(ratio) for ratio in self.ratios]
        means = sorted(statistics.fmean(generator.choices(logs, k=len(logs))) for _ in range(RESAMPLES))
        return math.exp(means[round(0.025 * RESAMPLES)]), math.exp(means[round(0.975 * RESAMPLES) - 1])

    @property
    def verdict(self) -> Literal["faster", "slower", "inconclusive"]:
        """What can be said of the first against the second."""
        low, high = self.interval
        return "faster" if low > 1 else "slower" if high < 1 else "inconclusive"


def paired(first: Run, second: Run, *, rounds: int, device: str | torch.device = "cpu") -> Paired:
    """Time two programs on a device in turn, `rounds` times each, after a run of each to warm up. A sample is seconds of one run.

    On a GPU what they queue is captured as a CUDA graph each, and a sample is the mean of `REPLAYS` replays between two events on the
    device; elsewhere of as many calls as take about `SAMPLE_SECONDS`, by the host's clock. Raises InputError for fewer than two rounds.
    """
    if rounds < 2:
        raise InputError(f"a comparison needs at least 2 rounds, not {rounds}")
    first()
    second()
    if torch.device(device).type == "cuda":
        clock: Callable[[Run], float] = _device_seconds
        how = f"device events around {REPLAYS} replays of a CUDA graph"
        first, second = captured(first), captured(second)
    else:
        calls = max(1, math.ceil(SAMPLE_SECONDS / max(host_seconds(first), host_seconds(second), 1e-9)))
        clock = partial(host_seconds, calls=calls)
        how = f"host clock, {calls} calls a sample" if calls > 1 else "host clock, a call a sample"
    samples: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, seconds in zip((first, second), samples, strict=True):
            seconds.append(clock(run))
    return Paired(tuple(samples[0]), tuple(samples[1]), how)


def host_seconds(run: Run, calls: int = 1) -> float:
    """Seconds of a call by the host's clock, the mean of `calls`."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def captured(run: Run) -> Run:
    """A replay, as one CUDA graph, of everything that `run` queues on PyTorch's current stream. It is run three times before."""
    stream = _cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = _cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    replay: Run = graph.replay
    return replay


def _device_seconds(replay: Run) -> float:
    start, end = _cuda.Event(enable_timing=True), _cuda.Event(enable_timing=True)
    start.record()
    for _ in range(REPLAYS):
        replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / REPLAYS
