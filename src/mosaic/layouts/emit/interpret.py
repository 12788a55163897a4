"""Steps, carried out for every thread of a block with elements' names instead of values; conflicts of banks are counted on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mosaic.layouts.banks import Banks
from mosaic.layouts.emit.memory import wavefronts
from mosaic.layouts.emit.steps import (
    WORD_BYTES,
    Barrier,
    Copy,
    Exchange,
    Load,
    Pack,
    Permute,
    PerThread,
    Program,
    Select,
    Shuffle,
    Store,
    Transpose,
    Unpack,
    UnpackWord,
    Word,
)

Byte = tuple[int, int] | None
"""An element and one of its bytes; None: nothing that is known."""
Value = tuple[Byte, Byte, Byte, Byte]
_NOTHING: Value = (None, None, None, None)


class StepError(Exception):
    """Steps that no hardware should be given: a read of a word that was not written, a race, an access outside of the stage."""


@dataclass(frozen=True)
class Outcome:
    """`target[register][thread]`: the element there, None if none that is known. Of all warps: accesses issued to the stage, the banks'
    cycles for them, and how many of those are conflicts."""

    target: dict[int, list[int | None]]
    accesses: int
    wavefronts: int
    conflicts: int


def interpret(program: Program, source: Sequence[Sequence[int | None]], banks: Banks) -> Outcome:
    """Carries out all steps; `source[register][thread]` are the elements. Raises StepError."""
    machine = _Machine(program, source, banks)
    for step in program.steps:
        getattr(machine, type(step).__name__.lower())(step)
    return Outcome(machine.target, machine.accesses, machine.wavefronts, machine.conflicts)


class _Machine:
    def __init__(self, program: Program, source: Sequence[Sequence[int | None]], banks: Banks) -> None:
        self.program, self.source, self.banks = program, source, banks
        self.words: dict[Word, list[Value]] = {}
        self.stage: list[Byte] = [None] * program.shared_bytes
        # Since the last barrier: the one thread that wrote a byte, and those that read it.
        self.writers: dict[int, set[int]] = {}
        self.readers: dict[int, set[int]] = {}
        self.target: dict[int, list[int | None]] = {}
        self.accesses = self.wavefronts = self.conflicts = 0

    def _all(self, word: Word) -> list[Value]:
        if word not in self.words:
            raise StepError(f"word {word} is read before it is written")
        return self.words[word]

    def _make(self, word: Word, values: list[Value]) -> None:
        if word in self.words:
            raise StepError(f"word {word} is written twice")
        self.words[word] = values

    def copy(self, step: Copy) -> None:
        self.target[step.register] = list(self.source[step.from_register])

    def pack(self, step: Pack) -> None:
        values = []
        for thread in range(self.program.threads):
            value: list[Byte] = []
            for register in step.registers:
                element = None if register is None else self.source[register][thread]
                value += [None if element is None else (element, byte) for byte in range(self.program.element_bytes)]
            values.append(_value(value))
        self._make(step.word, values)

    def unpack(self, step: Unpack) -> None:
        word, slot = step.part
        size = self.program.element_bytes
        found = []
        for value in self._all(word):
            part = value[slot * size : (slot + 1) * size]
            first = part[0]
            whole = first is not None and part == tuple((first[0], byte) for byte in range(size))
            found.append(first[0] if whole and first is not None else None)
        self.target[step.register] = found

    def unpackword(self, step: UnpackWord) -> None:
        if not self.program.casts_first:
            raise StepError("a word of the source's type is copied to registers of the target's type")
        for slot in range(self.program.slots):
            self.unpack(Unpack(step.register + slot, (step.word, slot)))

    def permute(self, step: Permute) -> None:
        values = []
        for low, high, selector in zip(self._all(step.low), self._all(step.high), step.selector, strict=True):
            both = (*low, *high)
            values.append(_value([both[selector >> 4 * at & 7] for at in range(WORD_BYTES)]))
        self._make(step.word, values)

    def select(self, step: Select) -> None:
        both = zip(self._all(step.yes), self._all(step.no), step.condition, strict=True)
        self._make(step.word, [yes if condition else no for yes, no, condition in both])

    def shuffle(self, step: Shuffle) -> None:
        size, values = self.program.warp_size, self._all(step.value)
        self._make(step.word, [values[thread // size * size + lane] for thread, lane in enumerate(step.lanes)])

    def exchange(self, step: Exchange) -> None:
        first, second = (self._all(value) for value in step.values)
        bit = 1 << step.bit
        low, high = list(first), list(second)
        for thread in range(self.program.threads):
            if thread & bit:
                low[thread] = second[thread ^ bit]
                high[thread ^ bit] = first[thread]
        self._make(step.words[0], low)
        self._make(step.words[1], high)

    def transpose(self, step: Transpose) -> None:
        values = self._all(step.value)
        made = []
        for thread in range(self.program.threads):
            warp, lane = thread & ~31, thread & 31
            value: list[Byte] = []
            for slot in (0, 1):
                row, column = 2 * (lane % 4) + slot, lane // 4
                value += values[warp | 4 * row + column // 2][2 * (column % 2) :][:2]
            made.append(_value(value))
        self._make(step.word, made)

    def store(self, step: Store) -> None:
        words = [self._all(word) for word in step.words]
        self._count(step.address, step.guard, step.width, "write")
        for thread, address in enumerate(step.address):
            if step.guard is not None and not step.guard[thread]:
                continue
            value = [byte for word in words for byte in word[thread]][step.byte : step.byte + step.width]
            for at, byte in self._reach(address, step.width, value):
                others = self.writers.setdefault(at, set())
                if (others - {thread} and self.stage[at] != byte) or self.readers.get(at, set()) - {thread}:
                    raise StepError(f"byte {at} of the stage is written by thread {thread} and used by another one, without a barrier")
                others.add(thread)
                self.stage[at] = byte

    def load(self, step: Load) -> None:
        self._count(step.address, step.guard, step.width, "read")
        loaded = [list(self.words.get(word, [_NOTHING] * self.program.threads)) for word in step.words]
        for thread, address in enumerate(step.address):
            if step.guard is not None and not step.guard[thread]:
                continue
            found: list[Byte] = []
            for at, _ in self._reach(address, step.width, [None] * step.width):
                if self.writers.get(at, set()) - {thread}:
                    raise StepError(f"byte {at} of the stage is read by thread {thread} without a barrier after it was written")
                self.readers.setdefault(at, set()).add(thread)
                found.append(self.stage[at])
            for position in range(len(step.words)):
                loaded[position][thread] = _value(found[position * WORD_BYTES : (position + 1) * WORD_BYTES])
        for word, values in zip(step.words, loaded, strict=True):
            self.words[word] = values

    def barrier(self, _: Barrier) -> None:
        self.writers.clear()
        self.readers.clear()

    def _reach(self, address: int, width: int, value: list[Byte]) -> list[tuple[int, Byte]]:
        if address % width or not 0 <= address <= self.program.shared_bytes - width:
            raise StepError(f"{width} bytes at {address} are unaligned or outside of the stage of {self.program.shared_bytes} bytes")
        return list(enumerate(value, address))

    def _count(self, address: PerThread, guard: PerThread | None, width: int, direction: str) -> None:
        size = self.program.warp_size
        for first in range(0, self.program.threads, size):
            lanes = range(first, min(first + size, self.program.threads))
            active: list[int | None] = [address[lane] if guard is None or guard[lane] else None for lane in lanes]
            if any(place is not None for place in active):
                self.accesses += 1
                cycles = wavefronts(active, width, self.banks, direction)
                served = {lane for lane, place in enumerate(active) if place is not None}
                phases = self.banks.phases(width, "write" if direction == "write" else "read")
                self.wavefronts += cycles
                self.conflicts += cycles - sum(bool(served & set(phase)) for phase in phases)


def _value(found: Sequence[Byte]) -> Value:
    first, second, third, fourth = (*found, *_NOTHING)[:WORD_BYTES]
    return first, second, third, fourth
