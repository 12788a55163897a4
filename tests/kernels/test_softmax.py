"""Softmax of rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

from mosaic.graph.kernel import Spec, find
from mosaic.kernels.softmax import LONGEST_ROW
from tests.kernels.cases import Case, cases, check_lowers, on_cases, targets_for

NAMES = ("softmax", "softmax_masked")


@on_cases(*NAMES, count=5)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


@pytest.mark.parametrize("target", ["cpu", "sm_90a", "gfx942"])
def test_rows_too_long_for_registers(target: str) -> None:
    case = Case(find("softmax"), (Spec((3, LONGEST_ROW + 77), "float16"),), {}, {"block_M": 2, "threads": 128})
    if target == "cpu":
        case.check_on_cpu()
    else:
        case.check_lowers(target)


def test_the_references() -> None:
    x = torch.randn(5, 6, dtype=torch.float64)
    weights = torch.exp(x)
    assert torch.allclose(find("softmax").reference(x), weights / weights.sum(-1, keepdim=True))
    mask = torch.randint(0, 2, (5, 6), generator=torch.Generator().manual_seed(3), dtype=torch.int32)
    mask[1], mask[2] = 0, 7  # nothing, and everything by a number other than 1
    got = find("softmax_masked").reference(x, mask)
    assert got[1].tolist() == [0.0] * 6
    for row in (0, 2, 3, 4):
        assert torch.allclose(got[row], torch.softmax(x[row].masked_fill(mask[row] == 0, -torch.inf), -1))
