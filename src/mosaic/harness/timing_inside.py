"""Clocks in the candidate's process: the host's around all calls, and events on the device. Runs inside the sandbox.

The functions are those that were there before the candidate was loaded. A candidate could still lie with them; the judge's own
clock, around the whole request, bounds what it may claim.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from mosaic.harness.worker_memory import Memory

FLUSH_BYTES: Final = 256 * 2**20
"""Written over before a sample when the cache is to be flushed: more than any GPU's last-level cache."""


class Stopwatch:
    """Times calls on one device."""

    def __init__(self, memory: Memory, device: str) -> None:
        self._memory: Final = memory
        self._now: Final = time.perf_counter
        self._cuda: Any = None
        self._flush: Any = None
        if device.startswith("cuda"):
            import torch  # noqa: PLC0415  # a candidate in C does without

            self._cuda = torch.cuda
            self._event = torch.cuda.Event
            self._zeros = torch.empty

    def take(self, calls: Sequence[Callable[[], Any]], launch: str, cache: str) -> tuple[list[Any], dict[str, Any]]:
        """Run the calls one after the other: what they returned, and seconds by each clock for all of them together."""
        if self._cuda is None:
            self._memory.wait()
            start = self._now()
            results = [call() for call in calls]
            inside = self._now() - start
            return results, {"inside": inside, "device": None, "late": None, "launch": "call", "threads": _threads()}
        return self._graph(calls, cache) if launch == "graph-replay" else self._plain(calls, cache)

    def _clean(self, cache: str) -> None:
        if cache != "flushed":
            return
        if self._flush is None:
            self._flush = self._zeros(FLUSH_BYTES, dtype=self._memory.torch.uint8, device="cuda")  # type: ignore[attr-defined]
        self._flush.zero_()

    def _plain(self, calls: Sequence[Callable[[], Any]], cache: str) -> tuple[list[Any], dict[str, Any]]:
        """Each call between two events; before each the cache is flushed, if it is to be. `late`: device time after the last event."""
        events = [(self._event(enable_timing=True), self._event(enable_timing=True)) for _ in calls]
        after = self._event(enable_timing=True)
        results = []
        self._memory.wait()
        start = self._now()
        for call, (first, last) in zip(calls, events, strict=True):
            self._clean(cache)
            first.record()
            results.append(call())
            last.record()
        events[-1][1].synchronize()
        self._memory.wait()
        after.record()
        after.synchronize()
        inside = self._now() - start
        device = sum(first.elapsed_time(last) for first, last in events) / 1e3
        late = events[-1][1].elapsed_time(after) / 1e3
        return results, {"inside": inside, "device": device, "late": late, "launch": "plain", "threads": _threads()}

    def _graph(self, calls: Sequence[Callable[[], Any]], cache: str) -> tuple[list[Any], dict[str, Any]]:
        """All calls captured as one graph, replayed once between two events."""
        graph = self._cuda.CUDAGraph()
        with self._cuda.graph(graph):
            results = [call() for call in calls]
        first, last, after = (self._event(enable_timing=True) for _ in range(3))
        self._clean(cache)
        self._memory.wait()
        start = self._now()
        first.record()
        graph.replay()
        last.record()
        last.synchronize()
        self._memory.wait()
        after.record()
        after.synchronize()
        inside = self._now() - start
        clocks = {"inside": inside, "device": first.elapsed_time(last) / 1e3, "late": last.elapsed_time(after) / 1e3}
        return results, {**clocks, "launch": "graph-replay", "threads": _threads()}


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
