"""Atomic updates from many blocks at once, onto a tensor that ends before the tile does."""

from __future__ import annotations

import pytest
import torch

from mosaic.dtypes import dtype
from tests.targets.cpu.copies import accumulated, tickets
from tests.targets.cpu.running import run


@pytest.mark.parametrize("whole_tile", [True, False])
@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "float64", "int32", "int64"])
def test_no_update_is_lost(name: str, whole_tile: bool) -> None:
    kind = dtype(name).torch
    x = torch.randint(-3, 4, (64, 32)).to(kind)  # sums of small integers are exact in every order and dtype
    y, high, low = torch.zeros(30).to(kind), torch.full((32,), -9.0).to(kind), torch.full((32,), 9.0).to(kind)
    run(accumulated(64, name, whole_tile), x, y, high, low)
    assert torch.equal(y.double(), x.double().sum(0)[:30])
    assert torch.equal(high.double(), x.double().amax(0))
    assert torch.equal(low.double(), x.double().amin(0))


def test_each_block_draws_another_number() -> None:
    counter, y = torch.zeros(2, dtype=torch.int32), torch.full((50,), -1, dtype=torch.int32)
    run(tickets(50), counter, y)
    assert sorted(y.tolist()) == list(range(50))
    assert counter.tolist() == [50, 50]
