"""Conversions within a warp: every way that the target's instructions allow is built, and the one that costs least is taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from mosaic.layouts import vectors
from mosaic.layouts.cost import Cost, Work, cost
from mosaic.layouts.emit.counts import counts
from mosaic.layouts.emit.dialect import Dialect
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.route import route
from mosaic.layouts.emit.state import pack_source, slot_choices
from mosaic.layouts.linear import LinearMap

_MOST_EXCHANGES: Final = 3


def convert_shuffle(builder: Builder, source: LinearMap, target: LinearMap, how: Dialect) -> bool:
    """Adds the steps of the cheapest way. False if there is none (then a table must do)."""
    found = list(ways(builder, source, target, how))
    if not found:
        return False
    best = min(found, key=lambda way: way_cost(way, how).cycles)
    builder.adopt(best.steps, best.words)
    return True


def way_cost(way: Builder, how: Dialect) -> Cost:
    """What a way's steps cost on this architecture."""
    instructions, chain = counts(way.program(0))
    return cost(Work(instructions, chain, way.threads), how.arch)


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
    """One exchange of a lane bit with a bit of the words' number and then whatever is left, or up to three that leave nothing."""
    for slot in slot_choices(source, target, builder.slots):
        index = len(vectors.extend(slot, source.images("register")))
        moves = [(number, bit) for number in range(index) for bit in how.swaps if bit < source.bits("lane")]
        for count in range(1, _MOST_EXCHANGES + 1):
            for order in itertools.product(moves, repeat=count):
                if count > 1 and not _leaves_nothing(source, target, slot, order):
                    continue
                trial = builder.fresh()
                state = pack_source(trial, source, slot)
                for number, bit in order:
                    state = state.exchange(trial, number, bit)
                if route(trial, state, target):
                    yield trial


def _leaves_nothing(source: LinearMap, target: LinearMap, slot: tuple[int, ...], order: tuple[tuple[int, int], ...]) -> bool:
    """Whether after these exchanges every lane has what it wants."""
    index, lane = list(vectors.extend(slot, source.images("register"))), list(source.images("lane"))
    for number, bit in order:
        index[number], lane[bit] = lane[bit], index[number]
    held = vectors.echelon([*slot, *index])
    moved = [mine ^ other for mine, other in zip(lane, target.images("lane"), strict=False)]
    return vectors.contains(held, [*target.images("register"), *moved])
