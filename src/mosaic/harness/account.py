"""Where the judge's time goes: seconds by step, which the packet keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Account:
    """Seconds by step. A step named `a: b` is a part of the step `a`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, step: str, seconds: float) -> None:
        """More of a step."""
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        """What is done inside counts as a step, whether it ends well or not."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(step, time.perf_counter() - start)
