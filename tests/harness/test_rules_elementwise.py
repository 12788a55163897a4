"""Element by element: propagated errors against the function itself at moved inputs, rounding against float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import pytest
import torch
from torch.nn import functional

from mosaic.errors import KernelError
from mosaic.harness import Arithmetic, bounds_of
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


def test_forms_without_a_rule_are_refused() -> None:
    x = numbers((4,), "float32")
    with pytest.raises(KernelError, match="no error rule"):
        bounds_of(lambda t: torch.pow(t.abs(), t), [x], ["float32"])
    with pytest.raises(KernelError, match="no error rule"):
        bounds_of(lambda t: torch.round(t, decimals=2), [x], ["float32"])
