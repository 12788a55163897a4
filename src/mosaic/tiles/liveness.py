"""When on-chip buffers are alive, and how many bytes of them at once.

acc   |########|            positions are statements in program order; a buffer is alive
value          |#####|      from its first access to its last; throughout a loop, if it is also
square           |###|      touched outside of it, or may carry something from turn to turn
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Touch:
    """An access to an on-chip buffer (by key): at which statement, inside which loops (by key, outermost first).

    `fresh`: it overwrites the whole buffer. `arms` are the arms of branches that it stands in, outermost first.
    """

    buffer: int
    position: int
    loops: tuple[int, ...]
    fresh: bool = False
    arms: tuple[int, ...] = ()


def live_ranges(touches: Iterable[Touch], spans: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """First and last position at which each buffer is alive; `spans` are the positions of each loop's body."""
    by_buffer: dict[int, list[Touch]] = {}
    for touch in touches:
        by_buffer.setdefault(touch.buffer, []).append(touch)
    ranges = {}
    for key, mine in by_buffer.items():
        shared = set(mine[0].loops).intersection(*(t.loops for t in mine))
        low, high = mine[0].position, mine[0].position
        for touch in mine:
            low, high = min(low, touch.position), max(high, touch.position)
            for loop in touch.loops:
                if loop not in shared:
                    low, high = min(low, spans[loop][0]), max(high, spans[loop][1])
        around = next((loop for loop in mine[0].loops if loop in shared), None)
        if around is not None and _carries(mine):
            low, high = min(low, spans[around][0]), max(high, spans[around][1])
        ranges[key] = (low, high)
    return ranges


def _carries(touches: Sequence[Touch]) -> bool:
    """Whether a turn of a loop may find in the buffer what an earlier one left: unless it begins by overwriting all of it."""
    first = touches[0]
    return not first.fresh or any(touch.arms[: len(first.arms)] != first.arms for touch in touches)


def peak_bytes(ranges: Mapping[int, tuple[int, int]], sizes: Mapping[int, int]) -> int:
    """The most bytes alive at one position, of the buffers in `sizes`."""
    events: list[tuple[int, int]] = []
    for key, size in sizes.items():
        if key in ranges:
            low, high = ranges[key]
            events += [(low, size), (high + 1, -size)]
    alive = peak = 0
    for _, change in _in_order(events):
        alive += change
        peak = max(peak, alive)
    return peak


def _in_order(events: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """By position; what ends before what begins there."""
    return sorted(events)
