"""Roundoffs and spacings against the numbers that the dtypes really have."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mosaic.dtypes import DTYPES
from mosaic.errors import InputError
from mosaic.harness import arithmetic
from mosaic.harness.arithmetic import Arithmetic, half_spacing, operand_dtype, overflow_threshold, representable

NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


@pytest.mark.parametrize("name", NARROW)
def test_half_spacing_is_the_largest_error_of_rounding(name: str) -> None:
    dtype = DTYPES[name]
    bits = torch.arange(2**dtype.bits, dtype=torch.int64)
    raw = bits.to(torch.uint8).view(dtype.torch) if dtype.bits == 8 else bits.to(torch.int16).view(dtype.torch)
    every = raw.to(torch.float64)
    every = torch.tensor(sorted(set(every[torch.isfinite(every) & (every >= 0)].tolist())), dtype=torch.float64)
    low, high = every[:-1], every[1:]
    assert torch.equal(half_spacing(dtype, (low + high) / 2), (high - low) / 2)
    assert float(half_spacing(dtype, torch.zeros((), dtype=torch.float64))) == 0.0


@given(st.floats(1e-6, 6e4), st.sampled_from(("float16", "bfloat16", "float32")))
def test_rounding_never_exceeds_half_the_spacing(x: float, name: str) -> None:
    dtype, value = DTYPES[name], torch.tensor(x, dtype=torch.float64)
    error = (value.to(dtype.torch).to(torch.float64) - value).abs()
    assert error <= half_spacing(dtype, value) * (1 + 2.0**-12)  # PyTorch rounds float64 to float32 first
    assert bool(representable(value, dtype)) == (float(error) == 0.0)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e5m2", "float32"])
def test_overflow_begins_at_the_threshold(name: str) -> None:
    threshold = overflow_threshold(DTYPES[name])
    # PyTorch rounds float64 to float32 first
    below = torch.tensor(threshold * (1 - 2.0**-24 if name != "float32" else 1 - 2.0**-53), dtype=torch.float64)
    assert torch.isfinite(below.to(DTYPES[name].torch).double())
    assert torch.isinf(torch.tensor(threshold, dtype=torch.float64).to(DTYPES[name].torch).double())


def test_integers_overflow_at_their_largest() -> None:
    assert overflow_threshold(DTYPES["int8"]) == 127.0
    assert overflow_threshold(DTYPES["bool"]) == 1.0


def test_the_failure_probability_sets_the_confidence() -> None:
    for failure in (1e-4, 1e-10, 0.5):
        confidence = Arithmetic(failure=failure).confidence
        assert 2 * math.exp(-(confidence**2) / 2) == pytest.approx(failure)
    assert Arithmetic(failure=1e-12).confidence > Arithmetic().confidence


@pytest.mark.parametrize("wrong", [{"compute": "int8"}, {"failure": 0.0}, {"failure": 1.0}, {"fp8_accumulator_bits": 40}])
def test_senseless_arithmetic_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Arithmetic(**wrong)  # type: ignore[arg-type]


def test_the_operand_dtype_is_the_coarsest_of_16_bits() -> None:
    assert operand_dtype(["float16", "float32"], "float32").name == "float16"
    assert operand_dtype(["float16", "bfloat16"], "float32").name == "bfloat16"
    assert operand_dtype(["float8_e4m3fn", "float32"], "float32").name == "float32"
    assert operand_dtype(["int32"], "float32").name == "float32"


def test_intrinsics_on_this_machine_keep_their_published_errors() -> None:
    x = torch.linspace(-30.0, 30.0, 200_001)
    u = DTYPES["float32"].roundoff
    for function, ulps in ((torch.erf, arithmetic.ERF_ULPS), (torch.tanh, arithmetic.TANH_ULPS)):
        exact = function(x.double())
        assert float(((function(x).double() - exact).abs() / (2 * u * exact.abs().clamp(min=1e-300))).nan_to_num().max()) <= ulps
    exact = torch.exp(x.double())
    allowed = (arithmetic.EXP_ULPS + arithmetic.EXP_ULPS_SLOPE * x.double().abs()) * 2 * u * exact
    assert bool(((torch.exp(x).double() - exact).abs() <= allowed).all())
