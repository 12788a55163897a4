"""One timed request to one program, and what can be timed so: the border between who runs programs and who draws conclusions.

A judge's worker in its own process implements `TimedRun`, and so does `TrustedRun` for programs of one's own in this process;
`measure` asks them for samples in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Launch = Literal["plain", "graph-replay", "call"]
"""How a sample's calls were started: kernel launches, a captured CUDA graph, or calls of a function (on a CPU)."""

Data = Literal["fresh", "repeat", "moved"]
"""fresh: each call has data that it has never seen; repeat: each the same, at the same place; moved: the same at new places."""

Cache = Literal["flushed", "warm", "persisting", "uncontrolled"]
"""State of the last-level cache before a call."""


@dataclass(frozen=True)
class Sample:
    """Clocks of one timed request; all are seconds of its `calls` together.

    `outside` is by the asking process's clock, from the request to the answer; `inside` by the host's clock in the process that
    runs the program, the device synchronised at both ends; `device` by events on the device (None on a CPU); `late` is what a
    device-wide wait found still running after the end event. Where the cache is flushed between the calls, that time is in none
    of them but `outside`. `threads` are those of the process after the calls.
    """

    calls: int
    outside: float
    inside: float
    device: float | None
    late: float | None
    launch: Launch
    threads: int


class TimedRun(Protocol):
    """A program that can be asked for samples."""

    @property
    def name(self) -> str: ...

    def prepare(self, calls: int) -> None:
        """Put data for so many calls where the program will find it, outside of any clock."""

    def sample(self, data: Data = "fresh") -> Sample:
        """Run the prepared calls."""

    def floor(self) -> float:
        """Seconds that an empty request takes by the asking process's clock."""

    def calls(self, seconds: float) -> int:
        """How many calls make a sample of about that length, within the memory there is; one at least."""


class Settings(Protocol):
    """How a case is to be timed."""

    @property
    def samples(self) -> int:
        """Rounds: samples of each program."""

    @property
    def warm_up(self) -> int:
        """Rounds before those."""

    @property
    def cache(self) -> Cache: ...
