"""Where producers can be computed in their consumers: what a stage holds, against every element that is read and written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import pytest
import tilelang.language as T
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.stitch.attach import Attachment, attachments
from mosaic.stitch.legality import Refusal
from mosaic.tiles.affine import Affine, Var
from mosaic.tiles.program import Access, TileProgram
from tests.stitch import parts
from tests.stitch.parts import legal, program
from tests.tiles.trace import Element, corners, number, touched

Known = dict[Var, int]


def turns(attachment: Attachment) -> list[Known]:
    """The first, a middle and the last turn of the loops around an attachment."""
    extents = [int(loop.extent) for loop in attachment.loops]
    return [{loop.var: i for loop, i in zip(attachment.loops, point, strict=True)} for point in corners(extents)]


def at(access: Access, known: Known) -> Access:
    """An access with some of its loops held fixed."""
    fixed = {v: Affine((), i) for v, i in known.items()}
    starts = tuple(None if s is None else s.substitute(fixed) for s in access.start)
    return replace(access, start=starts, loops=tuple(loop for loop in access.loops if loop.var not in known))


def elements(program: TileProgram, accesses: Sequence[Access], block: tuple[int, ...]) -> set[Element]:
    return {element for access in accesses for element in touched(program, access, block)}


def cells(starts: Sequence[int], extents: Sequence[int]) -> set[Element]:
    return set(itertools.product(*(range(s, s + n) for s, n in zip(starts, extents, strict=True))))


def check_stages(producer: TileProgram, consumer: TileProgram, attachment: Attachment) -> None:
    """At each place: all that is read lies in the stage, and all of the stage that lies in the tensor is written."""
    for block, turn in itertools.product(corners([int(axis.extent) for axis in consumer.grid]), turns(attachment)):
        known = turn | {axis.var: i for axis, i in zip(consumer.grid, block, strict=True)}
        first = [number(attachment.first[axis.var], known) for axis in producer.grid]
        blocks = cells(first, [attachment.count[axis.var] for axis in producer.grid])
        existing = [b for b in blocks if all(0 <= i < int(axis.extent) for i, axis in zip(b, producer.grid, strict=True))]
        for handover in attachment.handovers:
            shape = [int(n) for n in consumer.param(handover.tensor).shape]
            stage = cells([number(b, known) for b in handover.base], handover.shape)
            read_there = elements(consumer, [at(a, turn) for a in consumer.accesses_of(handover.tensor)], block)
            assert read_there <= stage
            inside = stage & cells([0] * len(shape), shape)
            written = {e for b in existing for e in elements(producer, producer.accesses_of(handover.tensor), b)}
            assert inside <= written
            assert handover.masked or inside == stage


SIZES: Final = st.integers(1, 40)
TILES: Final = st.sampled_from((1, 4, 5, 8, 12, 16))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[TileProgram, TileProgram]:
    M, N = draw(SIZES), draw(st.integers(3, 40))
    bm, bn, cm, cn = (draw(TILES) for _ in range(4))
    kind = draw(st.sampled_from(("mapped", "walked", "stencil", "half", "strided", "sums", "operand")))
    makers: dict[str, Any] = {
        "mapped": lambda: program(parts.mapped(M, N, cm, cn), x="h", y="out"),
        "walked": lambda: program(parts.walked(M, N, cm, cn, low=draw(st.sampled_from((0, 3)))), x="h", y="out"),
        "stencil": lambda: program(parts.stencil(M, N - 2, cm, cn), x="h", y="out"),
        "half": lambda: program(parts.left_half(M, N, cm, cn, twice=draw(st.booleans())), x="h", y="out"),
        "strided": lambda: program(parts.strided(M, N, cn), x="h", y="out"),
        "sums": lambda: program(parts.row_sums(M, N, cm, cn), x="h", r="out"),
        "operand": lambda: program(parts.multiplied(M, 8, N, cm, 8, cn), a="h", b="w", c="out"),
    }
    first = parts.walked(M, N, bm, bn) if draw(st.booleans()) else parts.mapped(M, N, bm, bn, rows_first=draw(st.booleans()))
    return program(first, x="x", y="h"), makers[kind]()


@given(pairs())
@settings(max_examples=80, deadline=None)
def test_stages_hold_what_is_read_and_only_what_is_written(pair: tuple[TileProgram, TileProgram]) -> None:
    producer, consumer = pair
    for attachment in legal(producer, consumer, ["h"]):
        check_stages(producer, consumer, attachment)


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_recomputation_is_counted(pair: tuple[TileProgram, TileProgram]) -> None:
    """`runs`, `recompute` and `complete` against running through all blocks and turns."""
    producer, consumer = pair
    for attachment in legal(producer, consumer, ["h"]):
        done: list[tuple[int, ...]] = []
        spans = [range(int(axis.extent)) for axis in consumer.grid] + [range(int(loop.extent)) for loop in attachment.loops]
        names = [axis.var for axis in consumer.grid] + [loop.var for loop in attachment.loops]
        for point in itertools.product(*spans):
            known = dict(zip(names, point, strict=True))
            first = [number(attachment.first[axis.var], known) for axis in producer.grid]
            done += sorted(cells(first, [attachment.count[axis.var] for axis in producer.grid]))
        assert attachment.runs == len(done)
        assert attachment.recompute == Fraction(len(done), producer.blocks)
        every = cells([0] * len(producer.grid), [int(axis.extent) for axis in producer.grid])
        assert not attachment.complete or every <= set(done)


def test_depths_are_sorted_by_what_they_recompute() -> None:
    """A product's operand: once for all turns at depth 0, a tile each turn at depth 1."""
    first = program(parts.mapped(64, 64, 32, 16), x="x", y="h")
    second = program(parts.multiplied(64, 64, 64), a="h", b="w", c="out")
    inner, outer = legal(first, second, ["h"])
    assert (inner.depth, outer.depth) == (1, 0)
    assert inner.recompute == outer.recompute == 2
    assert (inner.repeats(), outer.repeats()) == (1, 4)
    assert (inner.stage_bytes, outer.stage_bytes) == (32 * 16 * 4, 32 * 64 * 4)
    assert [str(b) for b in map(repr, inner.handovers[0].base)] == ["32*by", "16*k"]
    assert [loop.var.name for loop in inner.loops] == ["k"]
    assert (inner.producer, inner.consumer) == ("x_h", "h_w_out")


def test_registers_are_for_whole_tiles_that_both_sides_touch_alike() -> None:
    def in_registers(first: Any, second: Any) -> bool:
        (attachment,) = legal(program(first, x="x", y="h"), program(second, x="h", y="out"), ["h"])
        return attachment.handovers[0].registers

    assert in_registers(parts.mapped(32, 64), parts.mapped(32, 64))
    assert in_registers(parts.staged(32, 64), parts.staged(32, 64))
    assert in_registers(parts.staged(37, 71), parts.mapped(37, 71))
    assert not in_registers(parts.mapped(32, 64, 8, 32), parts.mapped(32, 64))
    assert not in_registers(parts.mapped(32, 64, 32, 64), parts.mapped(32, 64))
    assert not in_registers(parts.mapped(32, 66), parts.stencil(32, 64))
    assert not in_registers(parts.walked(32, 64), parts.mapped(32, 64))
    assert in_registers(parts.mapped(32, 64), parts.left_half(32, 64, 16, 32))
    assert not in_registers(parts.mapped(32, 64), parts.left_half(32, 64, 16, 16))


def test_a_stage_is_masked_only_where_it_reaches_beyond_the_tensor() -> None:
    def masked(M: int, N: int, **tiles: Any) -> bool:
        (attachment,) = legal(program(parts.mapped(M, N, **tiles), x="x", y="h"), program(parts.mapped(M, N), x="h", y="out"), ["h"])
        return attachment.handovers[0].masked

    assert not masked(32, 64)
    assert masked(37, 64)
    assert masked(32, 71)
    assert masked(32, 64, bn=48)


def test_dims_of_one_element_have_no_place_in_the_stage() -> None:
    handover = legal(program(parts.mapped(64, 64, 1, 64), x="x", y="h"), program(parts.mapped(64, 64, 1, 64), x="h", y="out"), ["h"])[0]
    assert handover.handovers[0].shape == (1, 64)
    assert handover.handovers[0].kept_dims == (1,)
    assert handover.handovers[0].bytes == 256
    single = legal(program(parts.mapped(1, 1, 1, 1), x="x", y="h"), program(parts.mapped(1, 1, 1, 1), x="h", y="out"), ["h"])[0]
    assert single.handovers[0].kept_dims == (1,)


def test_a_loop_of_unknown_extent_is_no_place_for_a_producer() -> None:
    """Although each of its turns reads the same tile: how often it would be computed is not known."""

    @T.prim_func
    def main(x: T.Tensor((64, 32), "float32"), n: T.Tensor((1,), "int32"), y: T.Tensor((64, 32), "float32")) -> None:
        with T.Kernel(4, threads=32) as by:
            for _ in T.serial(n[0]):
                for i, j in T.Parallel(16, 32):
                    y[by * 16 + i, j] = x[by * 16 + i, j]

    first = program(parts.mapped(64, 32), x="x", y="h")
    found = attachments(first, program(main, "unknown", x="h", y="out"), ["h"])
    assert isinstance(found, Refusal)
    assert found.check == "loop-carried"


@pytest.mark.parametrize("tensors", [["h"], ["h", "g"]])
def test_several_tensors_of_one_producer(tensors: list[str]) -> None:
    first = program(parts.centered(37, 40), x="x", c="h", mean="g")
    second = program(parts.restored(37, 40), c="h", mean="g", y="out")
    found = attachments(first, second, tensors)
    if tensors == ["h"]:
        assert isinstance(found, Refusal)
        assert found.check == "aliasing"
    else:
        assert not isinstance(found, Refusal)
        assert [h.tensor for h in found[0].handovers] == tensors
