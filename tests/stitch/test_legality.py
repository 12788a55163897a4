"""Each check refuses what it is there for, by name, and nothing that is next to it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import tilelang.language as T
import torch

from mosaic.stitch.attach import attachments
from mosaic.stitch.inline import inline
from mosaic.stitch.legality import BlockMap, Refusal, block_map, check_dynamic_shapes, check_features, check_threads
from mosaic.targets.lower import lower
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read
from mosaic.tiles.rewrite import bind
from tests.stitch import parts
from tests.stitch.parts import legal, program, run
from tests.tiles import foreign_attention, foreign_gemm, foreign_rows


def refused(first: TileProgram, second: TileProgram, *tensors: str) -> Refusal:
    found = attachments(first, second, tensors or ("h",))
    assert isinstance(found, Refusal), found
    assert "\n" not in str(found)
    assert str(found) == f"{found.check}: {found.reason}"
    return found


def after(M: int = 64, N: int = 64) -> TileProgram:
    return program(parts.mapped(M, N), "after", x="h", y="out")


def before(M: int = 64, N: int = 64) -> TileProgram:
    return program(parts.mapped(M, N), "before", x="x", y="h")


# dynamic-shapes


def free_shape() -> Any:
    m = T.dynamic("m")

    @T.prim_func
    def main(x: T.Tensor((m, 64), "float32"), y: T.Tensor((m, 64), "float32")) -> None:
        with T.Kernel(T.ceildiv(m, 16), threads=32) as by:
            for i, j in T.Parallel(16, 64):
                y[by * 16 + i, j] = x[by * 16 + i, j]

    return main


def test_dynamic_shapes() -> None:
    free = program(free_shape(), "free", x="x", y="h")
    found = check_dynamic_shapes(free)
    assert found is not None
    assert found.reason == "free still has the dynamic shapes m"
    assert refused(free, after()).check == "dynamic-shapes"
    assert refused(before(), program(free_shape(), x="h", y="out")).check == "dynamic-shapes"
    bound = read(bind(free_shape(), {"x": "x", "y": "h"}, {"m": 64}))
    assert check_dynamic_shapes(bound) is None
    assert legal(bound, after(), ["h"])


# features


@pytest.mark.parametrize(
    ("func", "repeated", "stays"),
    [
        (foreign_gemm.split_k(64, 64, 64), "atomics", None),
        (foreign_gemm.warp_specialized(64, 64, 64), "barriers", None),
        (foreign_rows.threads_by_hand(64), None, None),
        (foreign_gemm.swizzled(64, 64, 64), None, None),
        (foreign_attention.flash(1, 2, 2, 64, 32, causal=True), None, None),
    ],
    ids=["atomics", "barriers", "threads", "swizzle", "attention"],
)
def test_features(func: Any, repeated: str | None, stays: str | None) -> None:
    """A body that moves may hold less than one that stays."""
    subject = read(func)
    for moves, wanted in ((True, repeated), (False, stays)):
        found = check_features(subject, repeated=moves)
        assert (found.check if found else None) == ("features" if wanted else None)
        assert wanted is None or (found is not None and wanted in found.reason)


def pointing() -> Any:
    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(1, threads=32):
            T.call_extern("handle", "fill_all", T.address_of(y[0, 0]))
            T.call_extern("handle", "read_all", T.access_ptr(x[0, 0], "r"))

    return main


def test_pointers_stay_where_they_are() -> None:
    assert refused(program(pointing(), x="x", y="h"), after()).check == "features"
    assert refused(before(), program(pointing(), x="h", y="out")).check == "features"


# thread-count


def named(threads: int) -> TileProgram:
    @T.prim_func
    def main(x: T.Tensor((64,), "float32"), y: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(1, threads=threads):
            tx = T.get_thread_binding(0)
            row = T.alloc_shared((64,), "float32")
            row[tx] = x[tx] + 1.0
            T.copy(row, y)

    return program(main, f"named{threads}", x="x", y="h")


def vector(threads: int) -> TileProgram:
    @T.prim_func
    def main(x: T.Tensor((64,), "float32"), y: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(2, threads=threads) as bx:
            for i in T.Parallel(32):
                y[bx * 32 + i] = x[bx * 32 + i] * 2.0

    return program(main, "vector", x="h", y="out")


def test_thread_count() -> None:
    """A body that names its threads needs as many; others are spread over what there is."""
    found = check_threads(named(64), vector(32))
    assert found is not None
    assert found.reason == "named64 names its threads, 64 x 1 x 1 of them, and vector has 32 x 1 x 1"
    assert refused(named(64), vector(32)).check == "thread-count"
    assert check_threads(before(), program(parts.mapped(64, 64, threads=128), x="h", y="out")) is None
    first, second = named(64), vector(64)
    (attachment,) = legal(first, second, ["h"])
    assert "threadIdx.x" in lower(inline(first, second, attachment, {"h": "shared"}), "sm_80", binary=False).source


# specs


def test_specs() -> None:
    found = refused(before(), program(parts.mapped(32, 128), "after", x="h", y="out"))
    assert found.check == "specs"
    assert found.reason == "h is float32[64, 64] in before, float32[32, 128] in after"


# aliasing


def in_place() -> Any:
    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as by:
            for i, j in T.Parallel(16, 64):
                y[by * 16 + i, j] = y[by * 16 + i, j] + x[by * 16 + i, j]

    return main


def test_aliasing() -> None:
    assert refused(program(in_place(), "changes", x="x", y="h"), after()).reason == "changes does not only write h: it is update there"
    assert refused(before(), program(in_place(), "changes", x="w", y="h")).reason == "changes does not only read h: it is update there"
    other = program(parts.added(64, 64), "other", a="h", b="w", y="x")
    assert refused(before(), other) == Refusal("aliasing", "x is read in before and write in other")
    assert legal(before(), program(parts.added(64, 64), a="h", b="x", y="out"), ["h"])


def two_results(*, change: bool) -> Any:
    """h = x, and a second result that is written or changed in place."""

    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), h: T.Tensor((64, 64), "float32"), s: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as by:
            for i, j in T.Parallel(16, 64):
                h[by * 16 + i, j] = x[by * 16 + i, j]
            for i, j in T.Parallel(16, 64):
                if change:
                    s[by * 16 + i, j] = s[by * 16 + i, j] + 1.0
                else:
                    s[by * 16 + i, j] = 1.0

    return main


def test_a_second_result_that_is_changed_in_place_is_changed_once() -> None:
    once, twice = (program(parts.mapped(64, 64, 16, bn), "after", x="h", y="out") for bn in (64, 32))
    found = refused(program(two_results(change=True), "both"), twice)
    assert found == Refusal("aliasing", "both changes s in place and would be computed 2.00 times")
    assert legal(program(two_results(change=True)), once, ["h"])
    assert legal(program(two_results(change=False)), twice, ["h"])


# several-consumers


def upper(*, twice: bool) -> Any:
    """The upper half of x, once, or twice side by side."""

    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((32, 128), "float32")) -> None:
        with T.Kernel(2, 2 if twice else 1, threads=32) as (by, bx):
            for i, j in T.Parallel(16, 64):
                y[by * 16 + i, bx * 64 + j] = x[by * 16 + i, j]

    return main


def test_a_second_result_must_come_out_whole() -> None:
    """Half of the blocks, each twice, are as many as all of them, and not the same."""
    both, only = program(two_results(change=False), "both"), program(parts.mapped(64, 64, 16, 64), x="x", y="h")
    for twice in (False, True):
        part = program(upper(twice=twice), "part", x="h", y="out")
        assert refused(both, part) == Refusal("several-consumers", "part does not need all of both, which also writes s")
        (attachment,) = legal(only, part, ["h"])
        assert not attachment.complete
        assert attachment.recompute == (1 if twice else Fraction(1, 2))
    assert all(a.complete for a in legal(both, after(), ["h"]))


# access


def images() -> Any:
    @T.prim_func
    def main(x: T.Tensor((1, 4, 4, 8), "float32"), h: T.Tensor((1, 4, 4, 8), "float32")) -> None:
        with T.Kernel(4, threads=32) as bh:
            for i, j in T.Parallel(4, 8):
                h[0, bh, i, j] = x[0, bh, i, j]

    return main


def test_access() -> None:
    convolution = foreign_rows.im2col_convolution(1, 8, 4, 4, 8, 3, 1, 1, 1, block=8, dtype="float32")
    found = refused(program(images()), program(convolution, "image", data="h"))
    assert found == Refusal("access", "image reads h by T.im2col, which only works from device memory")
    found = refused(before(), program(parts.gathered(64, 64, 32), "picks", x="h", ids="ids", y="out"))
    assert found == Refusal("access", "picks reads h at places that can't be followed")
    assert legal(before(), program(parts.strided(64, 64), x="h", y="out"), ["h"])


# loop-carried


def until(*, limit: bool) -> Any:
    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), lengths: T.Tensor((4,), "int32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as by:
            tile = T.alloc_shared((16, 16), "float32")
            for k in T.serial(T.min(4, lengths[by]) if limit else 4):
                T.copy(x[by * 16, k * 16], tile)
                T.copy(tile, y[by * 16, k * 16])

    return main


def test_loop_carried() -> None:
    found = refused(before(), program(until(limit=True), "until", x="h", y="out"))
    assert found == Refusal("loop-carried", "until reads h in a loop of unknown extent")
    assert {a.depth for a in legal(before(), program(until(limit=False), x="h", y="out"), ["h"])} == {0, 1}


# predicated-write


def guarded(kind: str) -> Any:
    @T.prim_func
    def main(x: T.Tensor((50, 50), "float32"), flags: T.Tensor((50,), "int32"), y: T.Tensor((50, 50), "float32")) -> None:
        with T.Kernel(T.ceildiv(50, 16), threads=32) as by:
            for i, j in T.Parallel(16, 64):
                if kind == "edge":
                    if (by * 16 + i < 50) and (j < 50):
                        y[by * 16 + i, j] = x[by * 16 + i, j]
                elif kind == "block":
                    if by < 4:
                        y[by * 16 + i, j] = x[by * 16 + i, j]
                elif kind == "beyond":
                    if by * 16 + i <= 60:
                        y[by * 16 + i, j] = x[by * 16 + i, j]
                elif kind == "within":
                    if by * 16 + i < 49:
                        y[by * 16 + i, j] = x[by * 16 + i, j]
                elif kind == "earlier block":
                    if by < 3:
                        y[by * 16 + i, j] = x[by * 16 + i, j]
                elif kind == "other blocks":
                    if by % 2 == 0:
                        y[by * 16 + i, j] = x[by * 16 + i, j]
                elif flags[j] > 0:
                    y[by * 16 + i, j] = x[by * 16 + i, j]

    return main


@pytest.mark.parametrize("kind", ["edge", "block", "beyond"])
def test_a_guard_may_keep_out_what_lies_beyond_the_tensor(kind: str) -> None:
    subject = program(guarded(kind), "guards", x="x", y="h")
    found = block_map(subject, "h")
    assert isinstance(found, BlockMap)
    assert found.tile == (16, 64)
    x = torch.randn(50, 50)
    for _, _, stitched in parts.every_way(subject, after(50, 50), "h"):
        assert torch.equal(run(stitched, {"x": x, "flags": torch.zeros(50, dtype=torch.int32)})["out"], 2 * x + 1)


@pytest.mark.parametrize("kind", ["within", "earlier block", "other blocks", "data"])
def test_predicated_write(kind: str) -> None:
    subject = program(guarded(kind), "guards", x="x", y="h")
    assert block_map(subject, "h") == Refusal("predicated-write", "guards writes h only under a condition")


# region-coverage


def writes(kind: str) -> Any:
    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as by:
            if kind == "gaps":
                for i, j in T.Parallel(16, 32):
                    y[by * 16 + i, 2 * j] = x[by * 16 + i, 2 * j]
            elif kind == "half":
                for i, j in T.Parallel(16, 32):
                    y[by * 16 + i, j] = x[by * 16 + i, j]
            elif kind == "halves":
                for i, j in T.Parallel(16, 32):
                    y[by * 16 + i, j] = x[by * 16 + i, j]
                for i, j in T.Parallel(16, 32):
                    y[by * 16 + i, j + 32] = x[by * 16 + i, j + 32]
            elif kind == "diagonal":
                for i in T.Parallel(16):
                    y[by * 16 + i, i] = x[by * 16 + i, i]
            else:
                for i, j in T.Parallel(12, 64):
                    y[by * 12 + i, j] = x[by * 12 + i, j]

    return main


@pytest.mark.parametrize("kind", ["gaps", "half", "diagonal", "early end"])
def test_region_coverage(kind: str) -> None:
    found = block_map(program(writes(kind), "w", x="x", y="h"), "h")
    assert isinstance(found, Refusal)
    assert found.check == "region-coverage"


def test_two_halves_are_a_whole() -> None:
    found = block_map(program(writes("halves"), "w", x="x", y="h"), "h")
    assert isinstance(found, BlockMap)
    assert found.tile == (16, 64)


def test_a_read_before_the_tensors_start() -> None:
    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as by:
            for i, j in T.Parallel(16, 64):
                y[by * 16 + i, j] = T.if_then_else(by * 16 + i >= 1, x[by * 16 + i - 1, j], 0.0)

    found = refused(before(), program(main, "shifted", x="h", y="out"))
    assert found.check == "region-coverage"
    assert "may lie before its start" in found.reason


# block-map


def blocked(kind: str) -> Any:
    @T.prim_func
    def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, 4, threads=32) as (bx, by):
            if kind == "plain":
                for i, j in T.Parallel(16, 16):
                    y[by * 16 + i, bx * 16 + j] = x[by * 16 + i, bx * 16 + j]
            elif kind == "sum":
                for i, j in T.Parallel(16, 64):
                    y[(bx + by) * 16 + i, j] = x[(bx + by) * 16 + i, j]
            elif kind == "overlap":
                for i, j in T.Parallel(32, 16):
                    y[by * 16 + i, bx * 16 + j] = x[by * 16 + i, bx * 16 + j]
            elif kind == "diagonal":
                for i, j in T.Parallel(16, 16):
                    y[bx * 16 + i, bx * 16 + j] = x[bx * 16 + i, bx * 16 + j]
            elif kind == "offset":
                for i, j in T.Parallel(16, 16):
                    y[by * 16 + i + 1, bx * 16 + j] = x[by * 16 + i + 1, bx * 16 + j]
            else:
                for i, j in T.Parallel(16, 64):
                    y[by * 16 + i, j] = x[by * 16 + i, j]

    return main


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("sum", "not at a multiple of one block index"),
        ("overlap", "are 32 long along dim 0 but start every 16"),
        ("diagonal", "one block index of b moves two dims of h"),
        ("offset", "not at a multiple of one block index"),
    ],
)
def test_block_map(kind: str, reason: str) -> None:
    found = block_map(program(blocked(kind), "b", x="x", y="h"), "h")
    assert isinstance(found, Refusal)
    assert found.check == "block-map"
    assert reason in found.reason


def test_a_block_index_that_moves_nothing() -> None:
    """Blocks that all write the same: which of them is to be run?"""
    idle = program(blocked("idle"), "b", x="x", y="h")
    assert isinstance(block_map(idle, "h"), BlockMap)
    assert refused(idle, after()) == Refusal("block-map", "the block index bx of b moves none of h")
    found = block_map(program(blocked("plain"), "b", x="x", y="h"), "h")
    assert isinstance(found, BlockMap)
    assert [axis is not None for axis in found.axes] == [True, True]


def test_several_outputs_must_be_needed_from_the_same_blocks() -> None:
    @T.prim_func
    def main(c: T.Tensor((64, 64), "float32"), mean: T.Tensor((64,), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, threads=32) as by:
            for i, j in T.Parallel(16, 64):
                y[by * 16 + i, j] = c[by * 16 + i, j] + mean[j]

    first = program(parts.centered(64, 64), "first", x="x", c="c", mean="m")
    found = refused(first, program(main, "crossed", c="c", mean="m", y="out"), "c", "m")
    assert found == Refusal("block-map", "crossed needs different blocks of first for its several outputs")
    assert legal(first, program(parts.restored(64, 64), c="c", mean="m", y="out"), ["c", "m"])
