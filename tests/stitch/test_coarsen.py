"""Coarsened kernels compute the same with fewer blocks."""

from __future__ import annotations

import pytest
import torch

from mosaic.stitch.attach import attachments
from mosaic.stitch.coarsen import check_coarsen, coarsen
from mosaic.stitch.legality import Refusal
from mosaic.targets.cpu import compile_cpu
from mosaic.tiles.read import read
from tests.stitch.parts import mapped, program


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
