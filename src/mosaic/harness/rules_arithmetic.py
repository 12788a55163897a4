"""Error rules of arithmetic between tensors, element by element: sums, products, quotients, remainders, the larger and the smaller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mosaic.harness import arithmetic as published
from mosaic.harness.arithmetic import representable
from mosaic.harness.error_tensor import Analysis, ErrorTensor, Part, build, gap, join_lineage, rule, times
from mosaic.harness.rules_functions import ARITHMETIC, known, split, stepwise, underflow


@rule("clamp", "clamp_min", "clamp_max", "hardtanh")
def clamp(analysis: Analysis, func: Any, x: Any, *limits: Any, **named: Any) -> ErrorTensor:
    name = "clamp" if func is None else str(func._schema.name).partition("::")[2]
    given = dict(zip(("max",) if name == "clamp_max" else ("min", "max"), limits, strict=False))
    given.update({key.removesuffix("_val"): value for key, value in named.items()})
    result = analysis.exact(x)
    if name == "hardtanh":
        given = {"min": -1.0, "max": 1.0} | given
    for key, choose in (("min", torch.maximum), ("max", torch.minimum)):
        if given.get(key) is not None:
            result = extreme(analysis, choose, result, given[key])
    return result


@rule("maximum", "max")
def maximum(analysis: Analysis, func: Any, a: Any, b: Any = None, *rest: Any, **named: Any) -> Any:
    """The larger of two tensors; the other forms of `max` reduce."""
    if isinstance(b, torch.Tensor):
        return extreme(analysis, torch.maximum, a, b)
    return analysis.call("max_reduction", a, *([] if b is None else [b]), *rest, **named)


@rule("minimum", "min")
def minimum(analysis: Analysis, func: Any, a: Any, b: Any = None, *rest: Any, **named: Any) -> Any:
    if isinstance(b, torch.Tensor):
        return extreme(analysis, torch.minimum, a, b)
    return analysis.call("min_reduction", a, *([] if b is None else [b]), *rest, **named)


def extreme(analysis: Analysis, choose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], a: Any, b: Any) -> ErrorTensor:
    """torch.maximum or torch.minimum: monotone in both, so the ends of the intervals tell all."""
    x, y = analysis.exact(a), analysis.exact(b)
    value, high = choose(x.value, y.value), choose(x.value + x.bound, y.value + y.bound)
    moved = torch.maximum(gap(high, value), gap(choose(x.value - x.bound, y.value - y.bound), value))
    moved = torch.where(torch.isinf(x.bound) | torch.isinf(y.bound), torch.inf, moved)
    grid = x.grid if x.grid == y.grid or (y.value.ndim == 0 and float(y.value).is_integer()) else None
    lineage = join_lineage(x, y)
    cause = x if bool(x.bound.any()) else y
    if lineage and (x.value.shape == y.value.shape == value.shape or y.is_exact):
        first = choose(x.value, y.value) == x.value
        noise, drift = torch.where(first, noise_of(x), noise_of(y)), torch.where(first, drift_of(x), drift_of(y))
        bound = torch.where(first, x.bound.expand(value.shape), y.bound.expand(value.shape))
        return build(value, [Part(cause, *split(noise, bound, moved), drift)], lineage=lineage, grid=grid)
    return build(value, [Part(cause, moved)], grid=grid)


def noise_of(x: ErrorTensor) -> torch.Tensor:
    """Its noise, as a tensor in any case."""
    return torch.zeros_like(x.value) if x.noise is None else x.noise


def drift_of(x: ErrorTensor) -> torch.Tensor:
    return torch.zeros_like(x.value) if x.drift is None else x.drift


def passed(x: ErrorTensor, factor: torch.Tensor | float = 1.0) -> Part:
    """What `x` passes on to a result that moves by `factor` times what x moves by."""
    if isinstance(factor, float):
        return Part(x, noise_free(x), x.noise, None if x.drift is None else factor * x.drift)
    noise, drift = None if x.noise is None else times(factor, x.noise), None if x.drift is None else known(factor * x.drift)
    return Part(x, times(factor, noise_free(x)), noise, drift)


def noise_free(x: ErrorTensor) -> torch.Tensor:
    """Its error without the noise, as a tensor in any case."""
    return torch.zeros_like(x.value) if x.error is None else x.error


def combine(
    analysis: Analysis, value: torch.Tensor, operands: Sequence[Part], local: torch.Tensor | None, second_order: torch.Tensor | None = None
) -> ErrorTensor:
    """An element-by-element result of several tensors, each with what it passes on.

    An operand that was broadcast, or rounded before and moved otherwise since, passes its noise on as error.
    """
    causes = [part.cause for part in operands if isinstance(part.cause, ErrorTensor)]
    lineage = join_lineage(*causes)
    parts, joined = [], set[tuple[int, int]]()
    for x, part in zip(causes, operands, strict=True):
        if part.noise is not None and (lineage is None or x.value.shape != value.shape):
            parts.append(Part(x, (part.error + part.noise).expand(value.shape)))
        else:
            parts.append(part._replace(error=part.error.expand(value.shape)))
            joined |= x.lineage
    if second_order is not None:
        parts.append(Part(causes[0], second_order))
    if local is not None:
        parts.append(Part(analysis.label(ARITHMETIC), torch.where(torch.isfinite(value), local, 0.0)))
    return build(value, parts, lineage=frozenset(joined))


def rounding_of(analysis: Analysis, value: torch.Tensor, *operands: ErrorTensor) -> torch.Tensor:
    """Error of one IEEE operation; none where the operands are exact and the result is a number of the dtype."""
    local = analysis.roundoff * value.abs() + underflow(analysis, value)
    certain = [x.bound == 0 for x in operands if x.error is not None]
    if all(bool(c.any()) for c in certain):
        exact = representable(value, analysis.compute)
        for c in certain:
            exact = exact & c
        local = torch.where(exact, 0.0, local)
    return local


@rule("add", "sub", "rsub")
def add(analysis: Analysis, func: Any, a: Any, b: Any, *, alpha: float = 1) -> ErrorTensor:
    name = "add" if func is None else str(func._schema.name).partition("::")[2]
    x, y = analysis.exact(a), analysis.exact(b)
    if name == "rsub":
        x, y = y, x
    if alpha != 1:
        y = multiply(analysis, None, y, alpha)
    return subtract(analysis, x, y) if name != "add" else _sum(analysis, x, y, 1.0)


def subtract(analysis: Analysis, x: ErrorTensor, y: ErrorTensor) -> ErrorTensor:
    """x - y, from within another rule."""
    return _sum(analysis, x, y, -1.0)


def _sum(analysis: Analysis, x: ErrorTensor, y: ErrorTensor, sign: float) -> ErrorTensor:
    value = x.value + sign * y.value
    return combine(analysis, value, (passed(x), passed(y, sign)), rounding_of(analysis, value, x, y))


@rule("mul", "multiply")
def multiply(analysis: Analysis, func: Any, a: Any, b: Any) -> ErrorTensor:
    x, y = analysis.exact(a), analysis.exact(b)
    value = x.value * y.value
    both = None if x.error is None or y.error is None else x.bound * y.bound
    return combine(analysis, value, (passed(x, y.value), passed(y, x.value)), rounding_of(analysis, value, x, y), both)


@rule("div", "true_divide")
def divide(analysis: Analysis, func: Any, a: Any, b: Any, *, rounding_mode: str | None = None) -> ErrorTensor:
    """|(a + d) / (b + e) - a / b| <= (|d| + |a / b| |e|) / (|b| - |e|); nothing is known where b may be 0."""
    x, y = analysis.exact(a), analysis.exact(b)
    value = x.value / y.value
    room = y.value.abs() - y.bound
    inverse = torch.where(room > 0, 1.0 / room, torch.where((y.bound == 0) & (y.value == 0), 0.0, torch.inf)) * torch.sign(y.value)
    local = rounding_of(analysis, value, x, y) * (2.0 * published.DIVISION_ULPS)
    result = combine(analysis, value, (passed(x, inverse), passed(y, -inverse * value)), local)
    if rounding_mode is not None:
        result = stepwise(analysis, result, {"floor": torch.floor, "trunc": torch.trunc}[rounding_mode])
    return result


@rule("remainder", "fmod")
def remainder(analysis: Analysis, func: Any, a: Any, b: Any) -> ErrorTensor:
    """Modulo a certain number: as uncertain as what is divided, or anything below the divisor where it may wrap."""
    x, y = analysis.exact(a), analysis.exact(b)
    if not y.is_exact:
        raise TypeError("a divisor that is not certain")
    whole = func._schema.name == "aten::remainder"
    value, size = (torch.remainder if whole else torch.fmod)(x.value, y.value), y.value.abs()
    low, high = ((torch.floor if whole else torch.trunc)((x.value + s * x.bound) / y.value) for s in (-1.0, 1.0))
    wraps = (low != high) & (x.bound > 0)
    analysis.certain = analysis.certain and not bool(wraps.any())
    return build(value, [Part(x, torch.where(wraps, 2.0 * size, x.bound.expand(value.shape)))])
