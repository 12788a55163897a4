"""What repeats in a graph, as the layers of a model do: one name for many names, and the stretch of launches that recurs.

layer0.query, layer1.query, layer2.query      ->  layer{0..2}.query
launches of the kernels  a b c d b c d b c d  ->  a, then 3 times b c d
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

# Numbers that belong to a name; those that stand alone, such as bytes, do not.
_NUMBER: Final = re.compile(r"(?<=[A-Za-z_.])\d+")


def pattern(text: str) -> str:
    """The text without the numbers in its names: equal for what differs in nothing else."""
    return _NUMBER.sub("#", text)


def merged(texts: Sequence[str]) -> str:
    """One text for several of the same pattern: where their numbers differ, all of them, in braces."""
    numbers = [_NUMBER.findall(text) for text in texts]
    columns = iter(zip(*numbers, strict=True))

    def one(_: re.Match[str]) -> str:
        found = sorted({int(number) for number in next(columns)})
        return str(found[0]) if len(found) == 1 else f"{{{_span(found)}}}"

    return _NUMBER.sub(one, texts[0])


def _span(numbers: Sequence[int]) -> str:
    if all(b - a == 1 for a, b in pairwise(numbers)):
        return f"{numbers[0]}..{numbers[-1]}" if len(numbers) > 2 else f"{numbers[0]}, {numbers[1]}"
    return ", ".join(map(str, numbers)) if len(numbers) <= 4 else f"{numbers[0]}, … {numbers[-1]}"


@dataclass(frozen=True)
class Stretch:
    """A part of a sequence that recurs: `times` copies of `length` items from `start` on."""

    start: int
    length: int
    times: int

    @property
    def stop(self) -> int:
        return self.start + self.length * self.times


def stretches(items: Sequence[Hashable], *, least: int = 3) -> list[Stretch]:
    """Disjoint stretches that recur at least `least` times without a gap, from the left; each as long in all as can be,
    and of those of one length the one of the shortest period."""
    found: list[Stretch] = []
    position = 0
    while position < len(items):
        best = None
        for length in range(1, (len(items) - position) // least + 1):
            times = _times(items, position, length)
            if times >= least and (best is None or length * times > best.length * best.times):
                best = Stretch(position, length, times)
        if best is None:
            position += 1
        else:
            found.append(best)
            position = best.stop
    return found


def _times(items: Sequence[Hashable], start: int, length: int) -> int:
    """How often the `length` items from `start` on stand there one after the other."""
    first = items[start : start + length]
    times = 1
    while items[start + times * length : start + (times + 1) * length] == first:
        times += 1
    return times
