"""Timed requests to a program of one's own, in this process: for benchmarks, and wherever nobody would cheat.

    run = TrustedRun("mine", kernel, make_inputs, device="cuda", cache="flushed", launch="graph-replay")
    measure(run, other, run.again(), "4096", settings, device="cuda")

A candidate that is not trusted belongs in the judge's worker, which answers the same requests from another process.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from mosaic.errors import InputError
from mosaic.harness.cache_state import CacheControl
from mosaic.harness.timed_sample import Cache, Data, Launch, Sample
from mosaic.harness.timing import captured

Inputs = tuple[torch.Tensor, ...]

ALIGNMENT: Final = 256
"""Bytes: to that PyTorch aligns tensors on a GPU, so no program may ask for more of them."""

SHIFTS: Final = 61
"""Addresses are shifted by up to so many times the alignment; a prime, so that they don't fall into step with the sets' sizes."""

MOST_CALLS: Final = 2000
_MEMORY: Final = {"cpu": 128 << 20, "cuda": 2 << 30}  # bytes of inputs prepared at once
_cuda: Any = torch.cuda  # parts of it have no types


@dataclass(frozen=True)
class Rounds:
    """How settings ask for it."""

    samples: int = 20
    warm_up: int = 3
    cache: Cache = "uncontrolled"


class TrustedRun:
    """`program(*inputs)` on inputs that `make(generator)` draws, ready to be timed; the generator is one of the device.

    launch: plain (GPU), graph-replay (GPU; inputs are copied to where the graph reads them, outside of any clock) or call (CPU).
    Raises InputError for a launch that the device doesn't have.
    """

    def __init__(
        self,
        name: str,
        program: Callable[..., object],
        make: Callable[[torch.Generator], Sequence[torch.Tensor]],
        *,
        device: str | torch.device = "cpu",
        cache: Cache = "uncontrolled",
        launch: Launch | None = None,
        seed: int = 0,
    ) -> None:
        self.name: Final = name
        self.device: Final = torch.device(device)
        self.launch: Final[Launch] = launch or ("plain" if self.device.type == "cuda" else "call")
        if (self.launch == "call") != (self.device.type == "cpu"):
            raise InputError(f"programs on {self.device} are not started by {self.launch}; choose {self._launches()}")
        self.cache: Final[Cache] = cache
        self._program, self._make = program, make
        self._control = CacheControl(self.device, cache)
        self._generator = torch.Generator(device=self.device).manual_seed(seed)
        self._sets: list[Inputs] = []
        self._last: list[Inputs] = []
        self._shift = 0
        self._fixed: Inputs = ()
        self._replay: Callable[[], object] | None = None
        self._settled = 0

    def again(self) -> TrustedRun:
        """The same program once more, with data of its own: for the noise of A against A."""
        seed = int(self._generator.initial_seed()) + 1
        return TrustedRun(
            self.name, self._program, self._make, device=self.device, cache=self.cache, launch=self.launch, seed=seed
        )  # fmt: skip

    def prepare(self, calls: int) -> None:
        """Draw data for so many calls and put each tensor at an address of its own. On a CPU the cache is flushed here too."""
        self._last = self._sets
        self._sets = [self._placed(self._make(self._generator)) for _ in range(calls)]
        self._wait()

    def sample(self, data: Data = "fresh") -> Sample:
        """Run the prepared calls on fresh data, on the last sample's data at other addresses, or all on one set."""
        sets = self._sets
        if data == "moved" and len(self._last) == len(sets):
            sets = self._sets = [self._placed(inputs) for inputs in self._last]
        elif data == "repeat":
            sets = [sets[0]] * len(sets)
        if self.launch == "graph-replay":
            self._capture(sets[0])
        if self.device.type == "cpu":
            return self._on_host(sets)
        start = time.perf_counter()
        inside, device, late = self._one_by_one(sets) if self._control.flushes else self._together(sets)
        return Sample(len(sets), time.perf_counter() - start, inside, device, late, self.launch, threading.active_count())

    def floor(self) -> float:
        """Of a sample of no calls."""
        start = time.perf_counter()
        self._wait()
        for _ in ():
            pass
        return time.perf_counter() - start

    def calls(self, seconds: float) -> int:
        """How many make a sample of that length: one on a CPU whose cache is flushed before each, else as many as fit."""
        self.prepare(2)
        size = max(1, sum(tensor.numel() * tensor.element_size() for tensor in self._sets[0]))
        if self.device.type == "cpu" and self._control.flushes:
            return 1
        while self._settled < 3:  # the first calls compile and allocate
            self.sample()
            self._settled += 1
        one = self.sample()
        each = (one.device if one.device is not None else one.outside) / one.calls
        return max(1, min(math.ceil(seconds / max(each, 1e-8)), MOST_CALLS, _MEMORY[self.device.type] // size))

    def _launches(self) -> str:
        return "call" if self.device.type == "cpu" else "plain or graph-replay"

    def _placed(self, inputs: Sequence[torch.Tensor]) -> Inputs:
        self._shift = (self._shift + 1) % SHIFTS
        return tuple(shifted(tensor, self._shift * ALIGNMENT, self.device) for tensor in inputs)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _on_host(self, sets: list[Inputs]) -> Sample:
        if self.cache == "warm":
            self._program(*sets[0])
        self._control.bring_about()
        start = time.perf_counter()
        for inputs in sets:
            self._program(*inputs)
        seconds = time.perf_counter() - start
        return Sample(len(sets), seconds, seconds, None, None, "call", threading.active_count())

    def _capture(self, inputs: Inputs) -> None:
        if self._replay is not None:
            return
        self._fixed = tuple(tensor.clone() for tensor in inputs)
        self._replay = captured(lambda: self._program(*self._fixed))

    def _start(self, inputs: Inputs) -> Callable[[], object]:
        """What queues one call, its data being where it will be read."""
        if self._replay is None:
            return lambda: self._program(*inputs)
        for fixed, tensor in zip(self._fixed, inputs, strict=True):
            fixed.copy_(tensor)
        return self._replay

    def _together(self, sets: list[Inputs]) -> tuple[float, float, float]:
        """Events around all calls. A graph's replays read one set: what is left in the cache is its own."""
        runs = [self._start(sets[0])] * len(sets) if self._replay is not None else [self._start(inputs) for inputs in sets]
        if self.cache == "warm":
            runs[0]()
        self._wait()
        return self._timed(lambda: [run() for run in runs])

    def _one_by_one(self, sets: list[Inputs]) -> tuple[float, float, float]:
        totals = [0.0, 0.0, 0.0]
        for inputs in sets:
            run = self._start(inputs)
            self._control.bring_about()
            self._wait()
            totals = [total + part for total, part in zip(totals, self._timed(run), strict=True)]
        return totals[0], totals[1], totals[2]

    def _timed(self, run: Callable[[], object]) -> tuple[float, float, float]:
        """Seconds by the host's clock, by device events, and of waiting for the whole device after the end event."""
        begin, end = _cuda.Event(enable_timing=True), _cuda.Event(enable_timing=True)
        start = time.perf_counter()
        begin.record()
        run()
        end.record()
        end.synchronize()
        ended = time.perf_counter()
        self._wait()
        stop = time.perf_counter()
        return stop - start, float(begin.elapsed_time(end)) / 1e3, stop - ended


def shifted(tensor: torch.Tensor, offset: int, device: torch.device) -> torch.Tensor:
    """A contiguous copy on a device, `offset` bytes into memory of its own."""
    size = tensor.numel() * tensor.element_size()
    memory = torch.empty(size + SHIFTS * ALIGNMENT, dtype=torch.uint8, device=device)
    place = memory[offset : offset + size].view(tensor.dtype).view(tensor.shape)
    return place.copy_(tensor)
