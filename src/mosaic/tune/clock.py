"""One program compiled and timed in a process of its own, which `mosaic.tune.workers` starts with a socket.

A program that nobody has run before may crash, or never end; then only this process is lost. Requests and replies are pickles over
the socket: a `Job` is compiled and answered by None, a number is that job timed and answered by its samples; what goes wrong is
answered by a sentence.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import MosaicError
from mosaic.targets.cache import Cache
from mosaic.targets.load import Loaded, load_lowered
from mosaic.targets.lower import lower
from mosaic.targets.target import Target
from mosaic.tiles.transport import restore

SAMPLES: Final = 5
LEAST_SECONDS: Final = 4e-4
"""A sample on a GPU is of so many launches, in one CUDA graph, that it takes at least this long: events tell half a microsecond."""

PATIENCE: Final = 0.5
"""Seconds after which no further sample is taken, if there is one."""


@dataclass(frozen=True)
class Argument:
    """What a parameter is filled with: normal numbers, or integers from low to high."""

    shape: tuple[int, ...]
    dtype: str
    low: int = 0
    high: int = 0


@dataclass(frozen=True)
class Job:
    """A program to compile: a PrimFunc that was dumped, for a target; None is the default cache."""

    number: int
    func: bytes
    arguments: tuple[Argument, ...]
    target: Target
    cache: str | None = None


def fill(argument: Argument, device: str) -> torch.Tensor:
    """A tensor with the numbers that an argument asks for, the same each time."""
    dtype = DTYPES[argument.dtype]
    generator = torch.Generator(device).manual_seed(0)
    if dtype.is_float:
        return torch.randn(argument.shape, generator=generator, device=device).to(dtype.torch)
    return torch.randint(argument.low, argument.high + 1, argument.shape, generator=generator, device=device).to(dtype.torch)


def time_cpu(run: Callable[[], None]) -> list[float]:
    """Seconds of single calls by the host's clock, after one that is not counted."""
    run()
    samples: list[float] = []
    begin = time.perf_counter()
    while len(samples) < SAMPLES and (not samples or time.perf_counter() - begin < PATIENCE):
        start = time.perf_counter()
        run()
        samples.append(time.perf_counter() - start)
    return samples


def time_gpu(run: Callable[[], None]) -> list[float]:
    """Seconds of a launch, by device events around replays of a CUDA graph of many; the level-2 cache is warm."""
    stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # PyTorch's has no types
    event: Any = torch.cuda.Event
    with torch.cuda.stream(stream):
        run()
        start, end = event(enable_timing=True), event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
    count = max(1, min(100, round(LEAST_SECONDS / max(2e-6, start.elapsed_time(end) / 1e3))))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(count):
            run()
    graph.replay()
    samples = []
    for _ in range(SAMPLES):
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        samples.append(float(start.elapsed_time(end)) / 1e3 / count)
    return samples


def time_loaded(kernel: Loaded, arguments: tuple[Argument, ...], device: str) -> list[float]:
    """Seconds of the kernel's runs on inputs made for it."""
    tensors = [fill(argument, device) for argument in arguments]

    def run() -> None:
        kernel(*tensors)

    return time_gpu(run) if device == "cuda" else time_cpu(run)


@dataclass(frozen=True)
class Reply:
    """What a request gave. lost: a GPU's context may be gone with it, so that this process ends."""

    value: object
    lost: bool = False


def serve(channel: Connection) -> None:
    """Answer requests until the other side is gone, or the device is lost."""
    ready: dict[int, tuple[Loaded, Job]] = {}
    reply = Reply(None)
    while not reply.lost:
        try:
            asked = channel.recv()
        except EOFError:
            return
        try:
            if isinstance(asked, Job):
                ready[asked.number] = _compile(asked), asked
                reply = Reply(None)
            else:
                kernel, job = ready.pop(asked)
                reply = Reply(time_loaded(kernel, job.arguments, "cpu" if job.target.kind == "cpu" else "cuda"))
        except MosaicError as error:
            reply = Reply(str(error))
        except RuntimeError as error:  # PyTorch's: no memory, or an access that the device refused
            reply = Reply(" ".join(f"{type(error).__name__}: {error}".split())[:300], lost=True)
        channel.send(reply)


def _compile(job: Job) -> Loaded:
    cache = Cache(job.cache) if job.cache is not None else None
    return load_lowered(lower(restore(job.func), job.target, binary=False, cache=cache))


def main() -> None:
    # What a library prints must not meet what is printed by the process that asked.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_grad_enabled(False)
    serve(Connection(int(sys.argv[1])))
