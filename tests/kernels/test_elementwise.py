"""Bias, sums, products, residuals."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from mosaic.graph.kernel import find
from tests.kernels.cases import cases, check_lowers, on_cases, targets_for

NAMES = ("add", "bias", "multiply", "residual_add", "scale")


@on_cases(*NAMES)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def test_the_references() -> None:
    x, y = torch.tensor([[1.0, 2.0], [3.0, -4.0]]).double(), torch.tensor([[0.5, -1.0], [2.0, 0.0]]).double()
    assert find("bias").reference(x, y[0]).tolist() == [[1.5, 1.0], [3.5, -5.0]]
    assert find("add").reference(x, y).tolist() == find("residual_add").reference(x, y).tolist() == [[1.5, 1.0], [5.0, -4.0]]
    assert find("multiply").reference(x, y).tolist() == [[0.5, -2.0], [6.0, -0.0]]
    assert find("scale").reference(x, factor=0.5).tolist() == [[0.5, 1.0], [1.5, -2.0]]
