"""What can be timed: programs in this process and scripted ones answer the same requests, and settings are any that have the fields."""

from __future__ import annotations

import dataclasses

import torch

from mosaic.harness.timed_sample import Sample, Settings, TimedRun
from mosaic.harness.trusted_run import Rounds, TrustedRun
from tests.harness.scripted import Scripted, machine


def ask(run: TimedRun) -> Sample:
    run.prepare(2)
    return run.sample()


def test_every_kind_of_run_answers_the_requests() -> None:
    own = TrustedRun("copy", torch.clone, lambda generator: (torch.rand(8, generator=generator),))
    for run in (own, Scripted(machine(), 1e-4)):
        sample = ask(run)
        assert (sample.calls, sample.launch, sample.device) == (2, "call", None)
        assert 0 < sample.inside <= sample.outside
        assert run.floor() >= 0
        assert run.calls(0.001) >= 1


def test_settings_are_what_has_the_fields() -> None:
    settings: Settings = Rounds(samples=7)
    assert (settings.samples, settings.warm_up, settings.cache) == (7, 3, "uncontrolled")
    assert dataclasses.is_dataclass(settings)
