"""Rotary position embedding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

from mosaic.errors import KernelError
from mosaic.graph.kernel import Spec, find
from tests.kernels.cases import cases, check_lowers, on_cases, targets_for


@on_cases("rope", count=5)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for("rope")
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def test_the_reference_turns_pairs() -> None:
    """A pair is a complex number, and turning it a product with one of length 1."""
    x = torch.randn(2, 5, 3, 8, dtype=torch.float64)
    angle = torch.outer(torch.arange(9.0, dtype=torch.float64), torch.tensor([1.0, 0.1, 0.01, 0.001], dtype=torch.float64))
    got = find("rope").reference(x, angle.cos(), angle.sin(), start=3)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones(5, 4, dtype=torch.float64), angle[3:8])[:, None, :]
    assert torch.allclose(got, torch.cat((turned.real, turned.imag), -1))


def test_what_it_refuses() -> None:
    kernel = find("rope")
    odd = kernel.bind((Spec((1, 2, 1, 5), "float32"), Spec((2, 2), "float32"), Spec((2, 2), "float32")))
    with pytest.raises(KernelError, match="a head has 5 of them"):
        kernel.instantiate(odd)
    short = kernel.bind((Spec((1, 4, 1, 4), "float32"), Spec((5, 2), "float32"), Spec((5, 2), "float32")), {"start": 2})
    with pytest.raises(KernelError, match="rows 2 to 5 of the tables are needed, but they have only 5"):
        kernel.instantiate(short)
