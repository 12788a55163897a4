"""How many instructions a conversion is, by the names that `mosaic.layouts.cost` has constants for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from mosaic.layouts.emit.steps import (
    Barrier,
    Copy,
    Exchange,
    Load,
    Pack,
    Permute,
    Program,
    Select,
    Shuffle,
    Step,
    Store,
    Transpose,
    Unpack,
    UnpackWord,
    Word,
)

# Which of two chains of steps is the longer one: cycles, about as benchmarks/instructions.py finds them on NVIDIA's GPUs.
_LENGTH: Final = {"barrier": 25, "load": 30, "store": 25, "shuffle": 24, "shuffle_xor": 24, "transpose": 34, "exchange": 8}
_SHORT: Final = 5


def counts(program: Program) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """(all instructions of one warp, those of the longest chain in which each waits for the one before)."""
    total = Counter(name for step in program.steps if (name := name_of(step, program.warp_size)) is not None)
    if rearranged := _rearranged(program):
        total["permute"] += rearranged
    return MappingProxyType(dict(total)), MappingProxyType(dict(_longest(program)))


def name_of(step: Step, warp_size: int) -> str | None:
    """What a step costs; None: nothing that can be told apart from the cast, which every conversion has."""
    match step:
        case Shuffle():
            return "shuffle_xor" if len({lane ^ at % warp_size for at, lane in enumerate(step.lanes)}) == 1 else "shuffle"
        case Store():
            return f"store{max(step.width, 4)}"
        case Load():
            return f"load{max(step.width, 4)}"
        case Transpose() | Exchange() | Permute() | Select() | Barrier():
            return type(step).__name__.lower()
        case _:
            return None


def _rearranged(program: Program) -> int:
    """Words that are put together of bytes of other words, without a step of their own: by packing and unpacking."""
    if program.slots == 1:
        return 0
    found = 0
    parts: dict[int, list[tuple[int, Word, int]]] = {}
    for step in program.steps:
        if isinstance(step, Pack) and not program.casts_first and None not in step.registers:
            first = step.registers[0] or 0
            found += step.registers != tuple(range(first, first + program.slots))
        elif isinstance(step, Unpack) and program.casts_first:
            group = parts.setdefault(step.register // program.slots, [])
            group.append((step.register % program.slots, *step.part))
    for group in parts.values():
        words = {word for _, word, _ in group}
        if len(words) > 1 or any(position != slot for position, _, slot in group):
            found += max(1, len(words) - 1)
    return found


def _longest(program: Program) -> Counter[str]:
    """The longest chain, by the rough lengths above."""
    ready: dict[Word, tuple[int, Counter[str]]] = {}
    done: tuple[int, Counter[str]] = (0, Counter())
    stored = done
    for step in program.steps:
        name = name_of(step, program.warp_size)
        start = max([done if isinstance(step, Load | Store) else (0, Counter()), *(ready[word] for word in _reads(step))], key=_length)
        if isinstance(step, Barrier):
            start = max([done, stored, *ready.values()], key=_length)
        end = start if name is None else (start[0] + _LENGTH.get(name.rstrip("0123456789"), _SHORT), start[1] + Counter([name]))
        if isinstance(step, Barrier):
            done = end
        elif isinstance(step, Store):
            stored = max(stored, end, key=_length)
        for word in _writes(step):
            ready[word] = end
    return max([done, stored, *ready.values()], key=_length)[1]


def _length(chain: tuple[int, Counter[str]]) -> int:
    return chain[0]


def _reads(step: Step) -> Sequence[Word]:
    match step:
        case Permute():
            return step.low, step.high
        case Select():
            return step.yes, step.no
        case Shuffle() | Transpose():
            return (step.value,)
        case Exchange():
            return step.values
        case Store():
            return step.words
        case _:
            return ()


def _writes(step: Step) -> Sequence[Word]:
    match step:
        case Load() | Exchange():
            return step.words
        case Pack() | Permute() | Select() | Shuffle() | Transpose():
            return (step.word,)
        case Copy() | Unpack() | UnpackWord() | Store() | Barrier():
            return ()
