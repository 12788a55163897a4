"""Matrix products."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.graph.kernel import Spec, find
from mosaic.kernels.gemm import MAX_ACCUMULATORS, MAX_SHARED_BYTES, tiles_fit, warps_fit
from tests.kernels.cases import Case, cases, check_lowers, on_cases, targets_for

NAMES = ("gemm", "gemm_nt")


@on_cases(*NAMES, count=8)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block_N", [16, 384, 512])
def test_tiles_from_a_few_columns_to_a_whole_row(name: str, block_N: int) -> None:
    """A planner may need a block to cover a row of 384 or 512, or to hold few rows."""
    shape = ((33, 96), (block_N, 96)) if name == "gemm_nt" else ((33, 96), (96, block_N))
    kernel = find(name)
    inputs = tuple(Spec(dims, "float16") for dims in shape)
    choices = [choice for choice in kernel.choices(kernel.bind(inputs)) if choice["block_N"] == block_N]
    assert {int(choice["block_M"]) for choice in choices} >= {32, 64} if block_N == 384 else choices
    Case(kernel, inputs, {}, choices[0]).check_on_cpu()


def test_the_references() -> None:
    a, b = torch.randn(5, 7, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    wanted = torch.stack([torch.stack([(row * column).sum() for column in b]) for row in a])
    assert torch.allclose(find("gemm").reference(a, b.T), wanted, atol=1e-14)
    assert torch.allclose(find("gemm_nt").reference(a, b), functional.linear(a, b), atol=1e-14)


@pytest.mark.parametrize(
    ("block_M", "block_N", "threads", "fits"),
    [
        (16, 16, 128, False),  # four warps, two places of 16 × 8
        (16, 32, 128, True),
        (16, 32, 256, False),
        (32, 16, 128, True),
        (24, 64, 128, False),  # no multiple of 16 rows
        (128, 384, 256, True),
        (16, 8, 64, False),  # one of AMD's waves owns 16 × 16
    ],
)
def test_warps_share_out_a_block(block_M: int, block_N: int, threads: int, fits: bool) -> None:
    assert warps_fit(block_M, block_N, threads) == fits


def test_registers_and_shared_memory_are_limits() -> None:
    assert MAX_ACCUMULATORS == 200
    assert MAX_SHARED_BYTES == 160 * 1024
    assert tiles_fit("float16", 64, 384, 32, 128, 2)  # 192 accumulators a thread
    assert not tiles_fit("float16", 128, 256, 32, 128, 2)  # 256
    assert tiles_fit("float16", 128, 128, 64, 128, 4)
    assert not tiles_fit("float32", 128, 128, 64, 128, 4)  # 256 KB


@pytest.mark.parametrize("name", NAMES)
def test_no_choice_exceeds_the_limits(name: str) -> None:
    kernel = find(name)
    binding = kernel.bind([Spec((64, 64), "float32")] * 2)
    choices = list(kernel.choices(binding))
    assert choices[0] == kernel.default_tunables()
    for choice in choices:
        block_M, block_N, block_K, threads, stages = (
            int(choice[key]) for key in ("block_M", "block_N", "block_K", "threads", "num_stages")
        )
        assert block_M * block_N // threads <= MAX_ACCUMULATORS
        assert (block_M + block_N) * block_K * 4 * stages <= MAX_SHARED_BYTES
