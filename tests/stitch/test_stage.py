"""Stages: where their elements come from, what they hold beyond a tensor's edge, and how stitched programs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import tilelang.language as T
from tvm import tirx

from mosaic.stitch.attach import Handover
from mosaic.stitch.inline import inline
from mosaic.stitch.stage import Stage, StageRewriter, constant, safe_value
from mosaic.tiles.affine import Affine
from mosaic.tiles.anatomy import dissect
from mosaic.tiles.program import TileProgram
from tests.stitch import parts
from tests.stitch.parts import legal, program

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "stitch"


def stage(shape: tuple[int, ...], base: tuple[Any, ...], *, masked: bool = False) -> Stage:
    handover = Handover("h", (Affine(),) * len(shape), shape, "float32", masked, False)
    return Stage(handover, Stage.allocate(handover, "shared"), base)


def test_a_buffer_for_what_is_longer_than_one() -> None:
    made = stage((1, 8, 1, 16), (constant(0),) * 4)
    assert [int(n) for n in made.buffer.shape] == [8, 16]
    assert (str(made.buffer.scope()), str(made.buffer.dtype), str(made.buffer.name)) == ("shared.dyn", "float32", "h_stage")
    assert str(Stage.allocate(made.handover, "register").scope()) == "local.fragment"
    assert [int(n) for n in stage((1, 1), (constant(0),) * 2).buffer.shape] == [1]


def test_indices_count_from_the_base() -> None:
    by, i = tirx.Var("by", "int32"), tirx.Var("i", "int32")
    made = stage((8, 16), (by * 8, constant(32)))
    assert [str(index) for index in made.indices([by * 8 + i, constant(40)])] == ["i", "8"]


def test_accesses_are_sent_to_the_stage() -> None:
    by, i = tirx.Var("by", "int32"), tirx.Var("i", "int32")
    tensor, other = (tirx.decl_buffer((64, 64), "float32", name) for name in ("h", "g"))
    rewriter = StageRewriter({}, {})
    made = rewriter.stages[tensor] = stage((8, 16), (by * 8, constant(32)))
    load = rewriter.expr(tirx.BufferLoad(tensor, [by * 8 + i, 33]))
    assert load.buffer.same_as(made.buffer)
    assert [str(index) for index in load.indices] == ["i", "1"]
    store = rewriter.stmt(tirx.BufferStore(tensor, tirx.BufferLoad(other, [i, i]), [by * 8, 32]))
    assert store.buffer.same_as(made.buffer)
    assert store.value.buffer.same_as(other)
    # a region may leave out leading dims of one element
    region = tirx.call_intrin("handle", tirx.op.Op.get("tl.region"), tirx.BufferLoad(tensor, [by * 8 + 2, 36]), 1, 4)
    again = rewriter.expr(region)
    assert [str(index) for index in again.args[0].indices] == ["2", "4"]
    assert [int(n) for n in again.args[2:]] == [1, 4]


def test_a_mask_sets_what_lies_beyond_the_edge() -> None:
    tensor = tirx.decl_buffer((20, 1, 40), "float32", "h")
    by = tirx.Var("by", "int32")
    base = (by * 8, by, constant(32))
    assert stage((8, 1, 16), base).mask(tensor, constant(0)) == []
    (made,) = stage((8, 1, 16), base, masked=True).mask(tensor, tirx.FloatImm("float32", 7.0))
    text = made.script()
    assert "T.parallel(8)" in text
    assert "T.parallel(16)" in text
    assert "by * 8 + i0 < 20 and by < 1 and 32 + i2 < 40" in text
    assert "h_stage[i0, i2] = T.float32(7.0)" in text


@pytest.mark.parametrize(
    ("dtype", "said", "wanted"),
    [
        ("float32", None, "T.float32(0.0)"),
        ("int32", None, "0"),
        ("float16", "float16", "T.float16(-1.0)"),
        ("float16", "float32", 'T.Cast("float16", T.float32(-1.0))'),
        ("float16", "number", "T.float16(-1.0)"),
        ("int32", "number", "-1"),
    ],
)
def test_safe_values(dtype: str, said: str | None, wanted: str) -> None:
    """What a kernel says, in the tensor's type, or 0."""
    value = -1.0 if said == "number" else tirx.FloatImm(said, -1.0) if said else None

    @T.prim_func
    def main(x: T.Tensor((40,), dtype), y: T.Tensor((40,), dtype)) -> None:
        with T.Kernel(2, threads=32) as bx:
            tile = T.alloc_shared((32,), dtype)
            if said:
                T.annotate_safe_value({x: value})
            T.copy(x[bx * 32], tile)
            T.copy(tile, y[bx * 32])

    anatomy = dissect(main)
    x, y = main.buffer_map.values()
    assert str(safe_value(anatomy, x)) == wanted
    assert str(safe_value(anatomy, y)) in ("0", f"T.{dtype}(0.0)")


# How stitched programs read


def product_then_map() -> tuple[TileProgram, TileProgram, int]:
    return program(parts.multiplied(64, 64, 48), a="a", b="b", c="h"), program(parts.mapped(64, 64, 32, 32, threads=64), x="h", y="out"), 0


def map_then_product() -> tuple[TileProgram, TileProgram, int]:
    return program(parts.mapped(50, 40, 16, 16), x="x", y="h"), program(parts.multiplied(50, 64, 40), a="h", b="b", c="out"), 1


def product_then_rows() -> tuple[TileProgram, TileProgram, int]:
    return program(parts.multiplied(50, 70, 48), a="a", b="b", c="h"), program(parts.row_sums(50, 70, threads=64), x="h", r="out"), 0


def product_then_product() -> tuple[TileProgram, TileProgram, int]:
    return program(parts.multiplied(64, 48, 32), a="a", b="b", c="h"), program(parts.multiplied(64, 64, 48), a="h", b="c", c="out"), 1


MOVES: Final[dict[str, Callable[[], tuple[TileProgram, TileProgram, int]]]] = {
    "epilogue": product_then_map,
    "prologue": map_then_product,
    "rows_after_product": product_then_rows,
    "back_to_back": product_then_product,
}


@pytest.mark.parametrize("name", MOVES)
def test_the_stitched_program_is_what_it_was(name: str, golden: Callable[[str, str], None]) -> None:
    first, second, depth = MOVES[name]()
    attachment = next(a for a in legal(first, second, ["h"]) if a.depth == depth)
    func = inline(first, second, attachment, {"h": "shared"}, name=name)
    golden(f"stitch/{name}.txt", func.script() + "\n")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(MOVES)
