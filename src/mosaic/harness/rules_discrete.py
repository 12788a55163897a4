"""Error rules where results are discrete: comparisons, selections, casts, extremes and indices.

A truth value is uncertain (error 1) where the sides differ by no more than their errors. A selection by an uncertain
condition may give either operand. An index is right if its element may be the extreme one within the errors (`Choices`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.dtypes import dtype as find_dtype
from mosaic.harness.error_tensor import Analysis, Choices, ErrorTensor, Part, build, gap, join_lineage, rule
from mosaic.harness.rules_arithmetic import drift_of, noise_of
from mosaic.harness.rules_functions import stepwise
from mosaic.harness.rules_structure import copy, move
from mosaic.harness.rules_sums import axes_of

COMPARISONS: Final[dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": torch.eq,
    "ne": torch.ne,
}
UNCERTAIN: Final = "a comparison that is not certain"


def truth(analysis: Analysis, value: torch.Tensor, uncertain: torch.Tensor) -> torch.Tensor:
    """A plain bool tensor if all is certain, else an ErrorTensor that claims bool."""
    if not bool(uncertain.any()):
        return value.to(torch.bool)
    analysis.certain = False
    return build(value.to(torch.float64), [Part(analysis.label(UNCERTAIN), uncertain.to(torch.float64))], dtype=torch.bool)


@rule(*COMPARISONS)
def compare(analysis: Analysis, func: Any, a: Any, b: Any) -> torch.Tensor:
    x, y = analysis.exact(a), analysis.exact(b)
    value = COMPARISONS[str(func._schema.name).partition("::")[2]](x.value, y.value)
    bound = x.bound + y.bound
    return truth(analysis, value, (gap(x.value, y.value) <= bound) & (bound > 0))


@rule("logical_and", "bitwise_and", "__and__", "logical_or", "bitwise_or", "__or__", "logical_not", "bitwise_not", "logical_xor")
def logic(analysis: Analysis, func: Any, a: Any, b: Any = None) -> torch.Tensor:
    """Of truth values; bits of uncertain integers have no rule."""
    name = str(func._schema.name).partition("::")[2].removeprefix("logical_").removeprefix("bitwise_").strip("_")
    x, y = analysis.exact(a), analysis.exact(0.0 if b is None else b)
    if any(isinstance(t, torch.Tensor) and t.dtype != torch.bool for t in (a, b)):
        raise analysis.refuse(name, "on integers that are not certain, or on floats")
    if name == "not":
        return truth(analysis, 1.0 - x.value, x.bound > 0)
    if name == "xor":
        return truth(analysis, (x.value != y.value).to(torch.float64), (x.bound > 0) | (y.bound > 0))
    choose = torch.minimum if name == "and" else torch.maximum
    value, low, high = (choose(x.value + s * x.bound, y.value + s * y.bound).clamp(0.0, 1.0) for s in (0.0, -1.0, 1.0))
    return truth(analysis, value, low != high)


@rule("where")
def where(analysis: Analysis, func: Any, condition: Any, a: Any, b: Any) -> ErrorTensor:
    """Either operand where the condition is uncertain: the error reaches the farther one."""
    x, y = analysis.exact(a), analysis.exact(b)
    test = analysis.exact(condition)
    yes = test.value != 0
    value = torch.where(yes, x.value, y.value)
    bound = torch.where(yes, x.bound, y.bound)
    noise = drift = None
    if (lineage := join_lineage(x, y)) and all(t.noise is None or t.value.shape == value.shape for t in (x, y)):
        noise, drift = torch.where(yes, noise_of(x), noise_of(y)), torch.where(yes, drift_of(x), drift_of(y))
    cause = x if bool(x.bound.any()) else y
    parts = [Part(cause, bound if noise is None else bound - noise, noise, drift)]
    if not test.is_exact:
        other = torch.where(yes, y.bound + gap(y.value, x.value), x.bound + gap(x.value, y.value))
        parts.append(Part(test, torch.where(test.bound > 0, (other - bound).clamp(min=0.0), 0.0).expand(value.shape)))
    grid = x.grid if x.grid == y.grid or _harmless(y) else y.grid if _harmless(x) else None
    return build(value, parts, lineage=lineage or frozenset(), grid=grid)


def _harmless(x: ErrorTensor) -> bool:
    """One number that every float dtype holds: 0, or an infinity."""
    return x.value.numel() == 1 and (float(x.value) == 0.0 or not bool(torch.isfinite(x.value).all()))


@rule("masked_fill")
def masked_fill(analysis: Analysis, func: Any, x: Any, mask: Any, value: Any) -> ErrorTensor:
    made: ErrorTensor = where(analysis, None, mask, value, x)
    return made


@rule("isnan", "isinf", "isfinite")
def classify(analysis: Analysis, func: Any, x: Any) -> torch.Tensor:
    x = analysis.exact(x)
    tests = {"isnan": torch.isnan, "isinf": torch.isinf, "isfinite": torch.isfinite}
    return truth(analysis, tests[str(func._schema.name).partition("::")[2]](x.value), torch.isinf(x.bound))


@rule("_to_copy", "to")
def cast(analysis: Analysis, func: Any, x: Any, *target: Any, dtype: Any = None, **placement: Any) -> torch.Tensor:
    """To a float dtype: may be rounded there. To an integer: towards zero. To bool: unequal to zero."""
    x = analysis.exact(x)
    dtype = next((item for item in target if isinstance(item, torch.dtype)), dtype)
    if dtype is None:
        same: ErrorTensor = copy(analysis, None, x)
        return same
    if dtype is torch.bool:
        return truth(analysis, x.value != 0, (x.value.abs() <= x.bound) & (x.bound > 0))
    if dtype.is_floating_point:
        name = find_dtype(dtype).name
        settled = x if x.dtype == torch.float64 else ErrorTensor(x.value, x.error, shares=x.shares)
        made = analysis.rounded(settled, DTYPES[name], f"rounding to {name} in the reference")
        return build(made.value.clone(), [analysis.carry(made)], lineage=made.lineage, grid=made.grid)
    whole = stepwise(analysis, _representable(analysis, x, dtype), torch.trunc)
    if whole.is_exact:
        return whole.value.to(dtype)
    return ErrorTensor(whole.value, whole.bound, shares=whole.shares, choices=x.choices, dtype=dtype)


def _representable(analysis: Analysis, x: ErrorTensor, dtype: torch.dtype) -> ErrorTensor:
    """Nothing is known of the integer that a NaN, an infinity or a number out of range becomes: hardware differs."""
    info = torch.iinfo(dtype)
    outside = ~((x.value > info.min - 1.0) & (x.value < info.max + 1.0))
    if not bool(outside.any()):
        return x
    lost = Part(analysis.label(f"out of the range of {find_dtype(dtype).name}"), torch.where(outside, torch.inf, 0.0))
    return build(torch.where(outside, 0.0, x.value), [analysis.carry(x), lost])


@rule("amax", "amin")
def extreme_of(analysis: Analysis, func: Any, x: Any, dim: Any = None, keepdim: bool = False) -> ErrorTensor:
    return _extreme(analysis, analysis.exact(x), dim, keepdim, func is None or func._schema.name == "aten::amax")


def _extreme(analysis: Analysis, x: ErrorTensor, dim: Any, keepdim: bool, largest: bool) -> ErrorTensor:
    """The extreme one of values that may each be anywhere within their bounds."""
    axes = axes_of(x.value, dim)

    def reduce(t: torch.Tensor) -> torch.Tensor:
        if not axes:
            return t.clone()
        return t.amax(axes, keepdim=keepdim) if largest else t.amin(axes, keepdim=keepdim)

    value = reduce(x.value)
    moved = torch.maximum(gap(reduce(x.value + x.bound), value), gap(reduce(x.value - x.bound), value))
    return build(value, [Part(x, moved)], grid=x.grid)


@rule("max_reduction")
def max_reduction(analysis: Analysis, func: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _with_index(analysis, analysis.exact(x), dim, keepdim, True)


@rule("min_reduction")
def min_reduction(analysis: Analysis, func: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return _with_index(analysis, analysis.exact(x), dim, keepdim, False)


def _with_index(analysis: Analysis, x: ErrorTensor, dim: Any, keepdim: bool, largest: bool) -> Any:
    value = _extreme(analysis, x, dim, keepdim, largest)
    return value if dim is None else (value, _index_of_extreme(analysis, x, dim, keepdim, largest))


def _index_of_extreme(analysis: Analysis, x: ErrorTensor, dim: int | None, keepdim: bool, largest: bool) -> torch.Tensor:
    if dim is None:
        made = _index_of_extreme(analysis, move(torch.reshape, x, (-1,)), 0, False, largest)
        return made.reshape([1] * x.ndim) if keepdim else made
    sign = 1.0 if largest else -1.0
    values, bound = sign * x.value.movedim(dim, -1), x.bound.movedim(dim, -1)
    index = (values.argmax(-1) if largest else x.value.movedim(dim, -1).argmin(-1)).to(torch.int64)
    floor = (values - bound).amax(-1, keepdim=True)
    allowed = (values + bound >= floor) | torch.isnan(floor)  # kernels differ in what they make of a NaN
    if keepdim:
        index, allowed = index.unsqueeze(dim), allowed.unsqueeze(dim)
    return _indices(analysis, index, allowed)


def _indices(analysis: Analysis, index: torch.Tensor, allowed: torch.Tensor, distinct: bool = False) -> torch.Tensor:
    """A plain int64 tensor if only one index is right everywhere, else an ErrorTensor with the `Choices`.

    Its error is the distance to the farthest right index.
    """
    if bool((allowed.sum(-1) == 1).all()):
        return index
    analysis.certain = False
    places = torch.arange(allowed.shape[-1], dtype=torch.float64)
    distance = torch.where(allowed, (places - index.unsqueeze(-1)).abs(), 0.0).amax(-1)
    part = Part(analysis.label("candidates that are equal within their errors"), distance)
    return build(index.to(torch.float64), [part], choices=Choices(allowed, distinct), dtype=torch.int64)


@rule("argmax", "argmin")
def index_of_extreme(analysis: Analysis, func: Any, x: Any, dim: int | None = None, keepdim: bool = False) -> torch.Tensor:
    largest = func is None or func._schema.name == "aten::argmax"
    return _index_of_extreme(analysis, analysis.exact(x), dim, keepdim, largest)


@rule("topk")
def topk(analysis: Analysis, func: Any, x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k extreme values in order, and their indices: the j-th value moves by no more than the bound of any."""
    return _ranked(analysis, analysis.exact(x), dim, k, largest)


@rule("sort")
def sort(analysis: Analysis, func: Any, x: Any, dim: int = -1, descending: bool = False, **options: Any) -> Any:
    x = analysis.exact(x)
    return _ranked(analysis, x, int(options.get("dim", dim)), x.value.shape[dim], bool(descending))


def _ranked(analysis: Analysis, x: ErrorTensor, dim: int, k: int, largest: bool) -> tuple[ErrorTensor, torch.Tensor]:
    values, bound = x.value.movedim(dim, -1), x.bound.movedim(dim, -1)
    chosen = values.topk(k, -1, largest=largest, sorted=True)
    reach = [
        gap(torch.where(torch.isnan(t), values, t).topk(k, -1, largest=largest, sorted=True).values, chosen.values)
        for t in (values + bound, values - bound)
    ]
    moved = torch.maximum(*reach)
    value = build(chosen.values.movedim(-1, dim), [Part(x, moved.movedim(-1, dim))], grid=x.grid)
    # candidate i may stand at rank j if its interval meets that of the j-th value
    allowed = (values.unsqueeze(-2) - chosen.values.unsqueeze(-1)).abs() <= bound.unsqueeze(-2) + moved.unsqueeze(-1)
    allowed = allowed | torch.isnan(values + bound).any(-1).unsqueeze(-1).unsqueeze(-1)
    index, dim = chosen.indices, dim % x.value.ndim
    return value, _indices(analysis, index.movedim(-1, dim), allowed.movedim(-2, dim), distinct=dim == x.value.ndim - 1)


@rule("max_pool2d_with_indices", "max_pool1d_with_indices")
def max_pool(analysis: Analysis, func: Any, x: Any, *geometry: Any) -> tuple[ErrorTensor, torch.Tensor]:
    """Extremes of windows: monotone in every element. The indices are the reference's."""
    x = analysis.exact(x)
    value, index = func(x.value, *geometry)
    moved = torch.maximum(gap(func(x.value + x.bound, *geometry)[0], value), gap(func(x.value - x.bound, *geometry)[0], value))
    uncertain = build(index.to(torch.float64), [Part(analysis.label(UNCERTAIN), torch.where(moved > 0, torch.inf, 0.0))], dtype=torch.int64)
    return build(value, [Part(x, moved)], grid=x.grid), uncertain
