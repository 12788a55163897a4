"""Conversions within a warp: every way that the target's instructions allow is built, and the one that costs least is taken."""

from __future__ import annotations

from collections.abc import Iterator

from mosaic.layouts import vectors
from mosaic.layouts.cost import Cost, Work, cost
from mosaic.layouts.emit.counts import counts
from mosaic.layouts.emit.dialect import Dialect
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.route import route
from mosaic.layouts.emit.state import pack_source, slot_choices
from mosaic.layouts.linear import LinearMap


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
    """Up to three exchanges of a lane bit with a bit of the words' number, then whatever is left.

    Bits that are where they belong stay: the ways are as many as the bits to choose from, to the power of the exchanges.
    """
    lanes, registers = target.images("lane"), frozenset(target.images("register"))

    def follow(moves: tuple[tuple[int, int], ...], slot: tuple[int, ...]) -> Iterator[Builder]:
        trial = builder.fresh()
        state = pack_source(trial, source, slot)
        for index, bit in moves:
            state = state.exchange(trial, index, bit)
        if moves and route(trial, state, target):
            yield trial
        if len(moves) < 3:
            moving = [index for index, image in enumerate(state.index) if image not in registers]
            for bit in how.swaps:
                for index in moving:
                    if bit < len(state.lane) and state.lane[bit] not in lanes[bit : bit + 1] and (index, bit) not in moves[-1:]:
                        yield from follow((*moves, (index, bit)), slot)

    for slot in slot_choices(source, target, builder.slots):
        yield from follow((), slot)
