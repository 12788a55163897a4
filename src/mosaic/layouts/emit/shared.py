"""Conversions through shared memory: written as the source has it, a barrier, read as the target wants it."""

from __future__ import annotations

from mosaic.layouts.emit.memory import Memory, Run
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.registers import Builder, Wanted
from mosaic.layouts.emit.steps import WORD_BYTES, Barrier, Load, Part, PerThread, Store, Word
from mosaic.layouts.linear import LayoutError


def convert_shared(builder: Builder, source: Places, target: Places, memory: Memory, limit: int, *, reused: bool) -> int:
    """Adds the steps. Returns the bytes of stage that are used: at most `limit`, in as many rounds as that takes.

    reused: whether something else may still be read from the stage, so that a barrier comes first.
    Raises LayoutError if the limit is less than one access.
    """
    size = builder.element_bytes
    most = max(len(run) for run in (*memory.write, *memory.read))
    chunk = memory.size if memory.size * size <= limit else limit // (size * most) * most
    # A round of a power of two keeps whole rows of banks, and swizzles, as they are.
    if chunk < memory.size and chunk > 0:
        chunk = 1 << chunk.bit_length() - 1
    if chunk < most:
        raise LayoutError(f"shared memory of {limit} bytes does not hold one access of {most * size} bytes; give the conversion more")
    wanted: list[list[Part | None]] = [[None] * builder.threads for _ in range(target.registers)]
    rounds = range(0, memory.size, chunk)
    loads = _LoadWords(builder, memory, target)
    for start in rounds:
        if reused or start:
            builder.steps.append(Barrier())
        window = range(start, start + chunk)
        _write(builder, source, memory, window)
        builder.steps.append(Barrier())
        loads.read(window, wanted)
    builder.unpack([tuple(row) for row in wanted])
    return min(chunk, memory.size) * size


def _write(builder: Builder, source: Places, memory: Memory, window: range) -> None:
    for run in memory.write:
        placed = [_place(source, memory, run, thread, window) for thread in range(builder.threads)]
        guard = _guard(placed)
        if guard is not None and not any(guard):
            continue
        width = len(run) * builder.element_bytes
        words = _words(builder, source, memory, run)
        builder.steps.append(Store(words, width, _addresses(placed, builder.element_bytes), 0, guard))


def _words(builder: Builder, source: Places, memory: Memory, run: Run) -> tuple[Word, ...]:
    """The run's registers in the order of their offsets, as words."""
    order: list[list[int | None]] = []
    for thread in range(builder.threads):
        row: list[int | None] = [None] * len(run)
        for register in run:
            element = source.elements[register][thread]
            if element is not None:
                row[memory.offset[element] % len(run)] = register
        order.append(row)
    known = {tuple(row) for row in order if None not in row}
    slots = builder.slots
    if len(known) == 1:
        registers = next(iter(known))
        return tuple(builder.pack(_filled(registers[at : at + slots], slots)) for at in range(0, len(run), slots))
    # Threads have the run in different orders: packed as registers are numbered, then put in order.
    numbered = sorted(run)
    part: dict[int | None, Part | None] = {None: None}
    for at in range(0, len(run), slots):
        word = builder.pack(_filled(tuple(numbered[at : at + slots]), slots))
        part |= {register: (word, slot) for slot, register in enumerate(numbered[at : at + slots])}
    wanted: list[Wanted] = [tuple(part[row[position]] for row in order) for position in range(len(run))]
    return tuple(builder.gather(wanted[at : at + slots]) for at in range(0, len(run), slots))


def _filled(registers: tuple[int | None, ...], slots: int) -> tuple[int | None, ...]:
    return registers + (None,) * (slots - len(registers))


class _LoadWords:
    """Reads the target's runs; one that threads read in different rounds goes to the same words each time."""

    def __init__(self, builder: Builder, memory: Memory, target: Places) -> None:
        self._builder = builder
        self._memory = memory
        self._target = target
        self._words: dict[Run, tuple[Word, ...]] = {}
        # Threads beyond the target's warps and lanes read what others do.
        size, lanes = target.warp_size, target.lanes
        self._theirs = [thread // size % target.warps * size + thread % size % lanes for thread in range(builder.threads)]
        self._alike: dict[tuple[int | None, ...], list[int]] = {}
        for register, row in enumerate(target.elements):
            self._alike.setdefault(row, []).append(register)

    def read(self, window: range, wanted: list[list[Part | None]]) -> None:
        builder, memory, target = self._builder, self._memory, self._target
        for run in memory.read:
            placed = [_place(target, memory, run, thread, window) for thread in self._theirs]
            guard = _guard(placed)
            if guard is not None and not any(guard):
                continue
            width = len(run) * builder.element_bytes
            words = self._words.setdefault(run, tuple(builder.word() for _ in range(max(1, width // WORD_BYTES))))
            builder.steps.append(Load(words, width, _addresses(placed, builder.element_bytes), guard))
            self._want(run, words, placed, wanted)

    def _want(self, run: Run, words: tuple[Word, ...], placed: list[int | None], wanted: list[list[Part | None]]) -> None:
        offset, slots = self._memory.offset, self._builder.slots
        for register in (other for mine in run for other in self._alike[self._target.elements[mine]]):
            row = self._target.elements[register]
            for thread, place in enumerate(placed):
                element = row[self._theirs[thread]]
                if place is not None and element is not None:
                    position = offset[element] % len(run)
                    wanted[register][thread] = (words[position // slots], position % slots)


def _place(layout: Places, memory: Memory, run: Run, thread: int, window: range) -> int | None:
    """The offset at which a thread accesses a run, from the window's start on; None if it does not in this window."""
    element = layout.elements[run[0]][thread]
    if element is None:
        return None
    place = memory.offset[element] // len(run) * len(run)
    return place - window.start if place in window else None


def _guard(placed: list[int | None]) -> PerThread | None:
    return None if None not in placed else tuple(int(place is not None) for place in placed)


def _addresses(placed: list[int | None], element_bytes: int) -> PerThread:
    return tuple((place or 0) * element_bytes for place in placed)
