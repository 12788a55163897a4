"""The state of the last-level cache before a call, made what it is said to be.

flushed       more bytes than twice the cache holds were written since, and lines that a program asked to keep were let go
warm          the program ran on the same data just before
persisting    lines that the program asked to keep are left to it, and the rest is flushed
uncontrolled  nothing was done
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import torch

from mosaic.harness.rates import last_level_cache
from mosaic.harness.timed_sample import Cache

FLUSH_FACTOR: Final = 2
"""As many times the cache's bytes are written to flush it."""

LARGEST: Final = 1 << 30
"""Bytes. Processors of large servers have caches beyond that, of which one program sees a part."""


class CacheControl:
    """Brings a device's last-level cache into a state. Holds a buffer of twice its size where it has to flush."""

    def __init__(self, device: str | torch.device, state: Cache) -> None:
        self.device: Final = torch.device(device)
        self.state: Final = state
        self.flushes: Final = state in ("flushed", "persisting")
        size = min(FLUSH_FACTOR * last_level_cache(self.device), LARGEST) if self.flushes else 0
        self._buffer = torch.zeros(size // 4, dtype=torch.int32, device=self.device)

    @property
    def bytes(self) -> int:
        """How many are written to flush."""
        return self._buffer.numel() * 4

    def bring_about(self) -> None:
        """Queue what makes the state, on the current stream of a GPU. For warm and uncontrolled there is nothing to do here."""
        if not self.flushes:
            return
        if self.state == "flushed":
            reset_persisting(self.device)
        self._buffer.add_(1)  # reads and writes, so that lines of both kinds are replaced


def reset_persisting(device: torch.device) -> bool:
    """Let go of lines that were asked to persist in the level-2 cache of a GPU. Whether there was something to ask for that.

    Through the driver's cuCtxResetPersistingL2Cache (compute capability 8.0 and later; others have no such lines).
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    try:
        driver: Any = ctypes.CDLL("libcuda.so.1")
        return bool(driver.cuCtxResetPersistingL2Cache() == 0)
    except (OSError, AttributeError):
        return False
