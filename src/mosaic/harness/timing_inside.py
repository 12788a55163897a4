"""Clocks in the candidate's process: the host's around all calls, and events on the device. Runs inside the sandbox.

The functions are those that were there before the candidate was loaded. A candidate could still lie with them; the judge's own
clock, around the whole request, bounds what it may claim.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from mosaic.harness.worker_memory import Memory

FLUSH_BYTES: Final = 256 * 2**20
"""Written over before a sample when the cache is to be flushed: more than any GPU's last-level cache."""


HOST_FLUSH_BYTES: Final = 64 * 2**20
"""The same for a processor."""


class Stopwatch:
    """Times calls on one device."""

    def __init__(self, memory: Memory, device: str) -> None:
        self._memory: Final = memory
        self._now: Final = time.perf_counter
        self._cuda: Any = None
        self._event: Any = None
        self._zeros: Any = None
        self._flush: Any = None
        if device.startswith("cuda"):
            import torch  # noqa: PLC0415  # a candidate in C does without

            self._cuda = torch.cuda
            self._event = torch.cuda.Event
            self._zeros = torch.empty

    def take(self, calls: Sequence[Callable[[], Any]], launch: str, cache: str) -> tuple[list[Any], dict[str, Any]]:
        """Run the calls one after the other: what they returned, and seconds by each clock for all of them together."""
        if self._cuda is None:
            results, inside = self._one_by_one(calls, cache)
            return results, {"inside": inside, "device": None, "late": None, "launch": "call", "threads": _threads()}
        return self._graph(calls, cache) if launch == "graph-replay" else self._plain(calls, cache)

    def _one_by_one(self, calls: Sequence[Callable[[], Any]], cache: str) -> tuple[list[Any], float]:
        """All calls in a row, or, if the cache is to be flushed between them, each by itself."""
        if cache != "flushed":
            start = self._now()
            results = [call() for call in calls]
            return results, self._now() - start
        inside, results = 0.0, []
        for call in calls:
            self._clean(cache)
            start = self._now()
            results.append(call())
            inside += self._now() - start
        return results, inside

    def _clean(self, cache: str) -> None:
        if cache != "flushed":
            return
        if self._cuda is None:
            self._flush = self._flush or ctypes.create_string_buffer(HOST_FLUSH_BYTES)
            ctypes.memset(self._flush, 0, HOST_FLUSH_BYTES)
            return
        if self._flush is None:
            self._flush = self._zeros(FLUSH_BYTES, dtype=self._memory.torch.uint8, device="cuda")  # type: ignore[attr-defined]
        self._flush.zero_()

    def _plain(self, calls: Sequence[Callable[[], Any]], cache: str) -> tuple[list[Any], dict[str, Any]]:
        """Each call between two events; before each the cache is flushed, if it is to be. `late`: device time after the last event."""
        events = [(self._event(enable_timing=True), self._event(enable_timing=True)) for _ in calls]
        after = self._event(enable_timing=True)
        results, inside, flushed = [], 0.0, cache == "flushed"
        self._memory.wait()
        start = self._now()
        for call, (first, last) in zip(calls, events, strict=True):
            if flushed:
                self._clean(cache)
                self._memory.wait()
                start = self._now()
            first.record()
            results.append(call())
            last.record()
            if flushed:
                last.synchronize()
                inside += self._now() - start
        events[-1][1].synchronize()
        inside = inside if flushed else self._now() - start
        self._memory.wait()
        after.record()
        after.synchronize()
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
        inside = self._now() - start
        self._memory.wait()
        after.record()
        after.synchronize()
        clocks = {"inside": inside, "device": first.elapsed_time(last) / 1e3, "late": last.elapsed_time(after) / 1e3}
        return results, {**clocks, "launch": "graph-replay", "threads": _threads()}


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1
