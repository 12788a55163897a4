"""A reward for search and training, computed from a packet and nothing else."""

from __future__ import annotations

import math
from typing import Final

from mosaic.evidence.categories import Passed
from mosaic.evidence.packet import InconclusivePacket, Packet, PassPacket
from mosaic.evidence.record import Measured, Stated

RIGHT: Final = 0.1
"""What a right candidate gets at least; the rest is speed."""
ROOF_SHARE: Final = 0.5
"""How much of what speed gives comes from the distance to the roof, where a roof is known."""
SUSPECT_SPEEDUP: Final = 10.0
"""Beyond so many times the baseline nothing more is to be gained."""


def reward(packet: Packet) -> float:
    """Between 0 and 1. Correctness is the gate: 0 unless validation passed, and 0 for a cheat.

    A right candidate gets 0.1; the remaining 0.9 by how much faster it is than the packet's named baseline (half of it as fast as the
    baseline, all of it at ten times), and, where the packet has roofs, half by that and half by the fraction of the roof. A
    speedup counts with the low end of its interval, so that noise gains nothing, and as none where nothing can be concluded; cases
    count alike (geometric means).
    """
    security = packet.security
    if not isinstance(packet, PassPacket | InconclusivePacket) or not isinstance(packet.validation, Passed):
        return 0.0
    if security is not None and security.verdict == "cheat":
        return 0.0
    performance = packet.performance
    if performance is None:
        return RIGHT
    speedups = [_low(figure) for baseline in performance.baselines or () for figure in baseline.speedup.values()]
    fractions = [min(1.0, max(roof.fraction.value, 0.0)) for roof in performance.roofs or ()]
    parts = []
    if speedups:
        shown = _geometric(speedups)
        parts.append(_of_speedup(shown if isinstance(packet, PassPacket) else min(1.0, shown)))
    if fractions:
        parts.append(_geometric(fractions))
    if not parts:
        return RIGHT
    speed = parts[0] if len(parts) == 1 else (1 - ROOF_SHARE) * parts[0] + ROOF_SHARE * parts[1]
    return RIGHT + (1 - RIGHT) * speed


def _low(figure: Measured | Stated) -> float:
    return figure.interval[0] if figure.interval is not None else figure.value


def _geometric(values: list[float]) -> float:
    return math.exp(sum(math.log(max(value, 1e-9)) for value in values) / len(values))


def _of_speedup(speedup: float) -> float:
    """0 for a tenth of the baseline's speed or less, 1/2 for the same, 1 for ten times: even over the logarithm."""
    return min(1.0, max(0.0, 0.5 + 0.5 * math.log(speedup) / math.log(SUSPECT_SPEEDUP)))
