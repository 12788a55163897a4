"""Arithmetic between tensors: propagated errors against the operation itself at moved inputs, exactness, overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
import torch
from torch.nn import functional

from mosaic.harness.tolerance import bounds_of
from tests.harness.honest import numbers, through, violation, with_error

BINARY: Final[dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "add": torch.add,
    "sub": torch.sub,
    "scaled_add": lambda a, b: torch.add(a, b, alpha=0.3),
    "mul": torch.mul,
    "div": lambda a, b: a / (2.0 + b * b),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "lerp": lambda a, b: torch.lerp(a, b, 0.3),
    "addcmul": lambda a, b: torch.addcmul(a, a, b, value=0.5),
    "swiglu": lambda a, b: functional.silu(a) * b,
}


@pytest.mark.parametrize("size", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("name", BINARY)
def test_propagated_errors_of_two_inputs(name: str, size: float) -> None:
    a, b = numbers((8, 64), "float32", seed=1), numbers((8, 64), "float32", seed=2)
    errors = [numbers((8, 64), "float32", "uniform", seed=seed).double().abs() * size for seed in (3, 4)]
    assert violation(BINARY[name], [a, b], errors, 3) <= 1.0


def test_broadcast_operands() -> None:
    a, b = numbers((8, 64), "float32", seed=1), numbers((64,), "float32", seed=2)
    errors = [torch.full((8, 64), 1e-3), torch.full((64,), 1e-2)]
    assert violation(torch.add, [a, b], errors, 3) <= 1.0
    assert violation(lambda x, y: x * y[None], [a, b], errors, 3) <= 1.0


def test_exact_operations_must_be_exact() -> None:
    a, b = numbers((32, 32), "float16", "integers", 1), numbers((32, 32), "float16", "integers", 2)
    for function in (
        lambda x, y: x + y,
        lambda x, y: x * y - x,
        lambda x, y: torch.maximum(x, y) * 0.5,
        lambda x, y: torch.relu(x - 3 * y),
    ):
        (bound,) = bounds_of(function, [a, b], ["float16"])
        assert not bound.error.any()
        assert bound.explanation.startswith("exact")
        right = function(a, b)
        assert bound.compare(right).passed
        assert not bound.compare(right + torch.eye(32).half() * 2.0**-6).passed


def test_numbers_that_float32_cannot_hold_are_inexact() -> None:
    x = numbers((4, 4), "float32", "integers")
    assert not bounds_of(lambda t: t * 0.5, [x], ["float32"])[0].error.any()
    assert bounds_of(lambda t: t * 0.1, [x], ["float32"])[0].error.any()


def test_overflow_of_the_arithmetic_leaves_nothing_known() -> None:
    x = torch.tensor([1e30, 1.0])
    (bound,) = bounds_of(lambda t: torch.sqrt(t * t), [x], ["float32"])
    assert torch.isinf(bound.error).tolist() == [True, False]
    assert bound.compare(torch.sqrt(x * x)).unchecked == 0.5


def test_division_with_rounding() -> None:
    a, b = with_error(torch.tensor([7.0, 6.0]), torch.tensor([0.1, 0.1])), with_error(torch.tensor([2.0, 2.0]), torch.zeros(2))
    result = through(lambda x, y: torch.div(x, y, rounding_mode="floor"), a, b)
    assert result.value.tolist() == [3.0, 3.0]
    assert result.bound.tolist() == [0.0, 1.0]


def test_patterned_rounding_errors_add_up() -> None:
    """Halves of odd numbers, and a little more: each is rounded up, so the errors of a sum do not cancel."""
    x = (torch.arange(1, 2048, 2, dtype=torch.float64) / 2 + 0.01)[None]

    def rounded(t: torch.Tensor) -> torch.Tensor:
        return t.to(torch.float16).sum(1)

    (bound,) = bounds_of(rounded, [x.float()], ["float32"])
    drift = x.half().double() - x
    assert float(drift.sum().abs()) > 3 * float(drift.norm())
    assert bound.compare(x.half().float().sum(1)).passed
