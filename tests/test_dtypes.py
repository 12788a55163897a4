"""The scalar types, against the numbers that they can really hold."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from mosaic.dtypes import DTYPES, DType, dtype
from mosaic.errors import GraphError

FLOATS = [found for found in DTYPES.values() if found.is_float]


def positive_numbers(found: DType) -> list[float]:
    """All finite positive numbers of a type of at most 16 bits, in order."""
    patterns = torch.arange(2**found.bits, dtype=torch.int64).to(torch.uint8 if found.bits == 8 else torch.uint16)
    numbers = patterns.view(found.torch).to(torch.float64)
    return sorted(number for number in numbers.tolist() if math.isfinite(number) and number > 0)


@pytest.mark.parametrize("found", [found for found in FLOATS if found.bits <= 16], ids=lambda found: found.name)
def test_narrow_floats_against_every_number_they_hold(found: DType) -> None:
    numbers = positive_numbers(found)
    assert numbers[0] == found.smallest
    middle = [(a + b) / 2 for a, b in itertools.pairwise(numbers)]  # as far from a number as can be
    rounded = torch.tensor(middle, dtype=torch.float64).to(found.torch).to(torch.float64).tolist()
    errors = [(abs(r - x), x) for r, x in zip(rounded, middle, strict=True)]
    assert all(error <= max(found.roundoff * x, found.smallest / 2) for error, x in errors)
    assert max(error / x for error, x in errors if x > 1) > found.roundoff / (1 + 2 * found.roundoff)  # and no smaller one would do
    assert max(error for error, x in errors if x < 2 * numbers[0]) == found.smallest / 2


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_wide_floats_against_their_neighbours(name: str) -> None:
    found = dtype(name)
    one, zero = torch.ones((), dtype=found.torch), torch.zeros((), dtype=found.torch)
    assert (torch.nextafter(one, 2 * one) - one).item() == 2 * found.roundoff
    assert torch.nextafter(zero, one).item() == found.smallest


@pytest.mark.parametrize("found", DTYPES.values(), ids=lambda found: found.name)
def test_names_and_sizes(found: DType) -> None:
    assert dtype(found.name) is dtype(found.torch) is found
    assert str(found.torch) == f"torch.{found.name}"
    assert found.bytes == torch.empty((), dtype=found.torch).element_size()
    assert found.is_float is found.name.startswith(("float", "bfloat"))
    assert (found.roundoff == 0) is not found.is_float


@pytest.mark.parametrize("name", ["half", "torch.float16", "", torch.complex64])
def test_unknown_types(name: str | torch.dtype) -> None:
    with pytest.raises(GraphError, match=r"unknown dtype .*; the known ones are float64, float32"):
        dtype(name)
