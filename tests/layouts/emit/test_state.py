"""A tile on its way: what exchanges and transposes make of the map of its words."""

from __future__ import annotations

from mosaic.layouts import vectors
from mosaic.layouts.atoms import mma
from mosaic.layouts.banks import GFX950, NVIDIA, Banks
from mosaic.layouts.emit.interpret import interpret
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.state import State, pack_source, slot_choices
from mosaic.layouts.emit.steps import Unpack
from mosaic.layouts.linear import LinearMap


def check(builder: Builder, state: State, source: LinearMap, banks: Banks) -> None:
    """Every slot of every word holds the element that the state says."""
    threads = 1 << source.bits("lane")
    for index, word in enumerate(state.words):
        builder.steps += [Unpack(index * builder.slots + slot, (word, slot)) for slot in range(1 << len(state.slot))]
    elements = [[source(register=at, lane=lane)["e"] for lane in range(threads)] for at in range(1 << source.bits("register"))]
    found = interpret(builder.program(0), elements, banks).target
    for index in range(len(state.words)):
        for slot in range(1 << len(state.slot)):
            for lane in range(threads):
                assert found[index * builder.slots + slot][lane] == state.element(index, lane, 0) ^ vectors.combine(state.slot, slot)


def test_packed_words() -> None:
    source = LinearMap((("register", 3), ("lane", 5), ("warp", 0)), (("e", 8),), (1, 6, 64, 3, 8, 16, 32, 128))
    for slot in ((), (64,), (1 ^ 6,)):
        builder = Builder(32, 32, 2, casts_first=True)
        check(builder, pack_source(builder, source, slot), source, NVIDIA)


def test_exchange() -> None:
    source = LinearMap((("register", 3), ("lane", 6), ("warp", 0)), (("e", 9),), tuple(1 << bit for bit in range(9)))
    for bit in (4, 5):
        for index in (0, 1):
            builder = Builder(64, 64, 2, casts_first=True)
            state = pack_source(builder, source, (1,)).exchange(builder, index, bit)
            assert state.lane[bit] == 2 << index
            assert state.index[index] == 8 << bit
            check(builder, state, source, GFX950)


def test_transpose() -> None:
    source = mma("float16", 16).c.linear.reshape(outputs=(("e", 7),)).restrict("register", "lane", "warp")
    builder = Builder(32, 32, 2, casts_first=True)
    state = pack_source(builder, source, source.images("register")[:1])
    check(builder, state.transpose(builder), source, NVIDIA)


def test_choices_of_slots_lie_in_registers_on_both_sides() -> None:
    fp8 = mma("float8", 32)
    target = fp8.operand("a").linear
    assert slot_choices(target, target, 4) == [target.images("register")[:2]]
    other = LinearMap(target.inputs, target.outputs, (*target.images("lane")[:4], *target.images("register"), *target.images("lane")[4:]))
    assert slot_choices(other, target, 4) == [()]
