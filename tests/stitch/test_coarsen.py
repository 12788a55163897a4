"""Coarsened kernels compute the same with fewer blocks."""

from __future__ import annotations

import pytest
import torch

from mosaic.stitch.attach import attachments
from mosaic.stitch.coarsen import check_coarsen, coarsen
from mosaic.stitch.legality import Refusal
from mosaic.targets.cpu import compile_cpu
from mosaic.tiles.read import read
from tests.stitch.parts import every_way, mapped, multiplied, program, row_sums, run
from tests.tiles.foreign_gemm import split_k, swizzled


@pytest.mark.parametrize("shape", [(64, 64), (50, 70), (1, 3), (97, 31)])
@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_same_with_fewer_blocks(shape: tuple[int, int], factor: int, axis: int) -> None:
    original = program(mapped(*shape), x="x", y="y")
    assert check_coarsen(original) is None
    func = coarsen(original, original.grid[axis], factor)
    made = read(func)
    assert made.grid[axis].extent == -(-int(original.grid[axis].extent) // factor)
    x = torch.randn(shape)
    results = []
    for each in (original.func, func):
        y = torch.full(shape, torch.nan)
        compile_cpu(each, poison=True)(x, y)
        results.append(y)
    assert torch.equal(*results)


def test_a_coarse_consumer_takes_a_large_tile_without_recomputation() -> None:
    producer, consumer = program(mapped(64, 64, 64, 32), x="x", y="h"), program(mapped(64, 64), x="h", y="z")
    before = attachments(producer, consumer, ["h"])
    rows = next(axis for axis in consumer.grid if axis.extent == 4)
    after = attachments(producer, read(coarsen(consumer, rows, 4)), ["h"])
    assert not isinstance(before, Refusal)
    assert not isinstance(after, Refusal)
    assert before[0].recompute == 4
    assert after[0].recompute == 1


def test_blocks_that_do_not_exist_are_not_run() -> None:
    """Five blocks in twos: the sixth would index what its kernel keeps on the chip out of bounds, for all that is known of it."""
    original = program(mapped(80, 32), x="x", y="y")
    rows = original.grid[1]
    assert (rows.extent, original.blocks) == (5, 5)
    text = coarsen(original, rows, 2).script()
    assert "if row * 2 + row_turn < 5:" in text
    assert "if " not in coarsen(original, rows, 5).script()


def test_a_coarsened_kernel_is_a_producer_and_a_consumer_like_any_other() -> None:
    shape = (50, 70)
    first, second, third = (program(mapped(*shape), x=a, y=b) for a, b in (("x", "h"), ("h", "g"), ("g", "out")))
    for axis in second.grid:
        coarse = read(coarsen(second, axis, 2))
        x = torch.randn(shape)
        for _, kept, pair in every_way(first, coarse, "h"):
            if kept:
                continue  # a pair with two results is another matter: tests/stitch/test_legality.py
            for _, _, whole in every_way(pair, third, "g"):
                assert torch.equal(run(whole, {"x": x})["out"], ((2 * x + 1) * 2 + 1) * 2 + 1)


def test_reductions_and_products_run_anew_in_each_turn() -> None:
    for original, names in (
        (program(row_sums(50, 70), x="x", r="y"), ("x",)),
        (program(multiplied(50, 70, 40), a="x", b="w", c="y"), ("x", "w")),
    ):
        given = {"x": torch.randn(50, 70 if len(names) == 1 else 40), "w": torch.randn(40, 70)}
        plain = run(original, given)["y"]
        for axis in original.grid:
            assert torch.equal(run(read(coarsen(original, axis, 3)), given)["y"], plain)


def test_what_may_not_run_twice_in_a_block() -> None:
    refusal = check_coarsen(read(split_k(64, 64, 64)))
    assert refusal is not None
    assert refusal.check == "features"
    assert check_coarsen(read(swizzled(64, 64, 64))) is None
