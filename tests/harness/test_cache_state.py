"""The cache's state: a buffer twice as large as the cache is written, or nothing is done."""

from __future__ import annotations

import pytest
import torch

from mosaic.harness import cache_state
from mosaic.harness.cache_state import CacheControl, reset_persisting
from mosaic.harness.rates import last_level_cache
from mosaic.harness.timed_sample import Cache


@pytest.mark.parametrize("state", ["flushed", "persisting"])
def test_flushing_writes_twice_the_cache(state: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_state, "last_level_cache", lambda device: 1 << 20)
    control = CacheControl("cpu", state)
    assert control.flushes
    assert control.bytes == 2 << 20
    control.bring_about()
    control.bring_about()
    assert bool((control._buffer == 2).all()), "every byte was read and written"


@pytest.mark.parametrize("state", ["warm", "uncontrolled"])
def test_nothing_is_held_or_done_otherwise(state: Cache) -> None:
    control = CacheControl("cpu", state)
    control.bring_about()
    assert (control.flushes, control.bytes) == (False, 0)


def test_a_huge_cache_is_flushed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_state, "LARGEST", 1 << 16)
    assert CacheControl("cpu", "flushed").bytes == 1 << 16


def test_a_processor_has_no_lines_that_persist() -> None:
    assert reset_persisting(torch.device("cpu")) is False


def test_flushed_data_is_slower_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one mebibyte, which the second-level cache of a core holds: the median of several readings."""
    import statistics
    import time

    monkeypatch.setattr(cache_state, "last_level_cache", lambda device: 64 << 20)
    data, control = torch.ones(1 << 18), CacheControl("cpu", "flushed")

    def read(flush: bool) -> float:
        data.sum()
        if flush:
            control.bring_about()
        start = time.perf_counter()
        data.sum()
        return time.perf_counter() - start

    flushed, warm = [], []
    for _ in range(9):
        flushed.append(read(True))
        warm.append(read(False))
    assert statistics.median(flushed) > statistics.median(warm)


@pytest.mark.gpu
def test_a_gpu_lets_lines_go() -> None:
    torch.ones(1, device="cuda")
    assert reset_persisting(torch.device("cuda"))
    assert CacheControl("cuda", "flushed").bytes >= 2 * last_level_cache(torch.device("cuda"))
