"""Search over one kernel's tunables: coordinate descent from the author's choice and from sizes that would fit."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from mosaic.graph.graph import Node
from mosaic.graph.kernel import Kernel, Value
from mosaic.stitch.library import Tunables, freeze

SWEEPS: Final = 2
"""Rounds of coordinate descent."""

FALLBACKS: Final = 4
"""Valid combinations to start from where neither the author's nor a wanted one is valid."""

ANY_THREADS: Final = 0
"""For a device whose blocks have no threads: every program keeps its own number."""


def descend(node: Node, threads: int, score: Callable[[Tunables], float], wanted: Sequence[int]) -> Tunables | None:
    """The tunables of the lowest score found; None if none is below infinity.

    A tunable called `threads` is held at `threads` unless that is ANY_THREADS or no choice of it;
    `wanted` are sizes that tiles might have to have.
    """
    assert node.kernel is not None and node.binding is not None
    kernel = node.kernel
    scores = {freeze(start): score(start) for start in _starts(node, threads, wanted)}
    if not scores:
        return None
    current: dict[str, Value] = dict(min(scores.items(), key=operator.itemgetter(1))[0])
    for _ in range(SWEEPS):
        before = freeze(current)
        for step in _steps(kernel.tunables, threads):
            moved = {**current, **step}
            if freeze(moved) in scores or not kernel.is_valid(node.binding, moved):
                continue
            scores[freeze(moved)] = score(moved)
            if scores[freeze(moved)] < scores[freeze(current)]:
                current = moved
        if freeze(current) == before:
            break
    return current if scores[freeze(current)] < float("inf") else None


def is_too_fine(node: Node, wanted: Sequence[int]) -> bool:
    """Whether a wanted size is larger than any that the node's kernel can be asked for."""
    assert node.kernel is not None
    choices = itertools.chain.from_iterable(values for name, values in node.kernel.tunables.items() if name != "threads")
    largest = max((value for value in choices if isinstance(value, int)), default=0)
    return any(size > largest for size in wanted)


def _starts(node: Node, threads: int, wanted: Sequence[int]) -> list[dict[str, Value]]:
    """Every combination of the author's own tunables and those that hold a wanted size."""
    assert node.kernel is not None and node.binding is not None
    kernel = node.kernel
    fixed = {"threads": threads} if threads in kernel.tunables.get("threads", ()) else {}
    default = {**kernel.default_tunables(), **fixed}
    options: list[Sequence[Value]] = []
    for name, values in kernel.tunables.items():
        if name == "threads":
            options.append([threads] if fixed else values)
        else:
            options.append(list(dict.fromkeys([*(v for v in values if v in wanted), default[name]])))
    starts = [dict(zip(kernel.tunables, values, strict=True)) for values in itertools.product(*options)]
    valid = {freeze(s): s for s in starts if kernel.is_valid(node.binding, s)}
    return list(valid.values()) or list(itertools.islice(_valid(kernel, node, fixed), FALLBACKS))


def _valid(kernel: Kernel, node: Node, fixed: Tunables) -> Iterator[dict[str, Value]]:
    assert node.binding is not None
    return (c for c in kernel.choices(node.binding) if all(c[name] == value for name, value in fixed.items()))


def _steps(tunables: Mapping[str, Sequence[Value]], threads: int) -> Iterator[dict[str, Value]]:
    """Every setting of one tunable; where threads are free, also of the first two together with them, since they limit each other."""
    free = [name for name in tunables if name != "threads" or threads not in tunables[name]]
    for name in free:
        yield from ({name: value} for value in tunables[name])
    if "threads" in free:
        for name in [n for n in free if n != "threads"][:2]:
            yield from ({name: value, "threads": number} for value in tunables[name] for number in tunables["threads"])
