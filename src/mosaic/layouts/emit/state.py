"""A tile on its way: words in the lanes of warps, and which elements lie in their slots, as a linear map."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mosaic.layouts import vectors
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.steps import Exchange, Transpose, Word
from mosaic.layouts.linear import LinearMap


@dataclass(frozen=True)
class State:
    """`words[i]`; the images of the bits of the slot, of i, of the lane and of the warp, each an element (or a difference of two)."""

    words: tuple[Word, ...]
    slot: tuple[int, ...]
    index: tuple[int, ...]
    lane: tuple[int, ...]
    warp: tuple[int, ...]

    def element(self, index: int, lane: int, warp: int) -> int:
        """The element in slot 0 of a word."""
        return vectors.combine(self.index, index) ^ vectors.combine(self.lane, lane) ^ vectors.combine(self.warp, warp)

    def exchange(self, builder: Builder, index: int, bit: int) -> State:
        """Swaps a bit of the words' number with a lane bit, by AMD's exchange of halves."""
        words = list(self.words)
        for low in range(len(words)):
            if not low >> index & 1:
                high = low | 1 << index
                made = builder.word(), builder.word()
                builder.steps.append(Exchange(made, (words[low], words[high]), bit))
                words[low], words[high] = made
        indices, lanes = list(self.index), list(self.lane)
        indices[index], lanes[bit] = lanes[bit], indices[index]
        return replace(self, words=tuple(words), index=tuple(indices), lane=tuple(lanes))

    def transpose(self, builder: Builder) -> State:
        """Every word through movmatrix: the slot's bit and the five lane bits move round."""
        words = []
        for value in self.words:
            words.append(builder.word())
            builder.steps.append(Transpose(words[-1], value))
        lane = self.lane
        return replace(self, words=tuple(words), slot=(lane[2],), lane=(lane[3], lane[4], self.slot[0], lane[0], lane[1]))


def pack_source(builder: Builder, source: LinearMap, slot: tuple[int, ...]) -> State:
    """The source's registers in words whose slots differ by `slot`, a subspace of what registers span. Copies are left out."""
    registers = source.images("register")
    index = vectors.extend(slot, registers)
    solver = vectors.Solver(registers)
    words = []
    for number in range(1 << len(index)):
        start = vectors.combine(index, number)
        found = [solver.solve(start ^ vectors.combine(slot, position)) for position in range(1 << len(slot))]
        words.append(builder.pack((*found, *(None,) * (builder.slots - len(found)))))
    return State(tuple(words), slot, index, source.images("lane"), source.images("warp"))


def slot_choices(source: LinearMap, target: LinearMap, slots: int) -> list[tuple[int, ...]]:
    """Subspaces that may share a word all the way: spanned by registers on both sides, as large as fits; the most natural ones first.

    Those that are words of the target's registers, or of the source's, need no rearrangement there.
    """
    bits = slots.bit_length() - 1
    common = vectors.intersection(source.images("register"), target.images("register"))
    found = []
    for native in (target.images("register")[:bits], source.images("register")[:bits]):
        first = [vector for vector in native if vectors.contains(common, [vector])]
        shared = vectors.intersection(native, common)
        basis = vectors.extend((), [*first, *shared, *target.images("register"), *common])
        inside = [vector for vector in basis if vectors.contains(common, [vector])]
        choice = vectors.extend((), [*inside, *common])[:bits]
        if choice not in found:
            found.append(choice)
    return found
