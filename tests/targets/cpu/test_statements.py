"""Statements: loops of every kind, variables, views, what a CPU has no meaning for."""

from __future__ import annotations

import pytest
import torch

from mosaic.errors import ReadError, TargetError
from mosaic.targets.cpu import compile_cpu, emit_c
from tests.targets.cpu import loops
from tests.targets.cpu.running import run


def test_control_flow() -> None:
    x = torch.tensor([1, 4, 2, 9, 5, 3, 7], dtype=torch.int32)
    y = torch.zeros(8, dtype=torch.int32)
    run(loops.control(7), x, y)
    assert y.tolist() == [4, 106, 6, 4, 3, 2 + 5, 6, 6]


def test_views_share_memory() -> None:
    x, y, z = torch.randn(4, 8), torch.zeros(32), torch.zeros(4, 8, dtype=torch.int32)
    run(loops.viewed(), x, y, z)
    assert torch.equal(y.view(4, 8), x + 1)
    assert torch.equal(z.view(torch.float32), x + 1)


@pytest.mark.parametrize(("M", "blocks"), [(128, 3), (100, 2), (16, 4)])
def test_persistent_blocks(M: int, blocks: int) -> None:
    x, y = torch.randn(M, 32), torch.zeros(M, 32)
    run(loops.persistent(M, blocks), x, y)
    assert torch.equal(y, 2 * x)


def test_a_threads_own_array() -> None:
    x, y = torch.randn(16, 4).half(), torch.zeros(16)
    run(loops.small_arrays(), x, y)
    assert torch.equal(y, x[:, 0].float() + x[:, 3].float())


def test_a_thread_index_may_be_asked_for_but_not_used() -> None:
    x, y = torch.randn(32), torch.zeros(32)
    run(loops.thread_indices(used=False), x, y)
    assert torch.equal(x, y)
    with pytest.raises(ReadError, match="kernel 'thread_indices' cannot be compiled for the CPU: it uses threadIdx explicitly"):
        emit_c(loops.thread_indices(used=True))


@pytest.mark.parametrize("size", [8, 4096])
def test_poison_shows_what_nothing_wrote(size: int) -> None:
    y, n, v = torch.zeros(size), torch.zeros(size, dtype=torch.int32), torch.ones(1, dtype=torch.int32)
    run(loops.never_written(size), y, n, v)
    assert y.isnan().all()
    assert (n == 0x7F7F7F7F).all()
    assert v.item() == 0, "but T.alloc_var starts as zero"


@pytest.mark.parametrize("where", ["load", "store", "region"])
def test_leaving_an_on_chip_buffer_is_noticed_when_checked(where: str) -> None:
    kernel = compile_cpu(loops.outside(where), poison=True)
    x, y = torch.zeros(16, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    kernel(x, y)
    for index in (16, -1, 2**31 - 1):
        x[0] = index
        with pytest.raises(TargetError, match="kernel 'outside' reads or writes outside one of its on-chip buffers"):
            kernel(x, y)
    x[0] = 3
    kernel(x, y)


def test_numbers_among_the_parameters() -> None:
    x, y = torch.randn(8), torch.zeros(8)
    run(loops.with_scalars(), x, 2.5, 3, y)
    assert torch.allclose(y, 2.5 * x + 3)


def test_declared_strides() -> None:
    wide, y = torch.randn(4, 32), torch.zeros(4, 8)
    run(loops.strided(), wide[:, :16:2], y)
    assert torch.equal(y, wide[:, :16:2])
