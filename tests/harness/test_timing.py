"""Paired timing: the order of the runs, what the figures mean, and what is said where nothing can be told."""

from __future__ import annotations

import math
import time

import pytest

from mosaic.errors import InputError
from mosaic.harness.timing import Paired, host_seconds, paired


def test_they_run_in_turn_after_a_warm_up() -> None:
    calls: list[str] = []
    times = paired(lambda: calls.append("a"), lambda: calls.append("b"), rounds=3)
    each = int(times.clock.split()[2])
    assert calls == [*"abab", *(["a"] * each + ["b"] * each) * 3]
    assert len(times.first) == len(times.second) == 3
    assert all(seconds > 0 for seconds in (*times.first, *times.second))
    assert each > 100, "a sample of a call that takes no time is many calls"


def test_long_programs_run_once_a_sample() -> None:
    times = paired(lambda: time.sleep(0.03), lambda: None, rounds=2)
    assert times.clock == "host clock, a call a sample"
    assert min(times.first) >= 0.03


def test_the_slower_one_is_seen() -> None:
    times = paired(lambda: time.sleep(0.002), lambda: time.sleep(0.006), rounds=5)
    assert times.verdict == "faster"
    assert 1.5 < times.ratio < 4
    assert times.interval[0] <= times.ratio <= times.interval[1]
    assert Paired(times.second, times.first, "").verdict == "slower"


def test_the_ratio_is_a_geometric_mean_of_pairs() -> None:
    times = Paired((1.0, 10.0), (4.0, 10.0), "by hand")
    assert times.ratios == (4.0, 1.0)
    assert times.ratio == pytest.approx(2.0)


def test_noise_is_inconclusive() -> None:
    times = Paired((1.0, 1.0, 1.0, 1.0), (0.5, 2.0, 0.5, 2.0), "by hand")
    assert times.ratio == pytest.approx(1.0)
    assert times.verdict == "inconclusive"
    low, high = times.interval
    assert low < 1 < high


def test_the_interval_is_the_same_at_every_call_and_narrows_with_agreement() -> None:
    scattered = Paired((1.0,) * 8, (1.5, 2.5, 1.6, 2.4, 1.7, 2.3, 1.8, 2.2), "by hand")
    close = Paired((1.0,) * 8, (2.0, 2.01, 1.99, 2.0, 2.02, 1.98, 2.0, 2.0), "by hand")
    assert scattered.interval == scattered.interval
    assert math.log(close.interval[1] / close.interval[0]) < math.log(scattered.interval[1] / scattered.interval[0]) / 10


def test_one_round_tells_nothing() -> None:
    with pytest.raises(InputError, match="at least 2 rounds, not 1"):
        paired(lambda: None, lambda: None, rounds=1)


def test_the_host_clock() -> None:
    assert 0.003 <= host_seconds(lambda: time.sleep(0.003)) < 1


@pytest.mark.gpu
def test_a_gpu_is_timed_by_its_own_events() -> None:
    import torch

    x = torch.randn(4096, 4096, device="cuda")
    times = paired(lambda: x @ x, lambda: (x @ x) @ x, rounds=5, device="cuda")
    assert "CUDA graph" in times.clock
    assert 1.5 < times.ratio < 2.5
