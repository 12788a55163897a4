"""Propagation of rounding errors through several nodes, by sampling them.

A bound that adds up every error of one matrix product linearly for the next one grows with each, although honest errors
are independent and mostly cancel. So rounding errors are also drawn at random, all of them at once, and the float64
references are run on what comes out (Monte Carlo arithmetic: D. S. Parker, UCLA CSD-970002, 1997). From n samples d of an
output's error, t sqrt(mean d^2) bounds it, t being the quantile of Student's distribution with n degrees of freedom for
the stated probability of failure: to first order an error is a sum of many independent ones, so normal.

One more sample holds the errors that rounding the references makes: what they add up to for data with a pattern, where
errors have no mean of zero, is added to the bound.

Equal values round alike, so the errors drawn are a function of the value, not of its place: a tensor whose elements are
all equal gets errors that are all equal. An element of which nothing is known is NaN in the samples.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence

import torch

from mosaic.dtypes import DType

Reference = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]
MOST_SAMPLES = 64
UNIFORM = 1.0 / math.sqrt(3.0)
"""Standard deviation of an error that is uniform on [-1, 1]."""


def student_quantile(degrees: int, failure: float) -> float:
    """t with P(|T| > t) = failure, for an even number of degrees of freedom (closed form of the distribution, bisected)."""

    def tail(t: float) -> float:
        angle = math.atan(t / math.sqrt(degrees))
        term, total = 1.0, 0.0
        for k in range(degrees // 2):
            total += term
            term *= math.cos(angle) ** 2 * (2 * k + 1) / (2 * k + 2)
        return 1.0 - math.sin(angle) * total

    low, high = 0.0, 1e6
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > failure else (low, middle)
    return high


def _normal_table() -> torch.Tensor:
    """The quantiles of the normal distribution, 2^16 of them."""
    middle = (torch.arange(65536, dtype=torch.float64) + 0.5) / 65536.0
    return torch.erfinv(2.0 * middle - 1.0) * math.sqrt(2.0)


def draw_normal(value: torch.Tensor, dtype: DType, salt: str, samples: int) -> torch.Tensor:
    """Normal numbers for each sample and element, float64 (samples, *shape), equal where values agree to 1/16 spacing of `dtype`.

    Normal and not uniform, so that even a sum of two is normal, and Student's distribution fits.
    """
    bits = value.contiguous().view(torch.int64) if value.dtype == torch.float64 else value.to(torch.float64).view(torch.int64)
    digits = round(-math.log2(dtype.roundoff)) - 1 + 4 if dtype.is_float else 30
    key = bits >> max(52 - digits, 0)
    table, drawn = _normal_table(), []
    for block in range(-(-samples // 4)):
        # splitmix64's finalizer; multiplication wraps
        mixed = key * -7046029254386353131 + zlib.crc32(f"{salt}/{block}".encode()) * 2654435761
        mixed = (mixed ^ ((mixed >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
        mixed = (mixed ^ ((mixed >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
        mixed = mixed ^ ((mixed >> 31) & 0x1FFFFFFFF)
        drawn += [table[(mixed >> shift) & 0xFFFF] for shift in (0, 16, 32, 48)]
    return torch.stack(drawn[:samples])


class Samples:
    """Samples of the errors of a graph's tensors, by name: float64 of the shape (samples + 1, *shape).

    The last one is what rounding each tensor to its dtype makes of the reference.
    """

    def __init__(self, samples: int, failure: float) -> None:
        self.samples = min(max(samples - samples % 2, 2), MOST_SAMPLES)
        self.quantile = student_quantile(self.samples, failure)
        self.errors: dict[str, torch.Tensor] = {}

    def push(self, reference: Reference, names: Sequence[str], values: list[torch.Tensor]) -> list[torch.Tensor] | None:
        """How the sampled errors of a node's inputs move its outputs; None if no input has any."""
        if not any(name in self.errors for name in names):
            return None
        base = reference(values)
        moved: list[list[torch.Tensor]] = [[] for _ in base]
        pairs = list(zip(names, values, strict=True))
        for index in range(self.samples + 1):
            shifted = [value + self.errors[name][index] if name in self.errors else value for name, value in pairs]
            for into, result, middle in zip(moved, reference(shifted), base, strict=True):
                into.append(torch.where(result == middle, 0.0, result.to(torch.float64) - middle.to(torch.float64)))
        return [torch.stack(results) for results in moved]

    def bound(self, errors: torch.Tensor) -> torch.Tensor:
        """What an error with these samples stays below; infinite where nothing is known."""
        drawn = errors[:-1]
        return (self.quantile * torch.sqrt((drawn * drawn).mean(0)) + errors[-1].abs()).nan_to_num(nan=torch.inf)

    def store(self, name: str, value: torch.Tensor, dtype: DType, moved: torch.Tensor | None, *added: torch.Tensor) -> None:
        """Set a tensor's samples: what came from its node's inputs, and fresh errors of the given sizes (float64, >= 0)."""
        total = moved
        for number, size in enumerate(added):
            if bool(size.any()):
                # infinite: nothing is known
                spread = torch.where(torch.isinf(size), torch.nan, size * UNIFORM)
                drawn = torch.cat([draw_normal(value, dtype, f"{name}/{number}", self.samples), torch.zeros_like(value)[None]]) * spread
                total = drawn if total is None else total + drawn
        if total is not None:
            self.errors[name] = total

    def round(self, name: str, value: torch.Tensor, dtype: DType, size: torch.Tensor) -> None:
        """Round a tensor to its dtype: errors up to `size` are drawn, and the last sample is really rounded."""
        before = self.errors.get(name)
        self.store(name, value, dtype, before, size)
        if (after := self.errors.get(name)) is not None:
            moved = value + (torch.zeros_like(value) if before is None else before[-1])
            after = after.clone()
            after[-1] = torch.where(torch.isfinite(moved), moved.to(dtype.torch).to(torch.float64) - value, after[-1])
            self.errors[name] = after

    def drop(self, name: str) -> None:
        self.errors.pop(name, None)
