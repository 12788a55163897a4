"""Inputs for a graph: several distributions, each the same bytes for the same seed on every machine.

Random bits come from SHAKE-256 of the seed, the distribution and the tensor's name; numbers are made of them with
exact arithmetic, so that no library's version and no processor changes them.

Integers need ranges: `ranges={name: (lowest, highest)}`, both inclusive. Without one, an input that the references use as
an index gets the indices of what it picks from (`used_as_index`); bool and integers up to 16 bits, which hold packed
numbers, get all their values; 32 and 64 bits get 0 and 1, as masks have. A range given for a float input holds in all
distributions.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch

from mosaic.dtypes import DType
from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import InputError
from mosaic.graph import Graph, reference
from mosaic.graph.kernel import Spec
from mosaic.harness.index_ranges import used_as_index

Ranges = Mapping[str, tuple[float, float]]

DISTRIBUTIONS: Final[dict[str, str]] = {
    "normal": "standard normal numbers (sums of twelve uniform ones, so never beyond 6)",
    "uniform": "uniform between -1 and 1",
    "integers": "whole numbers from -4 to 4: exact wherever a graph is linear",
    "zipf": "few are large or frequent, most are small: by Zipf's law",
    "mixed": "magnitudes from tiny to large, evenly over the exponents",
    "large": "as large as possible without overflow anywhere in the graph",
    "tiny": "multiples of the smallest subnormal number",
    "equal": "the same number everywhere in a tensor",
    "spike": "zeros with a single other number",
    "infinite": "normal numbers with some infinities, in inputs where the reference gives no NaN for them",
}
"""Names and meanings of the distributions, in the order in which they are tried."""

HEADROOM: Final = 4.0
"""Every tensor of the graph stays so many times below its dtype's largest number."""

MIXED_EXPONENTS: Final = {"float16": (-10, 6), "float8_e4m3fn": (-6, 6), "float8_e5m2": (-10, 10)}
LARGE_EXPONENT: Final = 60
"""The largest power of two for dtypes with the range of float32: its square can still be added up."""


@dataclass(frozen=True)
class Draw:
    """Inputs by name (on the CPU), or None if the distribution makes no sense for the graph; `note` says why, or what was changed."""

    tensors: dict[str, torch.Tensor] | None
    note: str = ""


def draw(graph: Graph, distribution: str, seed: int | str, ranges: Ranges | None = None) -> Draw:
    """Inputs of that distribution for all of a graph's inputs. Scaled by a power of two where a tensor would overflow.

    Raises InputError for an unknown distribution, or a range of an unknown input or that its dtype cannot hold; and
    what running the references raises.
    """
    if distribution not in DISTRIBUTIONS:
        raise InputError(f"there is no input distribution {distribution!r}; the known ones are {', '.join(DISTRIBUTIONS)}")
    limits = limits_of(graph, ranges)
    free = [name for name in graph.inputs if name not in limits]

    @functools.lru_cache(maxsize=1)  # the exponent that fits is the last one that was tried, or nearly
    def make(exponent: int) -> dict[str, torch.Tensor]:
        return samples(graph, distribution, seed, limits, exponent)

    if not free:
        return Draw(make(0), "every input has a range")
    if distribution == "infinite":
        return _with_infinities(graph, make(_largest_exponent(graph, make, 0)), f"{seed}", free)
    if distribution == "tiny":
        return Draw(make(0))
    highest = 0
    if distribution == "large":
        highest = max(_top_exponent(find_dtype(graph.tensors[name].dtype)) for name in free)
    exponent = _largest_exponent(graph, make, highest)
    return Draw(make(exponent), f"scaled by 2^{exponent}" if exponent else "")


def samples(
    graph: Graph, distribution: str, seed: int | str, limits: Mapping[str, tuple[float, float]], exponent: int = 0
) -> dict[str, torch.Tensor]:
    """All inputs of a graph, times 2^exponent."""
    return {
        name: sample(graph.tensors[name].spec, distribution, f"{seed}/{distribution}/{name}", limits.get(name), exponent)
        for name in graph.inputs
    }


def sample(spec: Spec, distribution: str, key: str, limits: tuple[float, float] | None = None, exponent: int = 0) -> torch.Tensor:
    """One tensor of a distribution, times 2^exponent, rounded to its dtype; within `limits` (inclusive) if given."""
    dtype, count = find_dtype(spec.dtype), math.prod(spec.shape)
    if limits is not None or not dtype.is_float:
        low, high = limits if limits is not None else (0, 1)
        flat = _between(dtype, distribution, key, count, low, high)
    else:
        made = _GENERATORS[distribution](key, count, dtype)
        most = torch.finfo(dtype.torch).max
        flat = torch.ldexp(made, torch.tensor(exponent)).clamp(-most, most)
    return flat.to(dtype.torch).reshape(spec.shape)


# Numbers made of bits, float64 of the shape (count,)


def _bits(key: str, count: int) -> torch.Tensor:
    """Random signed integers of 16 bits."""
    data = hashlib.shake_256(key.encode()).digest(2 * max(count, 1))
    return torch.frombuffer(bytearray(data), dtype=torch.int16)[:count]


def _unit(key: str, count: int) -> torch.Tensor:
    """Uniform on [0, 1), multiples of 2^-32."""
    high, low = (_bits(f"{key}/{part}", count).to(torch.float64) + 32768.0 for part in ("high", "low"))
    return (high * 65536.0 + low) / 2.0**32


def _normal(key: str, count: int, dtype: DType) -> torch.Tensor:
    """The sum of twelve uniform numbers has variance 1; uniform signed 16-bit integers have mean -1/2."""
    return (_bits(key, 12 * count).reshape(12, count).sum(0, dtype=torch.int32).to(torch.float64) + 6.0) / 65536.0


def _uniform(key: str, count: int, dtype: DType) -> torch.Tensor:
    return _unit(key, count) * 2.0 - 1.0


def _integers(key: str, count: int, dtype: DType) -> torch.Tensor:
    return torch.floor(_unit(key, count) * 9.0) - 4.0


def _mixed(key: str, count: int, dtype: DType) -> torch.Tensor:
    low, high = MIXED_EXPONENTS.get(dtype.name, (-16, 16))
    exponents = torch.floor(_unit(f"{key}/exponent", count) * (high - low + 1)) + low
    return _signed(key, count) * torch.ldexp(1.0 + _unit(f"{key}/fraction", count), exponents.to(torch.int32))


def _zipf(key: str, count: int, dtype: DType) -> torch.Tensor:
    """Signed, with the magnitude 1/16 at least, and a chance of 1/(16 x) of being above x, up to 64."""
    return _signed(key, count) * 0.0625 / (_unit(f"{key}/rank", count) + 2.0**-10)


def _signed(key: str, count: int) -> torch.Tensor:
    return torch.where(_bits(f"{key}/sign", count) < 0, -1.0, 1.0).to(torch.float64)


def _tiny(key: str, count: int, dtype: DType) -> torch.Tensor:
    steps = 1.0 / dtype.roundoff  # twice the number of subnormal magnitudes: half of the samples are normal, just
    return torch.floor(_uniform(key, count, dtype) * steps) * dtype.smallest


def _equal(key: str, count: int, dtype: DType) -> torch.Tensor:
    return (_signed(key, 1) * (0.5 + _unit(f"{key}/value", 1))).expand(count).clone()


def _spike(key: str, count: int, dtype: DType) -> torch.Tensor:
    made = torch.zeros(count, dtype=torch.float64)
    made[int(float(_unit(f"{key}/place", 1)) * count)] = 4.0 * float(_signed(key, 1)) * (1.0 + float(_unit(f"{key}/value", 1)))
    return made


_GENERATORS: Final[dict[str, Callable[[str, int, DType], torch.Tensor]]] = {
    "normal": _normal,
    "uniform": _uniform,
    "integers": _integers,
    "zipf": _zipf,
    "mixed": _mixed,
    "large": _uniform,
    "tiny": _tiny,
    "equal": _equal,
    "spike": _spike,
    "infinite": _normal,
}


def _between(dtype: DType, distribution: str, key: str, count: int, low: float, high: float) -> torch.Tensor:
    """Uniform on [low, high]; one number for `equal`, `low` with one other number for `spike`, mostly near `low` for `zipf`."""
    unit = _unit(key, 1).expand(count) if distribution == "equal" else _unit(key, count)
    if distribution == "zipf":  # the chance to be above a share x of the range falls as 1/x
        unit = (2.0**-10 / (unit + 2.0**-10) - 2.0**-11).clamp(0.0, 1.0 - 2.0**-32)
    made = torch.floor(low + unit * (high - low + 1.0)).clamp(low, high) if not dtype.is_float else low + unit * (high - low)
    if distribution == "spike":
        spiked = torch.full((count,), float(low), dtype=torch.float64)
        place = int(float(_unit(f"{key}/place", 1)) * count)
        spiked[place] = made[place]
        return spiked
    return made.clone()


# What a graph allows


def limits_of(graph: Graph, ranges: Ranges | None) -> dict[str, tuple[float, float]]:
    """Ranges of all inputs that have one: as given, else as an integer's use or its dtype says. Raises InputError as `draw` does."""
    given = dict(ranges or {})
    for name, (low, high) in given.items():
        if name not in graph.inputs:
            raise InputError(f"graph {graph.name!r} has no input {name!r} to give a range; its inputs are {', '.join(graph.inputs)}")
        dtype = find_dtype(graph.tensors[name].dtype)
        least, most = _extent(dtype)
        if not least <= low <= high <= most:
            raise InputError(f"the range {low} to {high} of input {name!r} is not within {dtype.name}'s {least:g} to {most:g}")
    integers = [name for name in graph.inputs if not find_dtype(graph.tensors[name].dtype).is_float and name not in given]
    found = used_as_index(graph, integers) if integers else {}
    for name in integers:
        dtype = find_dtype(graph.tensors[name].dtype)
        given[name] = found.get(name, _extent(dtype) if dtype.bits <= 16 else (0, 1))
    return given


def _extent(dtype: DType) -> tuple[float, float]:
    if dtype.torch is torch.bool:
        return 0, 1
    info = torch.finfo(dtype.torch) if dtype.is_float else torch.iinfo(dtype.torch)
    return float(info.min), float(info.max)


def _top_exponent(dtype: DType) -> int:
    return min(math.frexp(torch.finfo(dtype.torch).max)[1] - 1, LARGE_EXPONENT)


def _fits(graph: Graph, inputs: dict[str, torch.Tensor]) -> bool:
    """Whether every tensor of the float64 reference stays `HEADROOM` below its dtype's largest number."""
    for name, value in reference.run(graph, inputs).items():
        if value.is_floating_point() and value.numel():
            most = torch.finfo(find_dtype(graph.tensors[name].dtype).torch).max / HEADROOM
            if graph.tensors[name].kind == "intermediate" and bool((value.abs() > most).any()):
                return False
    return True


def _largest_exponent(graph: Graph, make: Callable[[int], dict[str, torch.Tensor]], highest: int) -> int:
    """The largest exponent up to `highest` with which nothing overflows (found by halving; at least -24)."""
    if _fits(graph, make(highest)):
        return highest
    low, high = -24, highest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(graph, make(middle)) else (low, middle)
    return low


def _with_infinities(graph: Graph, inputs: dict[str, torch.Tensor], key: str, free: list[str]) -> Draw:
    """Put a few infinities of one sign into each input in turn, and keep those that make no NaN."""

    def clean(trial: dict[str, torch.Tensor]) -> bool:
        values = reference.run(graph, trial, keep="outputs").values()
        return not any(bool(torch.isnan(value).any()) for value in values if value.is_floating_point())

    if not clean(inputs):
        return Draw(None, "the reference gives NaN for finite inputs already")
    kept = []
    for name in free:
        plain = inputs[name]
        if find_dtype(graph.tensors[name].dtype).name == "float8_e4m3fn":
            continue  # has no infinity
        for value, word in ((-math.inf, "-inf"), (math.inf, "inf")):
            changed = plain.clone().reshape(-1)
            some = max(1, changed.numel() // 64)
            changed[(_unit(f"{key}/{name}/{word}", some) * changed.numel()).to(torch.int64)] = value
            trial = {**inputs, name: changed.reshape(plain.shape)}
            if clean(trial):
                inputs = trial
                kept.append(f"{word} in {name}")
                break
    return Draw(inputs if kept else None, ", ".join(kept) or "the reference gives NaN for an infinity in any input")
