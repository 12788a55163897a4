"""Words from lane to lane, in the fewest rounds of shuffles, where both layouts are linear.

A lane of the target wants the words q of a space of n dims. In round i it gets the word q = i + f(lane), for a linear f: it reads from
the lane x(lane) + c(i), which must know by its own number which of its words is asked for. So x must be invertible, or at least two
lanes with one source must want the same word. Where x can be made the identity, rounds with c(i) = 0 stay in the lane and need no
shuffle, and the others are exclusive ors; no way has fewer rounds, as every lane then misses as many words as there are rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mosaic.layouts import vectors
from mosaic.layouts.emit.registers import Builder, Wanted
from mosaic.layouts.emit.state import State
from mosaic.layouts.emit.steps import Part, Shuffle, Word
from mosaic.layouts.linear import LinearMap

_MOST_PLACES: Final = 1000


@dataclass(frozen=True)
class _Sources:
    """From where each bit of what a place of the target wants comes: (lane, word) as differences, packed lane first."""

    word: tuple[int, ...]
    lane: tuple[int, ...]
    warp: tuple[int, ...]
    lane_bits: int

    def lane_of(self, packed: int) -> int:
        return packed & (1 << self.lane_bits) - 1

    def index_of(self, packed: int) -> int:
        return packed >> self.lane_bits


def route(builder: Builder, state: State, target: LinearMap) -> bool:
    """Adds the steps that bring words to where the target wants them, and unpacks them. False, with nothing added, if this way can't."""
    registers = target.images("register")
    if not vectors.contains(vectors.echelon(registers), state.slot):
        return False
    space = vectors.extend(state.slot, registers)
    sources = _find_sources(state, space, target)
    if sources is None:
        return False
    shift = choose_shift(sources.word, sources.lane, sources.lane_bits)
    if shift is None:
        return False
    got = _rounds(builder, state, sources, shift, len(space))
    builder.unpack(_wanted(builder, state, target, space, got))
    return True


def _find_sources(state: State, space: tuple[int, ...], target: LinearMap) -> _Sources | None:
    lanes = len(state.lane)
    nearest = vectors.Solver([*state.slot, *state.index, *state.lane])

    def find(vector: int) -> int | None:
        place = nearest.solve(vector)
        if place is None:
            return None
        index = place >> len(state.slot) & (1 << len(state.index)) - 1
        return place >> len(state.slot) + len(state.index) | index << lanes

    theirs = target.images("lane")
    # Lanes and warps that the target does not have keep what they hold.
    wanted = [*theirs, *state.lane[len(theirs) :]]
    moved = [find(mine ^ other) for mine, other in zip(state.lane, wanted, strict=True)]
    other_warps = target.images("warp")
    warps = [find(mine ^ other) for mine, other in zip(state.warp, [*other_warps, *state.warp[len(other_warps) :]], strict=True)]
    words = [find(vector) for vector in space]
    if None in moved or None in warps or None in words:
        return None
    lane = tuple((place or 0) ^ 1 << bit for bit, place in enumerate(moved))
    return _Sources(tuple(place or 0 for place in words), lane, tuple(place or 0 for place in warps), lanes)


def choose_shift(word: tuple[int, ...], lane: tuple[int, ...], lane_bits: int) -> tuple[int, ...] | None:
    """f of the rounds: for each lane bit, which words' numbers it adds. `word`, `lane`: the sources (packed, lane first) of the bits.

    None if no such f was found: there may be none if the source holds elements several times.
    """
    low = (1 << lane_bits) - 1
    solver = vectors.Solver([place & low for place in word])
    stays = [solver.solve((place ^ 1 << bit) & low) for bit, place in enumerate(lane)]
    if None not in stays:
        return tuple(shift or 0 for shift in stays)
    # One shift for each place that it leads to, those that add fewest words first.
    moves = {vectors.combine(word, shift): shift for shift in sorted(range(1 << len(word)), key=lambda shift: (-shift.bit_count(), -shift))}
    alike = [None if shift is None else moves[vectors.combine(word, shift)] for shift in stays]
    return _Search(lane, low, alike, {shift: place for place, shift in reversed(moves.items())}).run((), ())


class _Search:
    """Bit by bit: what keeps lanes where they are first, then whatever keeps x invertible. Gives up after so many places."""

    def __init__(self, lane: tuple[int, ...], low: int, stays: list[int | None], moves: dict[int, int]) -> None:
        self._lane, self._low, self._stays, self._moves = lane, low, stays, moves
        self._left = _MOST_PLACES

    def run(self, chosen: tuple[int, ...], places: tuple[int, ...]) -> tuple[int, ...] | None:
        if len(chosen) == len(self._lane):
            return chosen
        bit = len(chosen)
        stays = self._stays[bit]
        preferred = [shift for shift in self._moves if shift == stays]
        for shift in dict.fromkeys([*preferred, *self._moves]):
            self._left -= 1
            if self._left < 0:
                return None
            there = (*places, self._lane[bit] ^ self._moves[shift])
            # Two lanes that read from one source must want the same word of it.
            if len(vectors.echelon(place & self._low for place in there)) == len(vectors.echelon(there)):
                found = self.run((*chosen, shift), there)
                if found is not None:
                    return found
        return None


_Got = dict[int, list[tuple[Word, int] | None]]
"""For each number of a word that is wanted, in each thread: the word that holds it, and the element in its slot 0."""


def _rounds(builder: Builder, state: State, sources: _Sources, shift: tuple[int, ...], dims: int) -> _Got:
    places = tuple(lane ^ vectors.combine(sources.word, moved) for lane, moved in zip(sources.lane, shift, strict=True))
    lanes = 1 << sources.lane_bits
    got: _Got = {number: [None] * builder.threads for number in range(1 << dims)}
    positions = [divmod(thread, builder.warp_size) for thread in range(builder.threads)]
    starts = [vectors.combine(places, lane % lanes) ^ vectors.combine(sources.warp, warp) for warp, lane in positions]
    moves = [vectors.combine(shift, lane) for lane in range(lanes)]
    for turn in range(1 << dims):
        turned = vectors.combine(sources.word, turn)
        asked: list[int | None] = [None] * builder.threads
        read = list(range(builder.threads))
        for thread in range(builder.threads):
            warp, lane = positions[thread]
            place = starts[thread] ^ turned
            read[thread] = sources.lane_of(place) | lane // lanes * lanes
            asked[warp * builder.warp_size + read[thread]] = sources.index_of(place)
        stays = all(lane == thread % builder.warp_size for thread, lane in enumerate(read))
        if not stays:
            value = builder.select([None if index is None else state.words[index] for index in asked])
            word = builder.word()
            builder.steps.append(Shuffle(word, value, tuple(read)))
        for thread in range(builder.threads):
            warp, lane = positions[thread]
            sender = warp * builder.warp_size + read[thread]
            index = asked[sender]
            assert index is not None
            element = state.element(index, read[thread] % lanes, warp)
            got[turn ^ moves[lane % lanes]][thread] = (state.words[index] if stays else word, element)
    return got


def _wanted(builder: Builder, state: State, target: LinearMap, space: tuple[int, ...], got: _Got) -> list[Wanted]:
    """For each target register, where each thread finds its element."""
    numbers = vectors.Solver([*state.slot, *space])
    slots = vectors.Solver(state.slot)
    lanes, warps = 1 << target.bits("lane"), 1 << target.bits("warp")
    wanted: list[Wanted] = []
    of_register, of_lane, of_warp = (target.images(name) for name in ("register", "lane", "warp"))
    offsets = [
        vectors.combine(of_lane, lane % lanes) ^ vectors.combine(of_warp, warp % warps)
        for warp, lane in (divmod(thread, builder.warp_size) for thread in range(builder.threads))
    ]
    known: dict[int, int | None] = {}
    for register in range(1 << target.bits("register")):
        own = vectors.combine(of_register, register)
        found = numbers.solve(own)
        assert found is not None
        row: list[Part | None] = []
        for thread in range(builder.threads):
            warp, lane = divmod(thread, builder.warp_size)
            there = got[found >> len(state.slot)][thread]
            if there is None or lane >= lanes or warp >= warps:
                row.append(None)
                continue
            element = own ^ offsets[thread] ^ there[1]
            if element not in known:
                known[element] = slots.solve(element)
            slot = known[element]
            assert slot is not None
            row.append((there[0], slot))
        wanted.append(tuple(row))
    return wanted
