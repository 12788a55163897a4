"""Error rules of softmax, normalisations and attention, as their parts or, for softmax, by its own condition."""

from __future__ import annotations

import math
from typing import Any

import torch

from mosaic.harness import arithmetic as published
from mosaic.harness.error_tensor import Analysis, ErrorTensor, Part, build, rule
from mosaic.harness.rules_arithmetic import drift_of, subtract
from mosaic.harness.rules_functions import split
from mosaic.harness.rules_structure import move
from mosaic.harness.rules_sums import axes_of, growth_of_sum, repeats, running_mean


def _shift(analysis: Analysis, x: ErrorTensor, axes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For softmax along `axes`: log y; how far errors and noise of the inputs may shift the log of the sum.

    log sum y exp(d) <= log sum y exp(e) for |d| <= e. For independent noise s: lambda sqrt(sum (y s)^2) to first
    order, plus its square, where s is small.
    """
    logits = x.value - torch.logsumexp(x.value, axes, keepdim=True)
    error = torch.zeros_like(x.value) if x.error is None else x.error
    shift = torch.logsumexp(logits + error, axes, keepdim=True).clamp(min=0.0)
    if x.noise is not None:
        weights = torch.exp(logits)
        sure = torch.logsumexp(logits + x.noise, axes, keepdim=True).clamp(min=0.0)
        squares = repeats(x.value, x.noise, axes).clamp(min=1.0) * (weights * x.noise) ** 2
        likely = analysis.arithmetic.confidence * torch.sqrt(squares.sum(axes, keepdim=True))
        likely = likely + (weights * drift_of(x)).sum(axes, keepdim=True).abs()
        second = (weights * x.noise * x.noise).sum(axes, keepdim=True)
        shift = shift + torch.where(x.noise.amax(axes, keepdim=True) < 0.25, torch.minimum(sure, likely + second), sure)
    return logits, error, shift


def _rounding(analysis: Analysis, x: torch.Tensor, axes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rounding of exp(x - max), relative, and of its sum, relative.

    Kernels compute exp2(x c - max c), so that x and the maximum are rounded, not only their difference.
    """
    u, counted = analysis.roundoff, x != -math.inf
    finite = torch.where(torch.isfinite(x), x, 0.0)
    top = torch.where(counted, finite, -math.inf).amax(axes, keepdim=True)
    top = torch.where(torch.isfinite(top), top, 0.0)
    slope = published.EXP_ULPS + published.EXP_ULPS_SLOPE * (top - finite).clamp(min=0.0)
    relative = 2.0 * u * (finite.abs() + top.abs() + slope)
    weights = torch.where(counted, torch.exp(finite - top), 0.0)
    of_terms = (relative * weights).sum(axes, keepdim=True) / weights.sum(axes, keepdim=True).clamp(min=1e-300)
    return relative, of_terms + u * growth_of_sum(analysis, weights, axes, keepdim=True)


@rule("_softmax", "softmax", "_safe_softmax")
def softmax(analysis: Analysis, func: Any, x: Any, dim: int, *rest: Any, **options: Any) -> ErrorTensor:
    """y exp(d) with |d| <= error of x + shift of the log-sum. Never outside [0, 1]. A row of -inf is NaN."""
    x = analysis.exact(x)
    axes = axes_of(x.value, dim)
    logits, error, shift = _shift(analysis, x, axes)
    relative, of_sum = _rounding(analysis, x.value, axes)
    value = torch.softmax(x.value, dim)
    if func is not None and "safe" in str(func._schema.name):
        value = torch.where((x.value == -math.inf).all(dim, keepdim=True), 0.0, value)
    total = error + shift
    moved = _grow(logits, value, total)
    local = _grow(logits, value, total + relative + of_sum + 8.0 * analysis.roundoff) - moved
    local = torch.where(value == 0, 0.0, local) + analysis.compute.smallest
    parts = [Part(x, moved), Part(analysis.label(f"softmax over {x.value.shape[axes[0]]} in {analysis.compute.name}"), local)]
    if x.noise is not None:
        own = _grow(logits, value, total + x.noise) - moved
        parts.append(Part(x, *split(x.noise, x.noise, own), value * drift_of(x)))
    made = build(value, parts, lineage=x.lineage)
    unknown = torch.isinf(x.bound).any(dim, keepdim=True)  # perhaps a NaN, which spreads over the row
    return _within(made, torch.where(unknown, torch.inf, torch.maximum(value, 1.0 - value)))


def _grow(logits: torch.Tensor, value: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """value (exp(by) - 1), also where exp(by) alone is too large."""
    small = value * torch.expm1(by.clamp(max=1.0))
    return torch.where(by <= 1.0, small, torch.exp(logits + by) - value)


def _within(x: ErrorTensor, most: torch.Tensor) -> ErrorTensor:
    """Nothing can be off by more than `most`."""
    bound = x.bound
    shrink = torch.where(bound > most, most, bound)
    return build(x.value, [Part(x, *split(x.noise, bound, shrink), x.drift)], lineage=x.lineage)


@rule("_log_softmax", "log_softmax")
def log_softmax(analysis: Analysis, func: Any, x: Any, dim: int, *rest: Any, **options: Any) -> ErrorTensor:
    x = analysis.exact(x)
    axes = axes_of(x.value, dim)
    _, error, shift = _shift(analysis, x, axes)
    value = torch.log_softmax(x.value, dim)
    local = Part(analysis.label("log of a sum of exponentials"), _log_rounding(analysis, x, value, axes))
    return build(value, [Part(x, error + shift, x.noise, x.drift), local], lineage=x.lineage)


@rule("logsumexp")
def logsumexp(analysis: Analysis, func: Any, x: Any, dim: Any, keepdim: bool = False) -> ErrorTensor:
    x = analysis.exact(x)
    axes = axes_of(x.value, dim)
    _, _, shift = _shift(analysis, x, axes)
    value = torch.logsumexp(x.value, axes, keepdim=True)
    parts = [Part(x, shift), Part(analysis.label("log of a sum of exponentials"), _log_rounding(analysis, x, value, axes))]
    made = build(value, parts)
    return made if keepdim else move(torch.reshape, made, torch.logsumexp(x.value, axes).shape)


def _log_rounding(analysis: Analysis, x: ErrorTensor, value: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Relative errors of the sum, the logarithm's own, and the rounding of max + log."""
    _, of_sum = _rounding(analysis, x.value, axes)
    largest = torch.where(torch.isfinite(x.value), x.value.abs(), 0.0).amax(axes, keepdim=True)
    count = math.prod(x.value.shape[a] for a in axes)
    near = published.LOG_ABSOLUTE * analysis.roundoff / 2.0**-24 + 2.0 * published.LOG_ULPS * analysis.roundoff * math.log(max(count, 2))
    local = of_sum + near + 4.0 * analysis.roundoff * (largest + torch.where(torch.isfinite(value), value.abs(), 0.0))
    return local.expand(value.shape)


@rule("native_layer_norm")
def layer_norm(analysis: Analysis, func: Any, x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> tuple[ErrorTensor, ...]:
    x = analysis.exact(x)
    axes = list(range(x.value.ndim - len(shape), x.value.ndim))
    mean = running_mean(analysis, x, tuple(axes))
    scale = analysis.call("rsqrt", analysis.call("add", analysis.call("var", x, axes, correction=0, keepdim=True), eps))
    made = analysis.call("mul", subtract(analysis, x, mean), scale)
    if weight is not None:
        made = analysis.call("mul", made, weight)
    if bias is not None:
        made = analysis.call("add", made, bias)
    return made, mean, scale


@rule("native_group_norm")
def group_norm(
    analysis: Analysis, func: Any, x: Any, weight: Any, bias: Any, batch: int, channels: int, inner: int, groups: int, eps: float
) -> tuple[ErrorTensor, ...]:
    x = analysis.exact(x)
    shape = x.value.shape
    flat = move(torch.reshape, x, (batch, groups, channels // groups * inner))
    made, mean, scale = layer_norm(analysis, None, flat, (flat.value.shape[-1],), None, None, eps)
    made = move(torch.reshape, made, shape)
    columns = (1, channels, *[1] * (len(shape) - 2))
    if weight is not None:
        made = analysis.call("mul", made, move(torch.reshape, analysis.exact(weight), columns))
    if bias is not None:
        made = analysis.call("add", made, move(torch.reshape, analysis.exact(bias), columns))
    return made, mean, scale


@rule("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math")
def attention(
    analysis: Analysis, func: Any, q: Any, k: Any, v: Any, *options: Any, attn_mask: Any = None, scale: Any = None, **named: Any
) -> tuple[ErrorTensor, ErrorTensor]:
    """softmax(q k^T scale + mask) v, as its parts."""
    causal = bool(named.get("is_causal", options[1] if len(options) > 1 else False))
    query, key, value = (analysis.exact(t) for t in (q, k, v))
    scores = _batched(analysis, query, move(torch.transpose, key, -1, -2))
    scores = analysis.call("mul", scores, scale if scale is not None else 1.0 / math.sqrt(query.value.shape[-1]))
    if causal:
        keep = torch.ones(scores.value.shape[-2:], dtype=torch.bool).tril()
        scores = analysis.call("masked_fill", scores, ~keep, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = analysis.call("where", attn_mask, scores, -math.inf)
    elif attn_mask is not None:
        scores = analysis.call("add", scores, attn_mask)
    made = _batched(analysis, softmax(analysis, None, scores, scores.value.ndim - 1), value)
    return made, logsumexp(analysis, None, scores, -1)


def _batched(analysis: Analysis, a: ErrorTensor, b: ErrorTensor) -> ErrorTensor:
    made: ErrorTensor = analysis.call("bmm", a, b)
    return made
