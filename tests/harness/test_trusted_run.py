"""Programs of one's own, timed: fresh data at shifting addresses, data seen before, and on a GPU graphs and flushed caches."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

from mosaic.errors import InputError
from mosaic.harness import trusted_run
from mosaic.harness.timed_sample import Cache, Data, Launch
from mosaic.harness.trusted_run import ALIGNMENT, SHIFTS, Rounds, TrustedRun, shifted


class Watched:
    """A program that remembers where its inputs lay and what they held."""

    def __init__(self) -> None:
        self.addresses: list[int] = []
        self.values: list[float] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.addresses.append(x.data_ptr())
        self.values.append(float(x.sum()))
        return x + 1


def draw(generator: torch.Generator) -> tuple[torch.Tensor]:
    return (torch.rand(64, generator=generator),)


def sampled(run: TrustedRun, calls: int, data: Data) -> None:
    run.prepare(calls)
    assert run.sample(data).calls == calls


def test_fresh_data_is_new_and_elsewhere_at_every_call() -> None:
    program = Watched()
    run = TrustedRun("watched", program, draw)
    for _ in range(2):
        sampled(run, 5, "fresh")
    assert len(set(program.values)) == 10
    assert len(set(program.addresses[:5])) == 5
    assert len({address % (SHIFTS * ALIGNMENT) for address in program.addresses[:5]}) == 5
    assert len({address % ALIGNMENT for address in program.addresses}) <= 4, "PyTorch aligns memory on a CPU to 64 bytes"


def test_moved_data_was_seen_before_at_other_addresses_and_repeated_data_stays() -> None:
    program = Watched()
    run = TrustedRun("watched", program, draw)
    sampled(run, 3, "fresh")
    sampled(run, 3, "moved")
    assert program.values[:3] == program.values[3:]
    assert not set(program.addresses[:3]) & set(program.addresses[3:])
    sampled(run, 3, "repeat")
    assert len(set(program.values[6:])) == len(set(program.addresses[6:])) == 1


def test_another_of_the_same_has_other_data() -> None:
    program = Watched()
    run = TrustedRun("watched", program, draw)
    sampled(run, 1, "fresh")
    sampled(run.again(), 1, "fresh")
    assert program.values[0] != program.values[1]


def test_calls_fill_a_sample_within_reason() -> None:
    run = TrustedRun("watched", Watched(), draw)
    few, many = run.calls(1e-5), run.calls(2e-3)
    assert 1 <= few < many <= 2000


def test_a_flushed_cache_means_one_call_a_sample() -> None:
    run = TrustedRun("watched", Watched(), draw, cache="flushed")
    assert run.calls(1.0) == 1
    sampled(run, 1, "fresh")


def test_a_warm_cache_is_made_by_a_call_that_is_not_timed() -> None:
    program = Watched()
    sampled(TrustedRun("watched", program, draw, cache="warm"), 2, "fresh")
    assert len(program.values) == 3
    assert program.values[0] == program.values[1]


def test_memory_that_is_shifted_keeps_shape_and_values() -> None:
    tensor = torch.arange(12, dtype=torch.int16).view(3, 4).T
    there = shifted(tensor, 2 * ALIGNMENT, torch.device("cpu"))
    assert torch.equal(there, tensor)
    assert there.is_contiguous()
    assert there.untyped_storage().nbytes() == 24 + SHIFTS * ALIGNMENT


@pytest.mark.parametrize(
    ("device", "launch", "advice"), [("cpu", "plain", "choose call"), ("cuda", "call", "choose plain or graph-replay")]
)
def test_launches_that_a_device_does_not_have(device: str, launch: Launch, advice: str) -> None:
    with pytest.raises(InputError, match=advice):
        TrustedRun("x", Watched(), draw, device=device, launch=launch)


def test_rounds_have_defaults() -> None:
    assert Rounds() == Rounds(samples=20, warm_up=3, cache="uncontrolled")


class _Event:
    """Stands in for a device event: the host's clock at the moment of recording."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.moment = 0.0

    def record(self) -> None:
        self.moment = time.perf_counter()

    def synchronize(self) -> None:
        assert self.moment > 0, "waited for before it was recorded"

    def elapsed_time(self, end: _Event) -> float:
        return 1e3 * (end.moment - self.moment)


@pytest.mark.parametrize("graph", [False, True])
def test_the_ways_of_a_gpu_with_events_that_stand_in(graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which calls lie between the events, on which data, and that the cache is flushed outside of them."""
    monkeypatch.setattr(trusted_run, "_cuda", SimpleNamespace(Event=_Event))
    monkeypatch.setattr(trusted_run, "captured", lambda run: run)
    program = Watched()
    run = TrustedRun("watched", program, draw)
    flushed: list[int] = []
    monkeypatch.setattr(run._control, "bring_about", lambda: flushed.append(len(program.values)))
    run.prepare(4)
    sets = run._sets
    if graph:
        run._capture(sets[0])
    inside, device, late = run._together(sets)
    assert 0 < device <= inside
    assert 0 <= late < inside
    wanted = [float(inputs[0].sum()) for inputs in sets]
    assert program.values == ([wanted[0]] * 4 if graph else wanted)
    program.values.clear()
    inside, device, late = run._one_by_one(sets)
    assert program.values == wanted, "a graph reads what was copied to where it reads"
    assert flushed == [0, 1, 2, 3]
    assert 0 < device <= inside
    assert len({*program.addresses[-4:]}) == (1 if graph else 4)


@pytest.mark.gpu
@pytest.mark.parametrize("cache", ["flushed", "warm", "persisting", "uncontrolled"])
@pytest.mark.parametrize("launch", ["plain", "graph-replay"])
def test_on_a_gpu(launch: Launch, cache: Cache) -> None:
    def draw(generator: torch.Generator) -> tuple[torch.Tensor]:
        return (torch.rand(2048, 2048, generator=generator, device=generator.device),)

    made: list[torch.Tensor] = []
    run = TrustedRun("twice", lambda x: made.append(x + x), draw, device="cuda", launch=launch, cache=cache)
    run.prepare(4)
    sample = run.sample()
    assert sample.device is not None
    assert 0 < sample.device <= 1.02 * sample.inside + 1e-5
    assert sample.inside <= sample.outside
    assert sample.late is not None
    assert sample.late < 1e-3
    assert run.calls(1e-3) >= 1
