from __future__ import annotations

import time

import pytest

from mosaic.harness.timing_inside import Stopwatch
from mosaic.harness.worker_memory import RawMemory


@pytest.mark.parametrize("cache", ["warm", "flushed"])
def test_calls_are_made_in_order_and_timed(cache: str) -> None:
    seen: list[int] = []

    def call(index: int) -> int:
        time.sleep(0.01)
        seen.append(index)
        return index

    results, clocks = Stopwatch(RawMemory(), "cpu").take([lambda i=i: call(i) for i in range(3)], "plain", cache)  # type: ignore[misc]
    assert results == seen == [0, 1, 2]
    assert clocks["inside"] >= 0.03
    assert clocks["device"] is None
    assert clocks["launch"] == "call"
    assert clocks["threads"] >= 1


def test_the_clock_is_the_one_from_before(monkeypatch: pytest.MonkeyPatch) -> None:
    stopwatch = Stopwatch(RawMemory(), "cpu")
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    _, clocks = stopwatch.take([lambda: time.sleep(0.01)], "plain", "warm")
    assert clocks["inside"] >= 0.01


def test_what_a_call_raises_passes() -> None:
    def bad() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Stopwatch(RawMemory(), "cpu").take([bad], "plain", "warm")
