"""Long work in phases: what is being done, told on standard error, and how long each phase took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

TOLD: Final = 5.0
"""Seconds from which on a phase that is over gets a line where standard error is no terminal."""


class Phases:
    """Where a stage reports what it does (`say`), and how long each phase took.

    A phase is what the first word of a report names: "planning layer0.ffn", "lowering ...", "checking ...".
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._current: str | None = None
        self._since = 0.0
        self._status: Any = None

    def say(self, text: str) -> None:
        """Show this as what is being done now."""
        phase = text.partition(" ")[0]
        if phase != self._current:
            self._close()
            self._current, self._since = phase, time.perf_counter()
        if self._status is not None:
            self._status.update(text if len(text) <= 100 else f"{text[:99]}…")

    def _close(self) -> None:
        if self._current is None:
            return
        seconds = time.perf_counter() - self._since
        self.seconds[self._current] = self.seconds.get(self._current, 0.0) + seconds
        if self._status is None and seconds >= TOLD:
            typer.echo(f"mosaic: {self._current} took {seconds:.0f} s", err=True)
        self._current = None

    @contextmanager
    def shown(self) -> Iterator[Phases]:
        """On a terminal, a line that changes; elsewhere a line for each long phase when it is over."""
        if sys.stderr.isatty():
            from rich.console import Console

            with Console(stderr=True).status("") as self._status:
                try:
                    yield self
                finally:
                    self._close()
            self._status = None
        else:
            yield self
            self._close()

    def summary(self) -> str:
        """`planning 15.2 s, checking 80.1 s`: the phases that took at least a tenth of a second."""
        return ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in self.seconds.items() if seconds >= 0.1)
