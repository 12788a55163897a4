"""Processes that compile programs side by side, and time them one after another.

with Workers(target) as workers:
    workers.time([(program, ranges), ...])      seconds of each, or why it has none
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Final, Self

from mosaic.targets.cache import Cache
from mosaic.targets.target import Target
from mosaic.tiles.program import TileProgram
from mosaic.tiles.transport import dump
from mosaic.tune.clock import Argument, Job, Reply

_ENTRY: Final = "from mosaic.tune.clock import main; main()"

COMPILE_SECONDS: Final = 300.0
RUN_SECONDS: Final = 60.0
"""Until a program counts as one that never ends: they take milliseconds."""

Answer = tuple[float, ...] | str
"""Samples in seconds, or a sentence."""

Ranges = Mapping[str, tuple[float, float]]


class Gone(Exception):
    """A worker has ended, or did not answer in time."""


class Worker:
    """One process. It is started when it is asked something, and again after it was lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Connection | None = None
        self._holds: set[int] = set()

    def compile(self, job: Job) -> str | None:
        """Why it can't be compiled; None if it was."""
        try:
            why = self._ask(job, COMPILE_SECONDS)
        except Gone as error:
            return str(error)
        if why is None:
            self._holds.add(job.number)
        return None if why is None else str(why)

    def time(self, job: Job) -> Answer:
        """Samples of a job that was compiled. If its process was lost since, it is compiled again: the cache has it."""
        if job.number not in self._holds and (why := self.compile(job)):
            return why
        try:
            answer = self._ask(job.number, RUN_SECONDS)
        except Gone as error:
            return str(error)
        return tuple(answer) if isinstance(answer, list) else str(answer)

    def _ask(self, what: object, seconds: float) -> object:
        """Its answer. Raises Gone if it ends or takes longer than that; it is then killed."""
        channel = self._channel or self._start()
        try:
            channel.send(what)
            if not channel.poll(seconds):
                self.stop()
                raise Gone(f"it did not end within {seconds:.0f} s")
            reply = channel.recv()
        except (EOFError, OSError) as error:
            raise Gone(f"its process ended ({self.stop() or type(error).__name__})") from None
        assert isinstance(reply, Reply)
        if reply.lost:
            self.stop()
        return reply.value

    def _start(self) -> Connection:
        mine, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _ENTRY, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._channel = Connection(mine.detach())
        return self._channel

    def stop(self) -> str:
        """End it; how it ended, if it did so by itself."""
        process, channel = self._process, self._channel
        self._process, self._channel, self._holds = None, None, set()
        if channel is not None:
            channel.close()
        if process is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(1.0)
            return signal.Signals(-code).name if code < 0 else f"exit code {code}"
        process.kill()
        process.wait()
        return ""


class Workers:
    """As many processes as there are cores, but no more than 16; `cache` is the compile cache, None for the default one."""

    def __init__(self, target: Target, cache: Cache | None = None, count: int = 0) -> None:
        self.target, self._cache = target, str(cache.root) if cache is not None else None
        self._workers = [Worker() for _ in range(count or min(16, os.cpu_count() or 1))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()

    def time(self, programs: Sequence[TileProgram], ranges: Ranges, progress: Callable[[str], None] = lambda _: None) -> list[Answer]:
        """Of each program its samples, or why it has none. `ranges`: of integer tensors, by the names that the programs have for them."""
        jobs = [
            Job(number, dump(program.func), arguments_of(program, ranges), self.target, self._cache)
            for number, program in enumerate(programs)
        ]
        owners = {job.number: self._workers[job.number % len(self._workers)] for job in jobs}
        done = itertools.count(1)

        def compile_all(worker: Worker) -> dict[int, str | None]:
            found = {}
            for job in jobs:
                if owners[job.number] is worker:
                    found[job.number] = worker.compile(job)
                    progress(f"compiled {next(done)} of {len(jobs)}")
            return found

        refused: dict[int, str | None] = {}
        with ThreadPoolExecutor(len(self._workers)) as pool:
            for found in pool.map(compile_all, self._workers):
                refused |= found
        # One after another, while nothing else runs.
        return [refused[job.number] or owners[job.number].time(job) for job in jobs]


def arguments_of(program: TileProgram, ranges: Ranges) -> tuple[Argument, ...]:
    """What the program's parameters are filled with, in order; integers without a range with noughts."""
    found = []
    for param in program.params:
        low, high = ranges.get(param.name, (0, 0))
        found.append(Argument(tuple(int(size) for size in param.shape), param.dtype, int(low), int(high)))
    return tuple(found)
