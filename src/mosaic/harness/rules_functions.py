"""Error rules of functions of one variable.

A function is evaluated at both ends of the interval [x - bound, x + bound], and at its extremum if that lies inside: exact
at kinks and steps, and for large errors, where derivatives would mislead. Rounding of the result is added: that of the
arithmetic, or what is published for an intrinsic (`arithmetic`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn import functional

from mosaic.harness import arithmetic as published
from mosaic.harness.error_tensor import Analysis, ErrorTensor, Part, build, gap, rule

Function = Callable[[torch.Tensor], torch.Tensor]
Local = Callable[[Analysis, torch.Tensor, torch.Tensor], torch.Tensor]
"""local(analysis, x, y): bound of the rounding of y = f(x), of y's shape."""

ARITHMETIC: Final = "float32 arithmetic"
GELU_MINIMUM: Final = -0.7517915246789355  # where the derivative is 0
GELU_TANH_MINIMUM: Final = -0.7524614221269026
SILU_MINIMUM: Final = -1.2784645429055712


def split(noise: torch.Tensor | None, bound: torch.Tensor, moved: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Divide a propagated error into error and noise as the input's bound was divided."""
    if noise is None:
        return moved, None
    part = torch.where((bound > 0) & torch.isfinite(moved), moved * noise / bound, 0.0)
    return moved - part, part


def known(drift: torch.Tensor) -> torch.Tensor:
    """A drift where it is a number, else 0."""
    return drift.nan_to_num(0.0, 0.0, 0.0)


def unary(
    analysis: Analysis,
    x: ErrorTensor,
    function: Function,
    local: Local | None,
    what: str,
    *,
    lowest: float = -math.inf,
    extremum: float | None = None,
    pole: float | None = None,
    grid: str | None = None,
) -> ErrorTensor:
    """y = f(x) for an f that is monotone but for one extremum, on [lowest, inf), finite but for a pole."""
    value = function(x.value)
    parts = []
    if not x.is_exact:
        bound = x.bound
        low, high = (x.value - bound).clamp(min=lowest), x.value + bound
        moved = torch.maximum(gap(function(low), value), gap(function(high), value))
        if extremum is not None:
            peak = function(torch.full((), extremum, dtype=torch.float64))
            moved = torch.where((low < extremum) & (high > extremum), torch.maximum(moved, gap(peak, value)), moved)
        if pole is not None:
            moved = torch.where((low <= pole) & (high >= pole) & (bound > 0), torch.inf, moved)
        moved = torch.where(torch.isinf(bound), torch.inf, moved)  # even a bounded function may get a NaN there
        drift = None if x.drift is None else known(function((x.value + x.drift).clamp(min=lowest)) - value)
        parts.append(Part(x, *split(x.noise, bound, moved), drift))
    if local is not None:
        rounding = local(analysis, x.value, value)
        parts.append(Part(analysis.label(what), torch.where(torch.isfinite(value), rounding, 0.0)))
    return build(value, parts, lineage=x.lineage, grid=grid)


def ulps(number: float) -> Local:
    """So many units in the last place of the result; half a unit is the rounding of an IEEE operation."""
    return lambda analysis, x, y: 2.0 * number * analysis.roundoff * y.abs() + underflow(analysis, y, number)


def underflow(analysis: Analysis, y: torch.Tensor, number: float = 0.5) -> torch.Tensor:
    """What a result that is subnormal may lose: so many units in the last place, or all of it."""
    return torch.where(y == 0, 0.0, subnormal(analysis, number))


def subnormal(analysis: Analysis, number: float) -> float:
    """So many units in the last place of a subnormal number; all of it where they are flushed to zero."""
    smallest_normal = float(torch.finfo(analysis.compute.torch).smallest_normal)
    return smallest_normal if analysis.arithmetic.fast_math else number * analysis.compute.smallest


def exponential_rounding(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`__expf` as documented, through a rounded x log2(e)."""
    steepness = published.EXP_ULPS + published.EXP_ULPS_SLOPE * x.abs()
    return torch.where(y == 0, 0.0, 2.0 * analysis.roundoff * steepness * y) + subnormal(analysis, published.EXP_ULPS)


def _logarithm(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    near = published.LOG_ABSOLUTE * analysis.roundoff / 2.0**-24
    return torch.where((x > 0.5) & (x < 2.0), near, 2.0 * published.LOG_ULPS * analysis.roundoff * y.abs() + near / 4)


def _sigmoid_rounding(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 / (1 + exp(-x)): the exponential's error counts as far as it dominates the sum."""
    of_exponential = 2.0 * (published.EXP_ULPS + published.EXP_ULPS_SLOPE * x.abs().clamp(max=1e3))
    relative = of_exponential * (1.0 - y) + 2.0 * published.DIVISION_ULPS + 2.0
    # beyond x = -88 exp(-x) overflows and the result is 0
    return relative * analysis.roundoff * y + 2.0 * float(torch.finfo(analysis.compute.torch).smallest_normal)


def _silu_rounding(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x.abs() * _sigmoid_rounding(analysis, x, torch.sigmoid(x)) + analysis.roundoff * y.abs() + underflow(analysis, y)


def _tanh_rounding(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (published.FAST_TANH if analysis.arithmetic.fast_math else 2.0 * published.TANH_ULPS * analysis.roundoff) * y.abs()


def _gelu_rounding(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x / 2 (1 + erf(x / sqrt 2)), or tanh: for negative x the 1 + ... cancels, and what is lost counts absolutely."""
    u = analysis.roundoff
    inner = published.FAST_TANH if analysis.arithmetic.fast_math else published.GELU_ROUNDOFFS * u
    argument = 4.0 * u * x.abs() * torch.exp(-0.5 * x * x)  # rounded argument times the slope, which is below the density's
    return 0.5 * x.abs() * (inner + argument) + 3.0 * u * y.abs() + underflow(analysis, y)


def _sine_rounding(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (published.SINE_ABSOLUTE / 2.0**-24 + 2.0 * x.abs()) * analysis.roundoff


def _simple(names: str, function: Function, local: Local | None, what: str = ARITHMETIC, **shape: Any) -> None:
    @rule(*names.split())
    def apply(analysis: Analysis, func: Any, x: Any, *rest: Any, **options: Any) -> ErrorTensor:
        if rest or options:
            raise TypeError(f"unexpected options {rest} {options}")
        return unary(analysis, analysis.exact(x), function, local, what, **shape)


_simple("neg negative", torch.neg, None)
_simple("exp", torch.exp, exponential_rounding, "exp, as exactly as __expf")
_simple("exp2", torch.exp2, exponential_rounding, "exp2, as exactly as __expf")
_simple("expm1", torch.expm1, ulps(2.0), "expm1")
_simple("log", torch.log, _logarithm, "log, as exactly as __logf", lowest=0.0)
_simple("log2", torch.log2, _logarithm, "log2, as exactly as __logf", lowest=0.0)
_simple("log10", torch.log10, _logarithm, "log10, as exactly as __logf", lowest=0.0)
_simple("log1p", torch.log1p, ulps(2.0), "log1p", lowest=-1.0)
_simple("sqrt", torch.sqrt, ulps(published.SQUARE_ROOT_ULPS), lowest=0.0)
_simple("rsqrt", torch.rsqrt, ulps(published.RSQRT_ULPS + published.SQUARE_ROOT_ULPS), lowest=0.0, pole=0.0)
_simple("reciprocal", torch.reciprocal, ulps(published.DIVISION_ULPS), pole=0.0)
_simple("tanh", torch.tanh, _tanh_rounding, "tanh")
_simple("erf", torch.erf, ulps(published.ERF_ULPS), "erf")
_simple("erfc", torch.erfc, ulps(4.0), "erfc")
_simple("sigmoid", torch.sigmoid, _sigmoid_rounding, "sigmoid")
_simple("atan", torch.atan, ulps(2.0), "atan")
_simple("square", torch.square, ulps(0.5), extremum=0.0)
_simple("silu", functional.silu, _silu_rounding, "SiLU", extremum=SILU_MINIMUM)


@rule("abs", "relu")
def keeping(analysis: Analysis, func: Any, x: Any) -> ErrorTensor:
    """Functions whose results are numbers of the input's dtype."""
    x = analysis.exact(x)
    is_abs = func is not None and func._schema.name == "aten::abs"
    return unary(analysis, x, torch.abs if is_abs else torch.relu, None, "", extremum=0.0 if is_abs else None, grid=x.grid)


def stepwise(analysis: Analysis, x: ErrorTensor, function: Function) -> ErrorTensor:
    """A monotone function that is constant between steps."""
    made = unary(analysis, x, function, None, "")
    analysis.certain = analysis.certain and made.is_exact
    return made


@rule("sign", "sgn", "floor", "ceil", "trunc", "fix")
def step(analysis: Analysis, func: Any, x: Any) -> ErrorTensor:
    name = str(func._schema.name).partition("::")[2]
    steps = {"sign": torch.sign, "sgn": torch.sign, "floor": torch.floor, "ceil": torch.ceil, "trunc": torch.trunc, "fix": torch.trunc}
    return stepwise(analysis, analysis.exact(x), steps[name])


@rule("round")
def round_(analysis: Analysis, func: Any, x: Any, *, decimals: int = 0) -> ErrorTensor:
    """To the nearest integer, ties to even: uncertain by one where the value lies within its error of a half."""
    if decimals:
        raise TypeError("decimals")
    return stepwise(analysis, analysis.exact(x), torch.round)


@rule("gelu")
def gelu(analysis: Analysis, func: Any, x: Any, *, approximate: str = "none") -> ErrorTensor:
    lowest = GELU_MINIMUM if approximate == "none" else GELU_TANH_MINIMUM
    return unary(
        analysis, analysis.exact(x), lambda t: functional.gelu(t, approximate=approximate), _gelu_rounding, "GELU", extremum=lowest
    )


@rule("sin", "cos")
def wave(analysis: Analysis, func: Any, x: Any) -> ErrorTensor:
    """Lipschitz with constant 1, and never off by more than 2."""
    x = analysis.exact(x)
    value = func(x.value)
    local = Part(analysis.label("sine or cosine, as exactly as __sinf"), _sine_rounding(analysis, x.value, value))
    moved = torch.where(torch.isinf(x.bound), torch.inf, x.bound.clamp(max=2.0))
    drift = None if x.drift is None else known(func(x.value + x.drift) - value)
    return build(value, [Part(x, *split(x.noise, x.bound, moved), drift), local], lineage=x.lineage)


@rule("pow")
def power(analysis: Analysis, func: Any, base: Any, exponent: Any) -> ErrorTensor:
    if not isinstance(exponent, int | float):
        if isinstance(base, int | float) and base > 0:
            x = analysis.exact(exponent)
            return unary(analysis, x, lambda t: torch.pow(base, t), _exponential_of(base), "pow")
        raise TypeError("a tensor as exponent of a tensor")
    x, integral = analysis.exact(base), float(exponent).is_integer()
    return unary(
        analysis, x, lambda t: torch.pow(t, exponent), _power_rounding(float(exponent)), "pow", lowest=-math.inf if integral else 0.0,
        extremum=0.0 if integral and exponent % 2 == 0 and exponent > 0 else None, pole=0.0 if exponent < 0 else None,
    )  # fmt: skip


def _power_rounding(exponent: float) -> Local:
    """Small whole powers are products. Other exponents are rounded to the arithmetic's dtype before."""
    if exponent.is_integer() and abs(exponent) <= 4:
        return ulps(0.5 * abs(exponent))
    held = float(torch.tensor(exponent, dtype=torch.float32)) == exponent

    def local(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        shift = 0.0 if held else abs(exponent) * torch.log(x.abs()).nan_to_num(posinf=0.0, neginf=0.0).abs()
        return ulps(published.POWER_ULPS)(analysis, x, y) + shift * analysis.roundoff * y.abs()

    return local


def _exponential_of(base: float) -> Local:
    def local(analysis: Analysis, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 2.0 * analysis.roundoff * (published.POWER_ULPS + abs(math.log2(base)) * x.abs()) * y

    return local
