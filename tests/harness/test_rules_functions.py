"""Functions of one variable: propagated errors against the function itself at moved inputs, rounding against float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import pytest
import torch
from torch.nn import functional

from mosaic.errors import KernelError
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.tolerance import bounds_of
from tests.harness.honest import numbers, through, violation, with_error

Unary = Callable[[torch.Tensor], torch.Tensor]

ANYWHERE: Final[dict[str, Unary]] = {
    "neg": torch.neg,
    "abs": torch.abs,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "erfc": torch.erfc,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "cos": torch.cos,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "relu": functional.relu,
    "square": torch.square,
    "cube": lambda x: x**3,
    "fourth": lambda x: torch.pow(x, 4),
    "power_of": lambda x: 2.5**x,
    "clamp": lambda x: x.clamp(-0.5, 0.75),
    "clamp_min": lambda x: torch.clamp(x, min=0.1),
    "hardtanh": functional.hardtanh,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    "round": torch.round,
    "sign": torch.sign,
    "atan": torch.atan,
    "scalar": lambda x: 3.7 - 1.3 * x / 0.7 + 2,
    "softplus": functional.softplus,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.1),
    "elu": functional.elu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "relu6": functional.relu6,
    "logsigmoid": functional.logsigmoid,
    "glu": lambda x: functional.glu(x, -1),
}
POSITIVE: Final[dict[str, Unary]] = {
    "log": torch.log,
    "log2": torch.log2,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "root": lambda x: x**0.3,
    "inverse_square": lambda x: x**-2,
}


@pytest.mark.parametrize("size", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("name", ANYWHERE)
def test_propagated_errors_cover_moved_inputs(name: str, size: float) -> None:
    x = numbers((8, 128), "float32", seed=name).double() * 3
    error = numbers((8, 128), "float32", "uniform", seed="error").double().abs() * size
    assert violation(ANYWHERE[name], [x], [error], 1) <= 1.0


@pytest.mark.parametrize("size", [1e-6, 1e-2, 0.9])
@pytest.mark.parametrize("name", POSITIVE)
def test_propagated_errors_cover_moved_positive_inputs(name: str, size: float) -> None:
    x = numbers((8, 128), "float32", seed=name).double().abs() + 0.01
    error = x * numbers((8, 128), "float32", "uniform", seed="error").double().abs() * size
    assert violation(POSITIVE[name], [x], [error], 2) <= 1.0


@pytest.mark.parametrize("name", [*ANYWHERE, *POSITIVE])
@pytest.mark.parametrize("distribution", ["normal", "mixed", "tiny", "equal", "spike"])
def test_float32_results_are_within_the_bound(name: str, distribution: str) -> None:
    function = ANYWHERE.get(name) or (lambda x: POSITIVE[name](x.abs()))
    x = numbers((16, 128), "float32", distribution, seed=name)
    (bound,) = bounds_of(function, [x], ["float32"])
    comparison = bound.compare(function(x))
    assert comparison.passed, (name, comparison.worst, float(comparison.ratio.max()))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["gelu", "silu", "tanh", "sigmoid", "exp", "softplus"])
def test_narrow_results_leave_little_room(name: str, dtype: str) -> None:
    """The bound of an activation is little more than the rounding of its result."""
    x = numbers((64, 64), dtype, seed=name)
    (bound,) = bounds_of(ANYWHERE[name], [x], [dtype])
    right = ANYWHERE[name](x.float()).to(x.dtype)
    ratio = bound.compare(right).ratio
    assert float(ratio.max()) <= 1.0
    assert 0.3 < float(ratio.median()) < 0.7  # uniform rounding errors have their median at 1/2
    spacing = torch.nextafter(right, torch.full_like(right, torch.inf)) - right
    assert not bound.compare(right + 2 * spacing).passed


def test_extrema_lie_where_they_are_said_to_lie() -> None:
    """An interval around the minimum of GELU and SiLU: both ends are above it."""
    for function, place in (
        (functional.gelu, -0.7517915246789355),
        (lambda x: functional.gelu(x, approximate="tanh"), -0.7524614221269026),
        (functional.silu, -1.2784645429055712),
    ):
        around = torch.linspace(place - 1e-3, place + 1e-3, 2001, dtype=torch.float64)
        assert abs(float(around[function(around).argmin()]) - place) <= 2e-6
        wide = through(function, with_error(torch.tensor([place + 0.4]), torch.tensor([0.8])))
        lowest = float(function(torch.tensor(place, dtype=torch.float64)))
        assert float(wide.value - wide.bound) <= lowest


def test_poles_and_zero_divisors_are_unbounded() -> None:
    x = with_error(torch.tensor([0.5, -0.5, 2.0]), torch.tensor([1.0, 1.0, 1.0]))
    assert torch.isinf(through(torch.reciprocal, x).bound).tolist() == [True, True, False]
    assert torch.isinf(through(lambda t: 1.0 / t, x).bound).tolist() == [True, True, False]
    assert torch.isinf(through(lambda t: t**-1, x).bound).tolist() == [True, True, False]
    positive = with_error(torch.tensor([0.5, 2.0]), torch.tensor([1.0, 1.0]))
    assert torch.isinf(through(torch.rsqrt, positive).bound).tolist() == [True, False]
    assert torch.isinf(through(torch.log, positive).bound).tolist() == [True, False]


def test_infinite_inputs_give_certain_results() -> None:
    x = torch.tensor([math.inf, -math.inf, 1.0])
    for function in (torch.relu, torch.abs, torch.tanh, torch.sigmoid, torch.exp, lambda t: t * 2 + 1, lambda t: torch.maximum(t, t * 0.5)):
        (bound,) = bounds_of(function, [x], ["float32"])
        assert not torch.isinf(bound.error).any()
        assert bound.compare(function(x)).passed
        assert not bound.compare(function(torch.tensor([1e30, -1e30, 1.5]))).passed


def test_fast_math_widens_tanh_and_flushes_subnormals() -> None:
    x = numbers((64,), "float32")
    precise, fast = (bounds_of(torch.tanh, [x], ["float32"], Arithmetic(fast_math=flag))[0] for flag in (False, True))
    approximate = torch.tanh(x) * (1 + 2.0**-12)
    assert not precise.compare(approximate).passed
    assert fast.compare(approximate).passed
    tiny = numbers((64,), "float32", "tiny") * 0.25
    precise, fast = (bounds_of(lambda t: t * 0.7, [tiny], ["float32"], Arithmetic(fast_math=flag))[0] for flag in (False, True))
    assert not precise.compare(torch.zeros(64)).passed
    assert fast.compare(torch.zeros(64)).passed


def test_forms_without_a_rule_are_refused() -> None:
    x = numbers((4,), "float32")
    with pytest.raises(KernelError, match="no error rule"):
        bounds_of(lambda t: torch.pow(t.abs(), t), [x], ["float32"])
    with pytest.raises(KernelError, match="no error rule"):
        bounds_of(lambda t: torch.round(t, decimals=2), [x], ["float32"])
