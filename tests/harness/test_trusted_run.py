"""Programs of one's own, timed: fresh data at shifting addresses, data seen before, and on a GPU graphs and flushed caches."""

from __future__ import annotations

import pytest
import torch

from mosaic.errors import InputError
from mosaic.harness.sample import Cache, Data, Launch
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
