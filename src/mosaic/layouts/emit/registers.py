"""Building steps within one thread: packing registers into words, and putting words together where threads differ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from mosaic.layouts.emit.steps import WORD_BYTES, Pack, Part, Permute, PerThread, Program, Select, Step, Unpack, UnpackWord, Word

Wanted = tuple[Part | None, ...]
"""For one slot, the part that each thread wants there; None where it may be anything."""

_Tree = int | tuple[PerThread, "_Tree", "_Tree"]
_PERMUTED: Final = 2  # words that one permutation of bytes takes


class Builder:
    """Collects steps; the same word is never made twice.

    whole_words: the source's registers are moved as they are, so that they lie in words already, one after the other.
    """

    def __init__(self, threads: int, warp_size: int, element_bytes: int, *, casts_first: bool, whole_words: bool = False) -> None:
        self.threads = threads
        self.casts_first = casts_first
        self.whole_words = whole_words
        self.warp_size = warp_size
        self.slots = WORD_BYTES // element_bytes
        self.element_bytes = element_bytes
        self.steps: list[Step] = []
        self._made: dict[tuple[object, ...], Word] = {}
        self._words = 0

    def word(self) -> Word:
        """The next number."""
        self._words += 1
        return self._words - 1

    @property
    def words(self) -> int:
        """How many words there are so far."""
        return self._words

    def fresh(self) -> Builder:
        """An empty one that numbers its words from here on, to try something."""
        other = Builder(self.threads, self.warp_size, self.element_bytes, casts_first=self.casts_first, whole_words=self.whole_words)
        other._words = self._words
        return other

    def adopt(self, steps: list[Step], words: int) -> None:
        """Takes over what a fresh one has collected."""
        self.steps += steps
        self._words = words

    def program(self, shared_bytes: int) -> Program:
        return Program(tuple(self.steps), self.threads, self.warp_size, self.slots, self.casts_first, shared_bytes)

    def pack(self, registers: tuple[int | None, ...]) -> Word:
        """A word of source registers: as it lies there, or put together of bytes."""
        if self.whole_words and self.slots > 1 and not self._lies_together(registers):
            return self.gather([None if register is None else self._where(register) for register in registers])
        key = ("pack", registers)
        if key not in self._made:
            self._made[key] = self.word()
            self.steps.append(Pack(self._made[key], registers))
        return self._made[key]

    def _lies_together(self, registers: tuple[int | None, ...]) -> bool:
        first = registers[0]
        return first is not None and first % self.slots == 0 and all(at in (None, first + slot) for slot, at in enumerate(registers))

    def _where(self, register: int) -> Wanted:
        first = register // self.slots * self.slots
        return ((self.pack(tuple(range(first, first + self.slots))), register - first),) * self.threads

    def permute(self, low: Word, high: Word, selector: PerThread) -> Word:
        """Bytes of two words; the word itself where nothing moves."""
        if set(selector) == {0x3210}:
            return low
        key = ("permute", low, high, selector)
        if key not in self._made:
            self._made[key] = self.word()
            self.steps.append(Permute(self._made[key], low, high, selector))
        return self._made[key]

    def select(self, choices: Sequence[Word | None]) -> Word:
        """The word that each thread chooses (None: any), by as few selections as there are other words."""
        order: dict[Word, int] = {}
        for choice in choices:
            if choice is not None:
                order.setdefault(choice, len(order))
        words = list(order)
        pattern = tuple(None if choice is None else order[choice] for choice in choices)
        return self._select(_tree(pattern, self.warp_size), words)

    def _select(self, tree: _Tree, words: list[Word]) -> Word:
        if isinstance(tree, int):
            return words[tree]
        condition, no, yes = tree
        chosen, other = self._select(yes, words), self._select(no, words)
        key = ("select", condition, chosen, other)
        if key not in self._made:
            self._made[key] = self.word()
            self.steps.append(Select(self._made[key], condition, chosen, other))
        return self._made[key]

    def gather(self, wanted: Sequence[Wanted | None]) -> Word:
        """A word whose slots hold, in each thread, the parts that it wants."""
        slots = [slot if slot is not None else (None,) * self.threads for slot in wanted]
        slots += [(None,) * self.threads] * (self.slots - len(slots))
        whole = [_whole(parts) for parts in zip(*slots, strict=True)]
        if all(fits for fits, _ in whole):
            return self.select([word for _, word in whole])
        uses = [sorted({part[0] for part in parts if part is not None}) for parts in zip(*slots, strict=True)]
        if max(len(used) for used in uses) > 2:
            # Four slots out of three or four words: two at a time.
            half = self.slots // 2
            low, high = self.gather(slots[:half]), self.gather([None] * half + list(slots[half:]))
            return self.permute(low, high, (0x7610,) * self.threads)
        low = self.select([used[0] if used else None for used in uses])
        high = self.select([used[1] if len(used) > 1 else None for used in uses]) if any(len(used) > 1 for used in uses) else low
        return self.permute(
            low, high, tuple(self._selector(parts, used) for parts, used in zip(zip(*slots, strict=True), uses, strict=True))
        )

    def _selector(self, parts: tuple[Part | None, ...], used: list[Word]) -> int:
        selector = 0
        for slot, part in enumerate(parts):
            for byte in range(self.element_bytes):
                at = slot * self.element_bytes + byte
                source = at if part is None else used.index(part[0]) * WORD_BYTES + part[1] * self.element_bytes + byte
                selector |= source << 4 * at
        return selector

    def unpack(self, wanted: Sequence[Wanted | None]) -> None:
        """Target register i = what each thread wants in wanted[i]; one that nobody wants is left alone."""
        for first in range(0, len(wanted), self.slots):
            group = wanted[first : first + self.slots]
            plain = [_uniform(slot) if slot is not None else None for slot in group]
            differs = any(slot is not None and found is None for slot, found in zip(group, plain, strict=True))
            # Bytes of two words are put together at once, where the target's registers are words; of more, compilers do it as well.
            words = {part[0] for part in plain if part is not None}
            is_word = self.casts_first and len(group) == self.slots > 1 and None not in group and len(words) <= _PERMUTED
            whole = plain[0][0] if plain[0] is not None else None
            if differs or (is_word and plain != [(whole, slot) for slot in range(self.slots)]):
                whole = self.gather(group)
                plain = [(whole, position) for position in range(len(group))]
            if self.casts_first and self.slots > 1 and whole is not None and plain == [(whole, slot) for slot in range(self.slots)]:
                self.steps.append(UnpackWord(first, whole))
                continue
            for position, (slot, part) in enumerate(zip(group, plain, strict=True)):
                if slot is not None and part is not None:
                    self.steps.append(Unpack(first + position, part))


def _uniform(slot: Wanted) -> Part | None:
    """The part, if all threads want the same one."""
    parts = {part for part in slot if part is not None}
    return next(iter(parts)) if len(parts) == 1 else None


def _whole(parts: tuple[Part | None, ...]) -> tuple[bool, Word | None]:
    """Whether these are the slots of one word in order, and which."""
    words = {part[0] for part in parts if part is not None}
    fits = len(words) <= 1 and all(part is None or part[1] == slot for slot, part in enumerate(parts))
    return fits, next(iter(words), None)


@lru_cache(maxsize=4096)
def _tree(pattern: tuple[int | None, ...], warp_size: int) -> _Tree:
    """A decision tree over conditions (no, yes): each splits the choices in two without a choice on both sides, so it is as small as
    can be. Parities of thread bits come first, in a fixed order, so that trees of different words share their lower parts."""
    choices = sorted({choice for choice in pattern if choice is not None})
    if len(choices) <= 1:
        return choices[0] if choices else 0
    condition = _condition(pattern, len(choices), warp_size)
    sides = [tuple(choice if at == side else None for choice, at in zip(pattern, condition, strict=True)) for side in (0, 1)]
    return condition, _tree(sides[0], warp_size), _tree(sides[1], warp_size)


def _condition(pattern: tuple[int | None, ...], count: int, warp_size: int) -> PerThread:
    for condition in _parities(len(pattern), warp_size):
        sides: tuple[set[int], set[int]] = set(), set()
        for choice, side in zip(pattern, condition, strict=True):
            if choice is not None:
                sides[side].add(choice)
        if sides[0] and sides[1] and len(sides[0]) + len(sides[1]) == count:
            return condition
    order = sorted({choice for choice in pattern if choice is not None})
    upper = set(order[len(order) // 2 :])
    return tuple(int(choice in upper) for choice in pattern)


@lru_cache(maxsize=16)
def _parities(threads: int, warp_size: int) -> tuple[PerThread, ...]:
    """Parities of the bits of a thread's number: single bits first, then of any lane bits and at most one bit of the warp."""
    lane_bits = warp_size.bit_length() - 1
    warps = [0, *(1 << bit for bit in range(lane_bits, (threads - 1).bit_length()))]
    masks = sorted((lane | warp for lane in range(warp_size) for warp in warps if lane | warp), key=lambda mask: (mask.bit_count(), mask))
    return tuple(tuple((thread & mask).bit_count() & 1 for thread in range(threads)) for mask in masks)
