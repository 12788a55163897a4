"""A timed run whose clocks follow a script: what a program would show that takes so long, and lies so much."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from mosaic.harness.timed_sample import Data, Launch, Sample

Lie = Callable[[Sample], Sample]


@dataclass
class Machine:
    """What all programs share: drift that lasts, from sample to sample."""

    draw: random.Random
    level: float = 0.0

    def factor(self) -> float:
        self.level = 0.8 * self.level + self.draw.gauss(0, 0.01)
        return math.exp(self.level + self.draw.gauss(0, 0.005))


class Scripted:
    """A program of `seconds` a call: with `device` by events, and a device's overheads; `moved` are the seconds on data seen before."""

    def __init__(
        self,
        machine: Machine,
        seconds: float,
        *,
        device: bool = False,
        lie: Lie | None = None,
        moved: float | None = None,
        request: float = 5e-5,
    ) -> None:
        self.name = "scripted"
        self.machine, self.seconds, self.with_device, self.lie, self.request = machine, seconds, device, lie, request
        self.moved = seconds if moved is None else moved
        self.prepared = 0
        self.log: list[tuple[str, int]] = []
        self.fits = 1.0

    def prepare(self, calls: int) -> None:
        self.prepared = calls

    def sample(self, data: Data = "fresh") -> Sample:
        self.log.append((data, self.prepared))
        each = (self.moved if data == "moved" else self.seconds) * self.machine.factor()
        work = each * self.prepared
        inside = work + (1.5e-5 if self.with_device else 0.0)
        launch: Launch = "plain" if self.with_device else "call"
        honest = Sample(
            self.prepared, inside + self.request, inside, work if self.with_device else None, 1e-6 if self.with_device else None, launch, 1
        )
        return self.lie(honest) if self.lie is not None else honest

    def floor(self) -> float:
        return self.request * self.machine.factor()

    def calls(self, seconds: float) -> int:
        return max(1, round(self.fits * seconds / self.seconds))


def machine(seed: int = 0) -> Machine:
    return Machine(random.Random(seed))


def scaled(*, outside: float = 1.0, inside: float = 1.0, device: float = 1.0) -> Lie:
    """A lie that multiplies some of the clocks."""

    def lie(sample: Sample) -> Sample:
        events = sample.device * device if sample.device is not None else None
        return replace(sample, outside=sample.outside * outside, inside=sample.inside * inside, device=events)

    return lie
