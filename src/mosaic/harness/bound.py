"""What an output must be, and how a candidate's tensor compares with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import InputError
from mosaic.harness.arithmetic import overflow_threshold
from mosaic.harness.error_tensor import Choices

BLOCK: Final = 1 << 15
"""Elements that are compared at once: their intermediate tensors stay in a processor's cache, and no other thread is waited for."""


@dataclass(frozen=True)
class Comparison:
    """A candidate's tensor against a bound.

    ratio: float64, |got - value| / error for each element: at most 1 if it is right; infinite where a NaN, an
    infinity or an exact number is wrong. unchecked: fraction of elements of which nothing is known.
    """

    ratio: torch.Tensor
    unchecked: float

    @cached_property
    def _farthest(self) -> int:
        return int(self.ratio.reshape(-1).argmax())

    @property
    def passed(self) -> bool:
        return not self.ratio.numel() or bool(self.ratio.reshape(-1)[self._farthest] <= 1.0)

    @property
    def worst(self) -> tuple[int, ...]:
        """Index of the element that is farthest out."""
        rest, index = self._farthest, []
        for size in reversed(self.ratio.shape):  # PyTorch's own unravel_index imports all of SymPy
            rest, place = divmod(rest, size)
            index.append(place)
        return tuple(reversed(index))


@dataclass(frozen=True)
class Bound:
    """What a graph's output must be.

    value: float64, the reference. error: float64 >= 0, rounding to `dtype` included. dtype: that of the output.
    shares: the causes of the error as fractions of it (an estimate). choices: right indices, where several are.
    """

    value: torch.Tensor
    error: torch.Tensor
    dtype: str
    shares: Mapping[str, float] = field(default_factory=dict)
    choices: Choices | None = None

    @property
    def explanation(self) -> str:
        """Where the bound comes from."""
        return _explain(self)

    @property
    def looseness(self) -> float:
        """Median error over the reference's root mean square: what fraction of a typical value may be wrong. 0 if exact."""
        sound = torch.isfinite(self.error) & torch.isfinite(self.value)
        if not bool(sound.any()) or self.choices is not None:
            return 0.0 if self.choices is not None else torch.inf
        size = float(torch.sqrt((self.value[sound] ** 2).mean()))
        middle = float(self.error[sound].median())
        return middle / size if size > 0 else (0.0 if middle == 0 else torch.inf)

    def is_looser(self, limit: float) -> bool:
        """Whether `looseness` is above a limit, which is told without sorting the errors."""
        if self.choices is not None:
            return limit < 0
        count, squares, unsound = 0, 0.0, False
        value, error = self.value.reshape(-1), self.error.reshape(-1)
        for start in range(0, value.numel(), BLOCK):
            part, allowed = value[start : start + BLOCK], error[start : start + BLOCK]
            square = float((part * part).sum())
            if not math.isfinite(square + float(allowed.sum())):
                sound = torch.isfinite(allowed) & torch.isfinite(part)
                part, unsound = part[sound], True
                square = float((part * part).sum())
            count, squares = count + part.numel(), squares + square
        if not math.isfinite(squares) or not count:
            return self.looseness > limit
        most = limit * math.sqrt(squares / count)
        within = 0
        for start in range(0, value.numel(), BLOCK):
            allowed = error[start : start + BLOCK]
            fine = allowed <= most
            within += int((fine & torch.isfinite(value[start : start + BLOCK])).sum() if unsound else fine.sum())
        return within < (count + 1) // 2

    def compare(self, got: torch.Tensor) -> Comparison:
        """Compare a candidate's tensor of the right shape. Raises InputError for another shape.

        A NaN is right exactly where the reference has one. A float that overflows its dtype within the error may be
        infinite, the largest number, or (where the dtype has no infinity) NaN.
        """
        if tuple(got.shape) != tuple(self.value.shape):
            raise InputError(f"a tensor of the shape {tuple(got.shape)} cannot be compared with one of {tuple(self.value.shape)}")
        found = got.detach().to("cpu")
        if self.choices is not None:
            return Comparison(_choice_ratio(self.choices, found.to(torch.float64)), 0.0)
        ratio, unknown = torch.empty(self.value.shape, dtype=torch.float64), 0
        flat = [tensor.reshape(-1) for tensor in (found, self.value, self.error, ratio)]
        for start in range(0, ratio.numel(), BLOCK):
            part, value, error, into = (tensor[start : start + BLOCK] for tensor in flat)
            unknown += self._ratio(part.to(torch.float64), value, error, into)
        return Comparison(ratio, unknown / max(ratio.numel(), 1))

    def _ratio(self, found: torch.Tensor, value: torch.Tensor, error: torch.Tensor, into: torch.Tensor) -> int:
        """The ratios of a block, and how many of its elements are unknown."""
        torch.div((found - value).abs_(), error, out=into)
        if float(into.max()) <= 1.0 and math.isfinite(float(error.max())):  # all is well; a NaN would be the largest
            return 0
        difference = torch.where(found == value, 0.0, (found - value).abs())
        ratio = torch.where(error > 0, difference / error, torch.where(difference == 0, 0.0, torch.inf))
        ratio = torch.where(torch.isnan(found) | torch.isnan(ratio), torch.inf, ratio)
        ratio = torch.where(torch.isnan(found) & torch.isnan(value), 0.0, ratio)
        ratio = torch.where(self._may_overflow(found, value, error), torch.zeros_like(ratio), ratio)
        unknown = torch.isinf(error)
        into.copy_(torch.where(unknown, 0.0, ratio))
        return int(unknown.sum())

    def _may_overflow(self, found: torch.Tensor, value: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Where the candidate's element is what overflow may give."""
        dtype = DTYPES[self.dtype]
        if not dtype.is_float:
            return torch.zeros_like(found, dtype=torch.bool)
        over = value.abs() + error >= overflow_threshold(dtype)
        extreme = (found.abs() >= torch.finfo(dtype.torch).max) & (torch.sign(found) == torch.sign(value))
        return over & (extreme | torch.isnan(found)) if dtype.name == "float8_e4m3fn" else over & extreme


def _choice_ratio(choices: Choices, found: torch.Tensor) -> torch.Tensor:
    count = choices.allowed.shape[-1]
    index = found.nan_to_num(nan=-1.0).to(torch.int64)
    inside = (index >= 0) & (index < count)
    right = choices.allowed.gather(-1, index.clamp(0, count - 1).unsqueeze(-1)).squeeze(-1) & inside
    if choices.distinct and found.ndim:
        ordered = index.sort(-1).values
        right = right & (ordered[..., 1:] != ordered[..., :-1]).all(-1, keepdim=True)
    return torch.where(right, 0.0, torch.inf).to(torch.float64)


def _explain(bound: Bound) -> str:
    sound = torch.isfinite(bound.error)
    if bound.choices is not None:
        several = float((bound.choices.allowed.sum(-1) > 1).to(torch.float64).mean())
        return f"an index is right if its element may be the extreme one within the errors; {several:.1%} of the indices have several"
    if not bool(bound.error.any()):
        return "exact: every result is a number that its dtype holds, or a step that no error reaches, so the answer must be equal"
    if not bool(sound.any()):
        return "unbounded: a value may overflow, or nothing is known of it"
    errors = bound.error[sound]
    size = bound.value[sound & torch.isfinite(bound.value)].abs()
    largest = sorted(bound.shares.items(), key=lambda item: -item[1])[:4]
    causes = "; ".join(f"{share:.0%} {label}" for label, share in largest if share >= 0.005)
    typical = f"{float(size.median()):.2g}" if size.numel() else "none"
    return (
        f"{bound.dtype}: median {float(errors.median()):.2g}, largest {float(errors.max()):.2g}, "
        f"where the median of the values' size is {typical}. Causes: {causes or 'rounding'}"
    )
