"""Conversions within a warp: every way that the target's instructions allow is built, and the one with the least work is taken."""

from __future__ import annotations

from collections.abc import Iterator

from mosaic.layouts import vectors
from mosaic.layouts.emit.dialect import Dialect
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.route import route
from mosaic.layouts.emit.state import pack_source, slot_choices
from mosaic.layouts.emit.steps import Exchange, Pack, Permute, Select, Shuffle, Step, Transpose, Unpack, UnpackWord
from mosaic.layouts.linear import LinearMap

# Cycles in which a quarter of a processor issues nothing else of the kind, roughly: shuffles and movmatrix have a quarter and an eighth of
# the rate of arithmetic, selections and permutations half of it (CUDA C++ programming guide, throughput of native instructions).
_WORK = {Shuffle: 4, Transpose: 8, Exchange: 4, Select: 1, Permute: 1, Pack: 0, Unpack: 0, UnpackWord: 0}


def convert_shuffle(builder: Builder, source: LinearMap, target: LinearMap, how: Dialect) -> bool:
    """Adds the steps of the cheapest way. False if there is none (then a table must do)."""
    best: list[Step] | None = None
    words = 0
    for trial in ways(builder, source, target, how):
        if best is None or work(trial.steps) < work(best):
            best, words = trial.steps, trial.words
    if best is None:
        return False
    builder.adopt(best, words)
    return True


def work(steps: list[Step]) -> int:
    """What to compare ways with: issue slots, roughly."""
    return sum(_WORK.get(type(step), 0) for step in steps) + _rearrangements(steps)


def _rearrangements(steps: list[Step]) -> int:
    """Words that must be put together of bytes because registers that stand beside each other are not what is packed."""
    count = 0
    for step in steps:
        if isinstance(step, Pack) and len(step.registers) > 1 and None not in step.registers:
            first = step.registers[0] or 0
            count += step.registers != tuple(range(first, first + len(step.registers)))
    return count


def ways(builder: Builder, source: LinearMap, target: LinearMap, how: Dialect) -> Iterator[Builder]:
    """Every way there is, each as a builder that has its steps."""
    for slot in slot_choices(source, target, builder.slots):
        trial = builder.fresh()
        if route(trial, pack_source(trial, source, slot), target):
            yield trial
    if how.transposes and builder.slots == 2:
        yield from _transposed(builder, source, target)
    if how.swaps:
        yield from _exchanged(builder, source, target, how)


def _transposed(builder: Builder, source: LinearMap, target: LinearMap) -> Iterator[Builder]:
    """movmatrix first, with each slot that the source's registers allow."""
    if source.bits("lane") != 5:
        return
    for slot in dict.fromkeys([*target.images("lane")[2:3], *source.images("register")]):
        if slot and vectors.contains(vectors.echelon(source.images("register")), [slot]):
            trial = builder.fresh()
            if route(trial, pack_source(trial, source, (slot,)).transpose(trial), target):
                yield trial


def _exchanged(builder: Builder, source: LinearMap, target: LinearMap, how: Dialect) -> Iterator[Builder]:
    """Up to three exchanges of a lane bit with a bit of the words' number, then whatever is left."""

    def follow(moves: tuple[tuple[int, int], ...], slot: tuple[int, ...]) -> Iterator[Builder]:
        trial = builder.fresh()
        state = pack_source(trial, source, slot)
        for index, bit in moves:
            state = state.exchange(trial, index, bit)
        if moves and route(trial, state, target):
            yield trial
        if len(moves) < 3:
            for bit in how.swaps:
                for index in range(len(state.index)):
                    if bit < len(state.lane) and (index, bit) not in moves[-1:]:
                        yield from follow((*moves, (index, bit)), slot)

    for slot in slot_choices(source, target, builder.slots):
        yield from follow((), slot)
