"""Error rules of sums: reductions, and contractions (matrix products and convolutions).

For a sum of n terms t: the terms' errors add up linearly, their independent noise s to lambda sqrt(sum s^2), and the
rounding of the additions to min(n, lambda sqrt(n)) u sum|t| (`arithmetic` has the sources). Where m of the terms are
equal, what happens to one of them happens to all: sqrt(m sum s^2), and sqrt(n m) for the additions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from mosaic.dtypes import DTYPES
from mosaic.harness.arithmetic import FP8_GROUP, TENSOR_CORE_GROUP, overflow_threshold
from mosaic.harness.error_tensor import Analysis, ErrorTensor, Part, build, rule, times
from mosaic.harness.rules_arithmetic import drift_of
from mosaic.harness.rules_functions import ARITHMETIC, known, subnormal, ulps, unary
from mosaic.harness.rules_structure import move

Axes = Sequence[int]
CELLS: float = 8.0
"""Values are taken for equal if they round alike: if they agree to an eighth of the rounding error."""
EXACT_INTEGERS: float = 2.0**24
_TF32_DROPPED = 0x1FFF
"""The bits of a float32 that tf32 has not."""


def repeats(value: torch.Tensor, noise: torch.Tensor | None, axes: Axes) -> torch.Tensor:
    """For each element, how many elements along `axes` are equal to it (to a fraction of their noise); 0 for zeros."""
    moved = value.movedim(tuple(axes), tuple(range(-len(axes), 0)))
    flat = moved.reshape(*moved.shape[: moved.ndim - len(axes)], -1)
    if noise is not None:
        cell = noise.movedim(tuple(axes), tuple(range(-len(axes), 0))).reshape(flat.shape) / CELLS
        flat = torch.where(cell > 0, torch.round(flat / cell) * cell, flat)
    ordered, places = flat.sort(dim=-1)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    group = starts.cumsum(-1) - 1
    sizes = torch.zeros_like(ordered).scatter_add_(-1, group, torch.ones_like(ordered))
    counts = torch.zeros_like(ordered).scatter_(-1, places, sizes.gather(-1, group))
    counts = torch.where(flat == 0, 0.0, counts)
    return counts.reshape(moved.shape).movedim(tuple(range(-len(axes), 0)), tuple(axes))


def most_equal(analysis: Analysis, x: torch.Tensor, axes: Axes, *, keep: bool = False) -> torch.Tensor:
    """The largest of `repeats` along `axes`, which stay with size 1. Remembered with `keep`, for constants."""
    key = (x.data_ptr(), tuple(x.shape), x.stride(), tuple(axes))
    if keep and key in analysis.cache:
        return analysis.cache[key][1]
    made = repeats(x, None, axes).amax(tuple(axes), keepdim=True)
    if keep:
        analysis.cache[key] = (x, made)  # holds x, so that no other tensor gets its address
    return made


def growth(analysis: Analysis, additions: torch.Tensor, equal: torch.Tensor | float) -> torch.Tensor:
    """How many roundoffs of sum|t| so many additions cost, of which up to `equal` concern equal terms."""
    likely = analysis.arithmetic.confidence * torch.sqrt(additions * torch.clamp(torch.as_tensor(equal), min=1.0))
    return torch.minimum(additions, likely)


def growth_of_sum(analysis: Analysis, terms: torch.Tensor, axes: tuple[int, ...], keepdim: bool) -> torch.Tensor:
    """`growth` of adding these terms along `axes`; zeros cost nothing."""
    if not axes:
        return torch.zeros_like(terms)
    additions = ((terms != 0).to(torch.float64).sum(axes, keepdim=keepdim) - 1.0).clamp(min=0.0)
    if count(terms, axes) <= analysis.arithmetic.confidence**2:  # then all additions may go wrong in the same direction
        return additions
    return growth(analysis, additions, repeats(terms, None, axes).amax(axes, keepdim=keepdim))


def axes_of(x: torch.Tensor, dim: Any) -> tuple[int, ...]:
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(x.ndim))
    chosen = dim if isinstance(dim, list | tuple) else [dim]
    return tuple(sorted(axis % max(x.ndim, 1) for axis in chosen))


def total(
    analysis: Analysis, x: ErrorTensor, axes: tuple[int, ...], keepdim: bool, weight: torch.Tensor | None = None, running: bool = False
) -> tuple[list[Part], torch.Tensor]:
    """Propagated parts of sum(weight x), and the bound of the error made by adding.

    running: perhaps by means of what was added so far, which rounds whole numbers too.
    """
    lam = analysis.arithmetic.confidence

    def reduce(t: torch.Tensor) -> torch.Tensor:
        return t.sum(axes, keepdim=keepdim) if axes else t.clone()

    terms = x.value if weight is None else x.value * weight
    parts = []
    if x.error is not None:
        parts.append(Part(x, reduce(x.error if weight is None else times(weight, x.error))))
    if x.noise is not None and axes:
        noise = x.noise if weight is None else times(weight, x.noise)
        independent = lam * torch.sqrt(reduce(repeats(x.value, x.noise, axes).clamp(min=1.0) * noise * noise))
        drifted = reduce(drift_of(x) if weight is None else known(weight * drift_of(x))).abs()
        parts.append(Part(x, torch.minimum(reduce(noise), independent + drifted)))
    elif x.noise is not None:
        parts.append(Part(x, times(weight, x.noise) if weight is not None else x.noise))
    size = torch.where(torch.isfinite(terms), terms.abs(), 0.0)
    magnitude = reduce(size)
    local = growth_of_sum(analysis, terms, axes, keepdim) * analysis.roundoff * magnitude
    local = torch.where(magnitude >= overflow_threshold(analysis.compute), torch.inf, local)  # a partial sum may overflow
    whole = reduce(((size == torch.round(size)) & (x.bound == 0)).to(torch.float64)) == math.prod(x.value.shape[a] for a in axes)
    return parts, local if running else torch.where(whole & (magnitude <= EXACT_INTEGERS), 0.0, local)


def count(x: torch.Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[axis] for axis in axes)


def adding(analysis: Analysis, n: int) -> str:
    return analysis.label(f"adding {n} terms in {analysis.compute.name}")


@rule("sum", "nansum")
def sum_(analysis: Analysis, func: Any, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> ErrorTensor:
    x = analysis.exact(x)
    axes = axes_of(x.value, dim)
    parts, local = total(analysis, x, axes, keepdim)
    value = x.value.sum(axes, keepdim=keepdim) if axes else x.value.clone()
    return build(value, [*parts, Part(adding(analysis, count(x.value, axes)), torch.where(torch.isfinite(value), local, 0.0))])


@rule("mean")
def mean(analysis: Analysis, func: Any, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> ErrorTensor:
    x = analysis.exact(x)
    added = sum_(analysis, None, x, dim, keepdim)
    return analysis.call("div", added, float(count(x.value, axes_of(x.value, dim))))  # type: ignore[no-any-return]


def running_mean(analysis: Analysis, x: ErrorTensor, axes: tuple[int, ...]) -> ErrorTensor:
    """The mean along `axes`, which stay with size 1, perhaps by Welford's recurrence."""
    n = count(x.value, axes)
    parts, local = total(analysis, x, axes, True, torch.full((), 1.0 / n, dtype=torch.float64), running=True)
    value = x.value.mean(axes, keepdim=True)
    local = torch.where(torch.isfinite(value), local + 2.0 * analysis.roundoff * value.abs(), 0.0)
    return build(value, [*parts, Part(adding(analysis, n), local)])


@rule("var")
def var(
    analysis: Analysis, func: Any, x: Any, dim: Any = None, unbiased: Any = None, *, correction: Any = None, keepdim: bool = False
) -> ErrorTensor:
    """Two passes, or Welford's: errors relative to the variance, not to the mean square.

    First order: var(x + d) - var(x) = 2 mean((x - mean) d). A mean that is off by e adds e^2.
    """
    x = analysis.exact(x)
    axes = axes_of(x.value, dim)
    freedom = max(count(x.value, axes) - (float(correction) if correction is not None else float(unbiased is not False)), 0.0)
    centre = x.value.mean(axes, keepdim=True)
    centred = x.value - centre
    value = torch.var(x.value, axes, correction=count(x.value, axes) - freedom, keepdim=keepdim)
    parts, _ = total(analysis, x, axes, keepdim, 2.0 * centred / freedom)
    _, mean_error = total(analysis, x, axes, True, running=True)
    mean_error = mean_error / count(x.value, axes) + analysis.roundoff * centre.abs()
    parts.append(Part(x, (x.bound * x.bound).sum(axes, keepdim=keepdim) / freedom))
    squares = ErrorTensor(centred * centred, None)
    _, local = total(analysis, squares, axes, keepdim)
    off = (mean_error + analysis.roundoff * centred.abs()) ** 2
    local = local / freedom + off.mean(axes, keepdim=keepdim) * (count(x.value, axes) / freedom)
    local = local + 8.0 * analysis.roundoff * value
    return build(value, [*parts, Part(adding(analysis, count(x.value, axes)), local)])


@rule("std")
def std(analysis: Analysis, func: Any, x: Any, *args: Any, **kwargs: Any) -> ErrorTensor:
    return analysis.call("sqrt", var(analysis, None, x, *args, **kwargs))  # type: ignore[no-any-return]


@rule("var_mean")
def var_mean(analysis: Analysis, func: Any, x: Any, dim: Any = None, *args: Any, **kwargs: Any) -> tuple[ErrorTensor, ErrorTensor]:
    keepdim = bool(kwargs.get("keepdim", False))
    return var(analysis, None, x, dim, *args, **kwargs), mean(analysis, None, x, dim, keepdim)


@rule("linalg_vector_norm", "norm")
def norm(analysis: Analysis, func: Any, x: Any, order: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    x = analysis.exact(x)
    if order == 2:
        return analysis.call("sqrt", sum_(analysis, None, analysis.call("mul", x, x), dim, keepdim))
    size = unary(analysis, x, torch.abs, None, "", extremum=0.0, grid=x.grid)
    if order == 1:
        return sum_(analysis, None, size, dim, keepdim)
    if order == math.inf:
        return analysis.call("amax", size, [] if dim is None else dim, keepdim)
    raise TypeError(f"order {order}")


@rule("cumsum")
def cumsum(analysis: Analysis, func: Any, x: Any, dim: int, *, dtype: Any = None) -> ErrorTensor:
    """Running sums, in any order of additions."""
    x = analysis.exact(x)
    value, lam = x.value.cumsum(dim), analysis.arithmetic.confidence
    parts = [] if x.error is None else [Part(x, x.error.cumsum(dim))]
    if x.noise is not None:
        equal = repeats(x.value, x.noise, [dim % x.value.ndim]).clamp(min=1.0)
        independent = lam * torch.sqrt((equal * x.noise * x.noise).cumsum(dim))
        parts.append(Part(x, torch.minimum(x.noise.cumsum(dim), independent + drift_of(x).cumsum(dim).abs())))
    additions = ((x.value != 0).to(torch.float64).cumsum(dim) - 1.0).clamp(min=0.0)
    equal = repeats(x.value, None, [dim % x.value.ndim]).amax(dim, keepdim=True)
    magnitude = x.value.abs().cumsum(dim)
    local = growth(analysis, additions, equal) * analysis.roundoff * magnitude
    whole = ((x.value == torch.round(x.value)) & (x.bound == 0)).to(torch.int64).cummin(dim).values == 1
    local = torch.where(whole & (magnitude <= EXACT_INTEGERS), 0.0, local)
    return build(value, [*parts, Part(adding(analysis, x.value.shape[dim]), local)])


Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _finite(t: torch.Tensor) -> torch.Tensor:
    return t if bool(torch.isfinite(t.sum())) else torch.where(torch.isfinite(t), t, 0.0)


def _operand(analysis: Analysis, x: ErrorTensor) -> ErrorTensor:
    """As the matrix unit reads it: rounded to the node's narrow dtype if the kernel computed it, or truncated to tf32."""
    if x.grid is None or x.grid not in DTYPES or DTYPES[x.grid].bits > analysis.operand.bits:
        return analysis.rounded(x, analysis.operand, f"an operand rounded to {analysis.operand.name}", scaled=True)
    return x


def _tf32(analysis: Analysis, x: ErrorTensor) -> torch.Tensor | None:
    """Half of what truncation to tf32 may cost each element: the other half is a bias. None if it costs nothing."""
    narrow = x.grid is not None and x.grid in DTYPES and DTYPES[x.grid].bits <= 16
    if not analysis.arithmetic.tf32 or narrow or analysis.compute.name != "float32" or analysis.operand.bits < 32:
        return None
    single = x.value.to(torch.float32)
    kept = (single.view(torch.int32) & _TF32_DROPPED == 0) & (single.to(torch.float64) == x.value) & (x.bound == 0)
    size = x.value.abs()
    # Below the smallest normal number the last bit kept is worth 2^-136, whatever the value.
    lost = torch.where(kept, 0.0, torch.maximum(2.0**-11 * size, torch.where(size < 2.0**-126, 2.0**-137, 0.0)))
    return lost if bool(lost.any()) else None


def contract(analysis: Analysis, product: Product, a: ErrorTensor, b: ErrorTensor, axes_a: Axes, axes_b: Axes, n: int) -> ErrorTensor:
    """A bilinear product with n terms an element, summed over `axes_a` of a and `axes_b` of b."""
    x, y = _operand(analysis, a), _operand(analysis, b)
    left, right = _finite(x.value).abs(), _finite(y.value).abs()
    value, scale = product(x.value, y.value), product(left, right)
    parts = []
    if x.error is not None and bool(x.bound.any()):
        parts.append(Part(a, product(x.error, right)))
        if y.error is not None and bool(y.bound.any()):
            parts.append(Part(a, product(x.bound, y.bound)))
    if y.error is not None and bool(y.error.any()):
        parts.append(Part(b, product(left, y.error)))
    if x.noise is not None:
        likely = _noise(analysis, product, x.value, x.noise, right, axes_a, True)
        parts.append(Part(x, likely + product(drift_of(x), _finite(y.value)).abs()))
    if y.noise is not None:
        likely = _noise(analysis, product, y.value, y.noise, left, axes_b, False)
        parts.append(Part(y, likely + product(_finite(x.value), drift_of(y)).abs()))
    for z, other, axes, first in ((x, right, axes_a, True), (y, left, axes_b, False)):
        if (lost := _tf32(analysis, z)) is not None:
            cut = _noise(analysis, product, z.value, lost, other, axes, first) + 2.0**-11 * value.abs()
            if bool((beyond := lost - 2.0**-11 * z.value.abs()).gt(0).any()):
                cut = cut + (product(beyond.clamp(min=0), other) if first else product(other, beyond.clamp(min=0)))
            parts.append(Part(analysis.label("float32 operands truncated to tf32"), cut))
    local = _accumulation(analysis, product, x, y, value, scale, n, _equal_terms(analysis, x, y, axes_a, axes_b, value, n))
    parts.append(Part(adding(analysis, n) + (" products" if n > 1 else ""), torch.where(torch.isfinite(value), local, 0.0)))
    return build(value, parts)


def _noise(
    analysis: Analysis, product: Product, value: torch.Tensor, noise: torch.Tensor, other: torch.Tensor, axes: Axes, first: bool
) -> torch.Tensor:
    """Independent errors of one operand's elements, weighted by the other operand."""
    weighted = repeats(value, noise, axes).clamp(min=1.0) * noise * noise
    squares = other * other
    sure = product(noise, other) if first else product(other, noise)
    likely = product(weighted, squares) if first else product(squares, weighted)
    return torch.minimum(sure, analysis.arithmetic.confidence * torch.sqrt(likely))


def _equal_terms(
    analysis: Analysis, x: ErrorTensor, y: ErrorTensor, axes_a: Axes, axes_b: Axes, value: torch.Tensor, n: int
) -> torch.Tensor:
    """About how many of an element's terms are equal: those equal in one operand times the fraction equal in the other."""
    a, b = x.value, y.value
    if n <= analysis.arithmetic.confidence**2:  # then all additions may go wrong in the same direction
        return torch.ones_like(value)
    rows = most_equal(analysis, a, axes_a, keep=x.error is None)
    columns = most_equal(analysis, b, axes_b, keep=y.error is None)
    if a.ndim == b.ndim == value.ndim and tuple(axes_a) == (a.ndim - 1,) and tuple(axes_b) == (b.ndim - 2,):
        return rows * columns / n
    return rows.max() * columns.max() / n


def _accumulation(
    analysis: Analysis,
    product: Product,
    x: ErrorTensor,
    y: ErrorTensor,
    value: torch.Tensor,
    scale: torch.Tensor,
    n: int,
    equal: torch.Tensor,
) -> torch.Tensor:
    """Rounding of the products and additions, and the tensor cores' truncation."""
    u = analysis.roundoff
    likely = growth(analysis, torch.full_like(value, float(n)), equal) * u * scale
    underflow = torch.where(scale > 0, n * subnormal(analysis, 0.5), 0.0)
    local = likely + n / TENSOR_CORE_GROUP * u * value.abs() + underflow
    bits = analysis.arithmetic.fp8_accumulator_bits
    if bits and all(z.grid in ("float8_e4m3fn", "float8_e5m2") for z in (x, y)):
        running = value.abs() + analysis.arithmetic.confidence * torch.sqrt(product(x.value * x.value, y.value * y.value))
        local = local + math.ceil(n / FP8_GROUP) * 2.0**-bits * running
    local = torch.where(scale >= overflow_threshold(analysis.compute), torch.inf, local)  # a partial sum may overflow
    if x.is_exact and y.is_exact and _integral(x.value) and _integral(y.value):
        local = torch.where(scale <= EXACT_INTEGERS, 0.0, local)
    return local


def _integral(t: torch.Tensor) -> bool:
    return bool((t == torch.round(t)).all())


@rule("mm", "bmm")
def matrix_product(analysis: Analysis, func: Any, a: Any, b: Any) -> ErrorTensor:
    x, y = analysis.exact(a), analysis.exact(b)
    last = x.value.ndim - 1
    return contract(analysis, torch.matmul, x, y, (last,), (last - 1,), x.value.shape[-1])


@rule("mv", "dot", "vdot")
def vector_product(analysis: Analysis, func: Any, a: Any, b: Any) -> ErrorTensor:
    x, y = analysis.exact(a), analysis.exact(b)
    return contract(analysis, torch.matmul, x, y, (x.value.ndim - 1,), (0,), y.value.shape[0])


@rule("addmm", "baddbmm", "addmv")
def add_product(analysis: Analysis, func: Any, c: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    result: Any = (vector_product if analysis.exact(b).value.ndim == 1 else matrix_product)(analysis, None, a, b)
    if alpha != 1:
        result = analysis.call("mul", result, alpha)
    scaled = c if beta == 1 else analysis.call("mul", c, beta)
    return analysis.call("add", result, scaled)


@rule("convolution")
def convolution(analysis: Analysis, func: Any, x: Any, weight: Any, bias: Any, *geometry: Any) -> Any:
    """Any rank; channels times window are summed."""
    signal, kernel = analysis.exact(x), analysis.exact(weight)
    stride, padding, dilation, transposed, output_padding, groups = geometry
    if transposed:
        raise TypeError("transposed convolution")

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.ops.aten.convolution.default(a, b, None, stride, padding, dilation, False, output_padding, groups)
        return made

    axes = tuple(range(1, kernel.value.ndim))
    result = contract(analysis, product, signal, kernel, axes, axes, kernel.value[0].numel())
    if bias is None:
        return result
    shape = [1, -1, *[1] * (kernel.value.ndim - 2)]
    return analysis.call("add", result, move(torch.reshape, analysis.exact(bias), shape))


@rule("avg_pool2d", "avg_pool1d")
def average_pool(analysis: Analysis, func: Any, x: Any, *geometry: Any) -> ErrorTensor:
    """A sum over each window: errors linear."""
    x = analysis.exact(x)
    value, window = func(x.value, *geometry), math.prod(geometry[0])
    local = growth(analysis, torch.full_like(value, window), window) * analysis.roundoff * func(x.value.abs(), *geometry)
    return build(value, [Part(x, func(x.bound, *geometry)), Part(adding(analysis, window), local)])


@rule("prod")
def prod(analysis: Analysis, func: Any, x: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> ErrorTensor:
    """Relative errors multiply: prod(|x| + e) - prod|x|."""
    x = analysis.exact(x)
    axes = axes_of(x.value, dim)

    def reduce(t: torch.Tensor) -> torch.Tensor:
        return t.prod() if dim is None else t.prod(dim, keepdim=keepdim)

    value, size = reduce(x.value), reduce(x.value.abs())
    local = ulps(0.5 * count(x.value, axes))(analysis, value, value)
    return build(value, [Part(x, reduce(x.value.abs() + x.bound) - size), Part(analysis.label(ARITHMETIC), local)])
