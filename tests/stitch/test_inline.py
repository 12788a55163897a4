"""Stitched pairs of kernels compute what the two compute apart, whatever their tiles, edges and habits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
import tilelang
import tilelang.language as T
import torch

from mosaic.errors import MosaicError
from mosaic.stitch.inline import inline, with_threads
from mosaic.targets.lower import lower
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read
from mosaic.tiles.verify import verify
from tests.stitch import parts
from tests.stitch.parts import Tensors, check, every_way, legal, program, run

Make = Callable[[], TileProgram]


def matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def producers(M: int, N: int) -> dict[str, Make]:
    """h = f(x), with tiles of every relation to those of the consumers."""
    return {
        "same tiles": lambda: program(parts.mapped(M, N), x="x", y="h"),
        "smaller tiles": lambda: program(parts.mapped(M, N, 8, 16), x="x", y="h"),
        "larger tiles": lambda: program(parts.mapped(M, N, 32, 64), x="x", y="h"),
        "odd tiles": lambda: program(parts.mapped(M, N, 5, 12), x="x", y="h"),
        "rows of blocks first": lambda: program(parts.mapped(M, N, rows_first=True), x="x", y="h"),
        "by way of shared memory": lambda: program(parts.staged(M, N, factor=2.0), x="x", y="h"),
        "by way of registers": lambda: program(parts.staged(M, N, scope="register", factor=2.0), x="x", y="h"),
        "tile larger than the tensor": lambda: program(parts.mapped(M, N, 64, 256), x="x", y="h"),
        "walked from 2": lambda: program(parts.walked(M, N, low=2), x="x", y="h"),
        "other threads": lambda: program(parts.mapped(M, N, threads=128), x="x", y="h"),
    }


def consumers(M: int, N: int) -> dict[str, Make]:
    """g(h)."""
    return {
        "element by element": lambda: program(parts.mapped(M, N, factor=-1.0), "after", x="h", y="out"),
        "by way of shared memory": lambda: program(parts.staged(M, N), "after", x="h", y="out"),
        "by way of registers": lambda: program(parts.staged(M, N, scope="register"), "after", x="h", y="out"),
        "walked": lambda: program(parts.walked(M, N), "after", x="h", y="out"),
        "walked from 3": lambda: program(parts.walked(M, N, low=3), "after", x="h", y="out"),
        "rows summed": lambda: program(parts.row_sums(M, N), "after", x="h", r="out"),
        "left operand": lambda: program(parts.multiplied(M, 24, N), "after", a="h", b="w", c="out"),
        "right operand": lambda: program(parts.multiplied(20, N, M), "after", a="v", b="h", c="out"),
        "twice": lambda: program(parts.added(M, N), "after", a="h", b="h", y="out"),
        "neighbours": lambda: program(parts.stencil(M, N - 2), "after", x="h", y="out"),
        "a part": lambda: program(parts.left_half(M, N), "after", x="h", y="out"),
        "a part, twice": lambda: program(parts.left_half(M, N, twice=True), "after", x="h", y="out"),
        "each three times": lambda: program(parts.strided(M, N), "after", x="h", y="out"),
    }


# A shape of awkward sizes with every producer, and two others with some.
SHAPES: Final[dict[tuple[int, int], tuple[str, ...]]] = {
    (37, 71): tuple(producers(8, 8)),
    (32, 64): ("same tiles", "smaller tiles", "by way of registers"),
    (1, 3): ("same tiles", "odd tiles"),
}


def after(name: str, h: torch.Tensor, given: Tensors) -> torch.Tensor:
    """What a consumer makes of h, by PyTorch."""
    half = h.shape[1] // 2
    return {
        "element by element": lambda: -h + 1,
        "by way of shared memory": lambda: 3 * h - 1,
        "by way of registers": lambda: 3 * h - 1,
        "walked": lambda: h / 2,
        "walked from 3": lambda: h / 2,
        "rows summed": lambda: h.sum(1),
        "left operand": lambda: h @ given["w"],
        "right operand": lambda: given["v"] @ h,
        "twice": lambda: 2 * h,
        "neighbours": lambda: h[:, :-2] - h[:, 2:],
        "a part": lambda: h[:, :half],
        "a part, twice": lambda: torch.cat((h[:, :half], h[:, :half]), 1),
        "each three times": lambda: h.repeat_interleave(3, 1),
    }[name]()


def before(name: str, x: torch.Tensor) -> torch.Tensor:
    if name.startswith("walked"):
        return x / 2
    return 2 * x - 1 if name.startswith("by way") else 2 * x + 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("consumer", consumers(8, 8))
def test_pairs(consumer: str, shape: tuple[int, int]) -> None:
    """Every producer into one consumer, at every depth, in shared memory and registers, kept and not."""
    M, N = shape
    given = {"x": matrix(M, N), "w": matrix(N, 24), "v": matrix(20, M)}
    last = consumers(M, N)[consumer]()
    for name in SHAPES[shape]:
        wanted = {"out": after(consumer, before(name, given["x"]), given)}
        check(producers(M, N)[name](), last, "h", inputs=given, wanted=wanted)


@pytest.mark.parametrize("tiles", [(32, 32, 16), (16, 64, 32), (64, 16, 16)], ids=str)
@pytest.mark.parametrize("sizes", [(64, 64, 64, 64), (37, 41, 29, 50), (1, 1, 1, 1)], ids=str)
def test_back_to_back_products(sizes: tuple[int, int, int, int], tiles: tuple[int, int, int]) -> None:
    """(a b) c: the first product at once for all of a block's rows, or a tile of it for each turn of the second one's loop."""
    M, K, L, N = sizes
    given = {"a": matrix(M, K), "b": matrix(K, L), "c": matrix(L, N)}
    first = program(parts.multiplied(M, L, K, *tiles), a="a", b="b", c="h")
    second = program(parts.multiplied(M, N, L), a="h", b="c", c="out")
    seen = check(first, second, "h", inputs=given, wanted={"out": given["a"] @ given["b"] @ given["c"]})
    assert {a.depth for a in seen} == {0, 1}


def test_a_product_with_what_follows_it() -> None:
    given = {"a": matrix(50, 40), "b": matrix(40, 70), "r": matrix(50, 70)}
    first = program(parts.multiplied(50, 70, 40), a="a", b="b", c="h")
    second = program(parts.added(50, 70), a="h", b="r", y="out")
    check(first, second, "h", inputs=given, wanted={"out": given["a"] @ given["b"] + given["r"]})
    normed = program(parts.centered(50, 70), x="h", c="out", mean="m")
    check(first, normed, "h", inputs=given, wanted={"m": (given["a"] @ given["b"]).mean(1)})


@pytest.mark.parametrize("bm", [16, 5])
def test_several_outputs_of_one_producer(bm: int) -> None:
    given = {"x": matrix(37, 40)}
    first = program(parts.centered(37, 40, bm), x="x", c="c", mean="m")
    second = program(parts.restored(37, 40), c="c", mean="m", y="out")
    check(first, second, "c", "m", inputs=given, wanted={"out": given["x"]})


def test_an_output_that_the_consumer_does_not_read_is_still_written() -> None:
    given = {"x": matrix(37, 40)}
    first = program(parts.centered(37, 40), x="x", c="c", mean="m")
    second = program(parts.mapped(37, 40), x="c", y="out")
    check(first, second, "c", inputs=given, wanted={"m": given["x"].mean(1), "out": 2 * (given["x"] - given["x"].mean(1)[:, None]) + 1})


def test_a_chain_of_one_kernel_with_itself() -> None:
    """Its copies share no variable; a stitched pair is a producer like any other."""
    given, whole = {"x": matrix(37, 71)}, program(parts.staged(37, 71), x="h3", y="out")
    for number in (3, 2, 1):
        part = program(parts.staged(37, 71), x=f"h{number - 1}" if number > 1 else "x", y=f"h{number}")
        *_, (_, _, whole) = every_way(part, whole, f"h{number}")
    x = given["x"]
    for _ in range(4):
        x = 3 * x - 1
    assert torch.allclose(run(whole, given)["out"], x, rtol=1e-4, atol=1e-4)


def test_a_stitched_pair_as_producer_whose_tiles_reach_over_the_edge() -> None:
    """Blocks of the pair that do not exist are not run: their own stages would be indexed out of bounds."""
    given = {"x": matrix(17, 129)}
    first = program(parts.mapped(17, 129, 32, 128), x="x", y="h")
    second = program(parts.row_sums(17, 129, 4), x="h", r="s")
    third = program(expanded(17, 3, 64), r="s", y="out")
    for _, _, pair in every_way(first, second, "h"):
        for _, _, whole in every_way(pair, third, "s"):
            found = run(whole, given)["out"]
            assert torch.allclose(found, (2 * given["x"] + 1).sum(1)[:, None].expand(17, 3), rtol=1e-4, atol=1e-4)


def expanded(M: int, N: int, bm: int) -> Any:
    @T.prim_func
    def main(r: T.Tensor((M,), "float32"), y: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(T.ceildiv(M, bm), threads=32) as by:
            for i, j in T.Parallel(bm, N):
                y[by * bm + i, j] = r[by * bm + i]

    return main


def test_what_lies_beyond_the_edge_is_what_the_consumer_says() -> None:
    """A least element: a 0 beyond the edge, or a tile of the producer that is computed there, would be found instead."""
    given = {"x": matrix(21, 40).abs() + 1}
    first = program(parts.mapped(21, 40, 8, 32, factor=3.0), x="x", y="h")
    second = program(parts.row_lows(21, 40), x="h", r="out")
    check(first, second, "h", inputs=given, wanted={"out": (3 * given["x"] + 1).amin(1)})


def test_annotations_of_a_tensor_go_with_it() -> None:
    first = program(parts.mapped(21, 40), x="x", y="h")
    for _, kept, stitched in every_way(first, program(parts.row_lows(21, 40), x="h", r="out"), "h"):
        notes = stitched.func.body.block.body
        assert ("safe_value_map" in notes.script()) == bool(kept)
    second = program(parts.row_lows(21, 40), x="x", r="h")
    for _, _, stitched in every_way(second, program(expanded(21, 3, 16), r="h", y="out"), "h"):
        assert "safe_value_map" in stitched.func.script()


def test_an_annotated_layout_stays_with_its_buffer() -> None:
    def swizzled() -> Any:
        @T.prim_func
        def main(x: T.Tensor((64, 64), "float32"), y: T.Tensor((64, 64), "float32")) -> None:
            with T.Kernel(2, 2, threads=64) as (bx, by):
                tile = T.alloc_shared((32, 32), "float32")
                T.annotate_layout({tile: tilelang.layout.make_swizzled_layout(tile)})
                T.copy(x[bx * 32, by * 32], tile)
                for i, j in T.Parallel(32, 32):
                    y[bx * 32 + i, by * 32 + j] = tile[i, j] + 1.0

        return main

    given = {"x": matrix(64, 64)}
    first, second = program(swizzled(), x="x", y="h"), program(swizzled(), x="h", y="out")
    assert "annotated layouts" in first.features
    check(first, second, "h", inputs=given, wanted={"out": given["x"] + 2})


def test_a_tensor_that_both_read() -> None:
    given = {"x": matrix(37, 71), "s": matrix(37, 71)}
    first = program(parts.added(37, 71), a="x", b="s", y="h")
    second = program(parts.added(37, 71, 8, 16), a="s", b="h", y="out")
    for _, _, stitched in every_way(first, second, "h"):
        assert sorted(p.name for p in stitched.params if p.mode == "read") == ["s", "x"]
    check(first, second, "h", inputs=given, wanted={"out": given["x"] + 2 * given["s"]})


def test_a_consumer_that_works_in_place() -> None:
    def in_place() -> Any:
        @T.prim_func
        def main(x: T.Tensor((40, 40), "float32"), state: T.Tensor((40, 40), "float32")) -> None:
            with T.Kernel(T.ceildiv(40, 16), threads=32) as bx:
                for i, j in T.Parallel(16, 40):
                    state[bx * 16 + i, j] = state[bx * 16 + i, j] + x[bx * 16 + i, j]

        return main

    given = {"x": matrix(40, 40), "state": matrix(40, 40, seed=1)}
    first = program(parts.mapped(40, 40), x="x", y="h")
    check(first, program(in_place(), x="h", state="state"), "h", inputs=given, wanted={"state": given["state"] + 2 * given["x"] + 1})


def test_a_load_in_both_arms_of_a_branch() -> None:
    def branching() -> Any:
        @T.prim_func
        def main(x: T.Tensor((40, 64), "float32"), y: T.Tensor((40, 64), "float32")) -> None:
            with T.Kernel(2, T.ceildiv(40, 16), threads=32) as (bx, by):
                tile = T.alloc_shared((16, 32), "float32")
                if bx == 0:
                    T.copy(x[by * 16, bx * 32], tile)
                else:
                    for k in T.serial(2):
                        T.copy(x[by * 16, k * 32], tile)
                T.copy(tile, y[by * 16, bx * 32])

        return main

    given = {"x": matrix(40, 64)}
    first = program(parts.mapped(40, 64), x="x", y="h")
    check(first, program(branching(), x="h", y="out"), "h", inputs=given, wanted={"out": 2 * given["x"] + 1})


def test_a_load_that_a_buffer_of_the_consumer_can_take() -> None:
    """One copy of the whole stage into a buffer of the same shape and memory: no second buffer, no second copy."""
    first = program(parts.mapped(32, 64), x="x", y="h")
    second = program(parts.staged(32, 64), x="h", y="out")
    attachment = legal(first, second, ["h"])[0]
    stitched = read(inline(first, second, attachment, {"h": "shared"}))
    assert [b.name for b in stitched.buffers] == ["tile"]
    assert sum(op.op == "copy" for op in stitched.ops) == 1
    larger = program(parts.mapped(32, 64, 32, 64), x="x", y="h")
    stitched = read(inline(larger, second, legal(larger, second, ["h"])[0], {"h": "shared"}))
    assert sorted(b.name for b in stitched.buffers) == ["h_stage", "tile"]


def test_what_is_asked_for_must_be_legal() -> None:
    first, second = program(parts.mapped(32, 64, 8, 16), x="x", y="h"), program(parts.staged(32, 64), "after", x="h", y="out")
    attachment = legal(first, second, ["h"])[0]
    with pytest.raises(MosaicError, match=r"^h can't be handed over in registers: its two sides don't touch the same whole tile$"):
        inline(first, second, attachment, {"h": "register"})
    halved = program(parts.left_half(32, 64, twice=True), x="h", y="out")
    attachment = legal(first, halved, ["h"])[0]
    assert attachment.recompute == 1
    assert not attachment.complete
    with pytest.raises(MosaicError, match=r"^h can't be kept: x_h is not computed as a whole$"):
        inline(first, halved, attachment, {"h": "shared"}, keep=frozenset({"h"}))
    wide = program(parts.multiplied(32, 128, 64), a="h", b="w", c="out")
    attachment = legal(first, wide, ["h"])[0]
    with pytest.raises(MosaicError, match=r"^h can't be kept: x_h is computed 4 times$"):
        inline(first, wide, attachment, {"h": "shared"}, keep=frozenset({"h"}))


def test_threads() -> None:
    first = program(parts.mapped(32, 64, threads=64), x="x", y="h")
    second = program(parts.staged(32, 64, threads=32), "after", x="h", y="out")
    attachment = legal(first, second, ["h"])[0]
    assert read(inline(first, second, attachment, {"h": "shared"})).thread_count == 32
    assert read(inline(first, second, attachment, {"h": "shared"}, threads=128)).thread_count == 128
    func = with_threads(second.func, 96)
    verify(func)
    assert read(func).thread_count == 96
    assert read(func).name == "after"


def test_names() -> None:
    first, second = program(parts.mapped(32, 64), "one", x="x", y="h"), program(parts.mapped(32, 64), "two", x="h", y="out")
    attachment = legal(first, second, ["h"])[0]
    assert read(inline(first, second, attachment, {"h": "shared"})).name == "one_two"
    assert read(inline(first, second, attachment, {"h": "shared"}, name="both")).name == "both"


LOWERED: Final[dict[str, Callable[[], tuple[TileProgram, TileProgram]]]] = {
    "epilogue": lambda: (
        program(parts.multiplied(128, 128, 64), a="a", b="b", c="h"),
        program(parts.mapped(128, 128, 32, 32, threads=64), x="h", y="out"),
    ),
    "prologue": lambda: (
        program(parts.mapped(128, 64, 32, 16, threads=64), x="x", y="h"),
        program(parts.multiplied(128, 128, 64), a="h", b="b", c="out"),
    ),
    "back to back": lambda: (
        program(parts.multiplied(100, 64, 50), a="a", b="b", c="h"),
        program(parts.multiplied(100, 90, 64), a="h", b="c", c="out"),
    ),
    "rows": lambda: (
        program(parts.multiplied(128, 64, 64), a="a", b="b", c="h"),
        program(parts.row_sums(128, 64, 32, threads=64), x="h", r="out"),
    ),
    "unaligned": lambda: (program(parts.mapped(37, 73, 16, 16), x="x", y="h"), program(parts.stencil(37, 71), x="h", y="out")),
}


@pytest.mark.parametrize("name", LOWERED)
def test_stitched_kernels_lower_for_gpus(name: str) -> None:
    first, second = LOWERED[name]()
    for number, (_, _, stitched) in enumerate(every_way(first, second, "h")):
        target = ("sm_90a", "gfx942", "sm_80", "gfx950", "sm_100a")[number % 5]
        assert lower(stitched.func, target, binary=False).source
