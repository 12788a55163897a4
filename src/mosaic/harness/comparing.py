"""Whether what a run gave is right: type, shape, dtype, memory of its own, inputs untouched, and every element within its bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch

from mosaic.harness.bound import BLOCK, Bound
from mosaic.harness.oracle import Inputs, Question, tensor_of
from mosaic.harness.player import UNWRITTEN, Returned
from mosaic.harness.report import LOOSEST
from mosaic.harness.wire import Place

SHARED_OUTPUT: Final = "mosaic.shared_output"
"""Failure class: two calls returned the same memory, so the second call overwrote what the first had returned."""


@dataclass(frozen=True)
class Finding:
    """One output of one run. kind: failure class, None if it is right; `conclusive`: whether its bound could have shown an error."""

    case: str
    output: str
    distribution: str
    trial: int
    kind: str | None = None
    message: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    nans: int = 0
    infinities: int = 0
    conclusive: bool = True


@dataclass(frozen=True)
class Where:
    """Which run a finding is of."""

    case: str
    distribution: str
    trial: int


def judged(where: Where, question: Question, returned: Returned, outputs: Sequence[tuple[str, str, tuple[int, ...]]]) -> list[Finding]:
    """Findings on all outputs of a run."""
    whole = _whole(question.inputs, returned, outputs)
    if whole is not None:
        name, kind, message = whole
        return [Finding(where.case, name, where.distribution, where.trial, kind, message, conclusive=False)]
    return [compared(where, name, question.bounds[name], *returned.outputs[name]) for name, _, _ in outputs]


def _whole(inputs: Inputs, returned: Returned, outputs: Sequence[tuple[str, str, tuple[int, ...]]]) -> tuple[str, str, str] | None:
    """What is wrong without looking at values: output, failure class, message."""
    described = returned.described
    for index, (name, dtype, shape) in enumerate(outputs):
        if index >= len(described):
            return name, "missing_output", f"{len(described)} outputs were returned, so that there is no {name!r}"
        if (problem := _form(name, described[index], dtype, shape)) is not None:
            return name, *problem
    if len(described) > len(outputs):
        return outputs[0][0], "wrong_type", f"{len(described)} outputs were returned, not {len(outputs)}"
    for (where, data), after in zip(inputs.tensors, returned.echo, strict=False):
        if data != after:
            return outputs[0][0], "input_mutated", f"the input {where.name!r} was changed in place"
    for index, what, other in returned.aliases:
        name = outputs[min(index, len(outputs) - 1)][0]
        if what == "input":
            held = inputs.tensors[other][0].name if other < len(inputs.tensors) else str(other)
            return name, "cheat.input_returned", f"{name!r} lies in the memory of the input {held!r}"
        return name, SHARED_OUTPUT, f"{name!r} lies in the memory that an earlier call had returned"
    return None


def _form(name: str, about: Mapping[str, Any], dtype: str, shape: tuple[int, ...]) -> tuple[str, str] | None:
    if about.get("subclass"):
        return "cheat.lazy_tensor", f"{name!r} is a {about.get('type')}, a kind of tensor of its own, whose values may not exist yet"
    if about.get("type") != "Tensor":
        return "wrong_type", f"{name!r} is a {str(about.get('type'))[:100]}, not a plain tensor"
    found = tuple(about.get("shape", ()))
    if found != shape:
        return "wrong_shape", f"{name!r} has the shape {found}, not {shape}"
    if about.get("dtype") != dtype:
        return "wrong_dtype", f"{name!r} is {str(about.get('dtype'))[:50]}, not {dtype}"
    return None


def compared(where: Where, name: str, bound: Bound, place: Place, data: bytes) -> Finding:
    """One output's bytes against its bound."""
    identity = (where.case, name, where.distribution, where.trial)
    got = tensor_of(place.dtype, place.shape, data)
    if not got.numel():
        return Finding(*identity)
    low, high, nans, infinities = _extent(got)
    comparison = bound.compare(got)
    worst = comparison.worst
    ratio = float(comparison.ratio[worst])
    most = None if math.isnan(ratio) else min(ratio, 1e300)
    made = partial(Finding, *identity, ratio=most, low=low, high=high, nans=nans, infinities=infinities)
    if comparison.passed:
        sure = comparison.unchecked < 0.5 and not bound.is_looser(LOOSEST)
        return made(message="" if sure else _unsure(bound, comparison.unchecked), conclusive=sure)
    kind, message = _wrong(name, bound, got, data, worst, int((comparison.ratio > 1).sum()))
    return made(kind=kind, message=message)


def _extent(got: torch.Tensor) -> tuple[float | None, float | None, int, int]:
    """The smallest and the largest finite element (None if there is none), and the numbers of NaNs and infinities."""
    low, high, nans, infinities = math.inf, -math.inf, 0, 0
    flat = got.reshape(-1)
    for start in range(0, flat.numel(), BLOCK):
        part = flat[start : start + BLOCK].to(torch.float64)
        least, most = (float(end) for end in torch.aminmax(part))
        if not math.isfinite(least - most):
            nans += int(torch.isnan(part).sum())
            infinities += int(torch.isinf(part).sum())
            part = part[torch.isfinite(part)]
            least, most = (float(part.min()), float(part.max())) if part.numel() else (math.inf, -math.inf)
        low, high = min(low, least), max(high, most)
    return (low, high, nans, infinities) if low <= high else (None, None, nans, infinities)


def _wrong(name: str, bound: Bound, got: torch.Tensor, data: bytes, worst: tuple[int, ...], count: int) -> tuple[str, str]:
    if data == bytes([UNWRITTEN]) * len(data):
        return "missing_output", f"{name!r} was not written"
    found, value, allowed = (float(t[worst]) for t in (got.to(torch.float64), bound.value, bound.error))
    kind = "mismatch"
    if math.isnan(found) and not math.isnan(value):
        kind = "nan"
    elif math.isinf(found) and not math.isinf(value):
        kind = "infinity"
    place = f"{name}[{', '.join(map(str, worst))}]"
    share = f"{count} of {got.numel()} elements are wrong"
    if bound.choices is not None:
        return kind, f"{place} is {found:.9g}, which is none of the right indices; {share}"
    return kind, f"{place} is {found:.9g}, but must be {value:.9g} ± {allowed:.3g}; {share}"


def _unsure(bound: Bound, unchecked: float) -> str:
    return f"the bound is {bound.looseness:.3g} of a typical value, and {unchecked:.0%} of the elements have none: an error might not show"
