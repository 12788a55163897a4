"""Activation functions and gates."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st

from mosaic.graph.kernel import find
from tests.kernels.cases import cases, check_lowers, on_cases, targets_for

NAMES = ("gelu_erf", "gelu_tanh", "relu", "sigmoid", "silu", "silu_multiply", "tanh")


@on_cases(*NAMES)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def test_the_references() -> None:
    x = torch.linspace(-6, 6, 101, dtype=torch.float64)
    gate = 1 / (1 + torch.exp(-x))
    wanted = {
        "gelu_erf": x * torch.special.ndtr(x),
        "gelu_tanh": x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "relu": torch.where(x > 0, x, 0.0),
        "sigmoid": gate,
        "silu": x * gate,
        "tanh": 1 - 2 / (torch.exp(2 * x) + 1),
    }
    for name, value in wanted.items():
        assert torch.allclose(find(name).reference(x), value, rtol=1e-12, atol=1e-12), name
    assert torch.allclose(find("silu_multiply").reference(x, x - 2), x * gate * (x - 2), rtol=1e-12)
