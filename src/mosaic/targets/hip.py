"""HIP: source only. No compiler for it is assumed; what can be told without one is read from the source."""

from __future__ import annotations

from mosaic.targets.emitted import Emitted, read_hip


def read_source(source: str, dynamic_shared: int) -> Emitted:
    """What the source says it will use: families by builtin, and the shared memory of the launch. Registers are unknown."""
    return Emitted(None, None, None, dynamic_shared, read_hip(source), "source")
