"""Conversions between scalar types: every half, every 8-bit float, and what lies between them."""

from __future__ import annotations

from typing import Any

import pytest
import tilelang.language as T
import torch

from mosaic.dtypes import DTYPES, dtype
from mosaic.targets.cpu.scalars import SCALARS
from tests.targets.cpu.copies import copy_through
from tests.targets.cpu.running import bits, evaluate, run

NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")


def every(name: str) -> torch.Tensor:
    """Every value of a type of 8 or 16 bits."""
    width = dtype(name).bits
    integers = torch.arange(2**width, dtype=torch.int32).to(torch.uint8 if width == 8 else torch.int16)
    return integers.view(dtype(name).torch)


def near_the_edges(name: str) -> torch.Tensor:
    """Floats around which rounding to a type changes: its values, the midpoints between neighbours, and one step to either side."""
    values = every(name).float()
    values = torch.tensor(sorted(set(values[values.isfinite()].tolist())))
    middles = (values[1:] + values[:-1]) / 2
    exact = torch.cat([values, middles])
    steps = [torch.nextafter(exact, torch.tensor(end)) for end in (float("-inf"), float("inf"))]
    special = torch.tensor([float("inf"), float("-inf"), float("nan"), 3e38, -3e38, 1e-45, -1e-45, 0.0, -0.0, 1e30, 500.0, 464.0, 480.0])
    return torch.cat([exact, *steps, special, torch.randn(4096) * 100, torch.randn(4096) * 1e-5])


def saturated(wide: torch.Tensor, name: str) -> torch.Tensor:
    """PyTorch's rounding to an 8-bit float, with CUDA's saturation, which PyTorch does not have."""
    most = torch.finfo(dtype(name).torch).max
    return wide.clamp(-most, most).to(dtype(name).torch)


@pytest.mark.parametrize("length", [1, 15, 16, 33, 1000])
def test_rows_of_halves_are_converted_alike(length: int) -> None:
    """Copies of whole rows take another way than single elements do."""
    halves = every("float16")[12345 : 12345 + length].clone().reshape(1, length)
    wide = torch.zeros(1, length)
    run(copy_through("float16", "float32", 1, 64), halves, wide)
    assert torch.equal(bits(wide), bits(halves.float()))
    floats = near_the_edges("float16")[-length:].clone().reshape(1, length)
    narrow = torch.zeros(1, length).half()
    run(copy_through("float32", "float16", 1, 64), floats, narrow)
    assert torch.equal(bits(narrow), bits(floats.half()))


def cast_to(name: str) -> Any:
    return lambda a, b, c: [T.cast(a, name)]


@pytest.mark.parametrize("name", NARROW)
def test_every_narrow_float_widens_exactly(name: str) -> None:
    values = every(name)
    assert torch.equal(bits(evaluate(cast_to("float32"), "float32", values)[0]), bits(values.float()))


@pytest.mark.parametrize("name", NARROW)
def test_a_narrow_float_survives_the_way_to_float_and_back(name: str) -> None:
    values = every(name)
    result = evaluate(lambda a, b, c: [T.cast(T.cast(a, "float32"), name)], name, values)[0]
    expected = saturated(values.float(), name) if name.startswith("float8") else values
    assert torch.equal(bits(result), bits(expected))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_float_rounds_to_the_nearest_even_half(name: str) -> None:
    values = near_the_edges(name)
    assert torch.equal(bits(evaluate(cast_to(name), name, values)[0]), bits(values.to(dtype(name).torch)))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_float_rounds_to_the_nearest_even_float8_and_saturates(name: str) -> None:
    values = near_the_edges(name)
    assert torch.equal(bits(evaluate(cast_to(name), name, values)[0]), bits(saturated(values, name)))


def test_float8_saturates_at_infinity_and_keeps_nan() -> None:
    values = torch.tensor([float("inf"), float("-inf"), float("nan"), 449.0])
    result = evaluate(cast_to("float8_e4m3fn"), "float8_e4m3fn", values)[0]
    assert result.float()[:2].tolist() == [448.0, -448.0]
    assert result.view(torch.uint8)[2] == 0x7F
    assert result.float()[3] == 448.0


def test_double_rounds_to_half_once() -> None:
    """1 + 2^-11 + 2^-40 is above a midpoint of halves, but rounds to that midpoint as a float."""
    numbers = [1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-11 - 2.0**-40, -(1 + 3 * 2.0**-11 + 2.0**-40), 65519.99999999, 1e300, -1e-320]
    result = evaluate(cast_to("float16"), "float16", torch.tensor(numbers, dtype=torch.float64))[0]
    assert result.tolist() == [1 + 2.0**-10, 1.0, -(1 + 2.0**-9), 65504.0, float("inf"), 0.0]


def test_integers_become_halves_with_one_rounding() -> None:
    values = torch.tensor([0, 1, -1, 2049, 2051, 65519, 65520, 2**31 - 1, -(2**31), 16777217, 33554433], dtype=torch.int32)
    result = evaluate(cast_to("float16"), "float16", values)[0]
    assert torch.equal(bits(result), bits(values.double().half()))
    as_brain = evaluate(cast_to("bfloat16"), "bfloat16", values)[0]
    assert torch.equal(as_brain.double(), values.double().bfloat16().double())


def test_floats_become_integers_towards_zero_saturated() -> None:
    values = torch.tensor([0.0, -0.9, 1.99, -1.99, 3e9, -3e9, float("inf"), float("-inf"), float("nan"), 2147483520.0, 1e-40])
    result = evaluate(cast_to("int32"), "int32", values)[0]
    assert result.tolist() == [0, 0, 1, -1, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 0, 2147483520, 0]
    as_long = evaluate(cast_to("int64"), "int64", values)[0]
    assert as_long.tolist() == [0, 0, 1, -1, 3 * 10**9, -3 * 10**9, 2**63 - 1, -(2**63), 0, 2147483520, 0]
    as_byte = evaluate(lambda a, b, c: [T.cast(a, "uint8")], "uint8", torch.tensor([0.0, 255.9, -3.0, 7.5]))[0]
    assert as_byte.tolist() == [0, 255, 0, 7]


def test_integers_narrow_by_their_low_bits() -> None:
    values = torch.tensor([0, 127, 128, 255, 256, -1, -129, 70000], dtype=torch.int32)
    assert torch.equal(evaluate(cast_to("int8"), "int8", values)[0], values.to(torch.int8))
    assert torch.equal(evaluate(cast_to("uint8"), "uint8", values)[0], values.to(torch.uint8))
    assert torch.equal(evaluate(cast_to("int16"), "int16", values)[0], values.to(torch.int16))


def test_bool_is_zero_or_one() -> None:
    values = torch.tensor([0.0, -0.0, 0.5, float("nan"), -3.0])
    result = evaluate(lambda a, b, c: [T.cast(T.cast(a, "bool"), "float32")], "float32", values)[0]
    assert result.tolist() == [0, 0, 1, 1, 1]
    flags = torch.tensor([True, False])
    assert evaluate(lambda a, b, c: [T.if_then_else(a, 2, 3)], "int32", flags)[0].tolist() == [2, 3]
    assert evaluate(lambda a, b, c: [a], "bool", flags)[0].tolist() == [True, False]


def test_every_dtype_of_mosaic_is_known() -> None:
    for name, known in DTYPES.items():
        assert SCALARS[name].bytes == known.bytes
        assert SCALARS[name].is_float == known.is_float


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("float32", 0.1, "0.10000000149011612f"),
        ("float32", -1.0, "(-1.0f)"),
        ("float32", 1e39, "__builtin_inff()"),
        ("float64", 0.1, "0.1"),
        ("float16", 1.0, "1.0f"),
        ("float16", 0.1, "ms_round_f16(0.10000000149011612f)"),
        ("int32", -(2**31), "INT32_MIN"),
        ("int64", -(2**63), "INT64_MIN"),
        ("uint32", 2**32 - 1, "4294967295u"),
        ("int8", -5, "(-5)"),
    ],
)
def test_literals(name: str, number: float, text: str) -> None:
    assert SCALARS[name].literal(number) == text


def test_storing_rounds_once() -> None:
    half = SCALARS["float16"]
    assert half.stored("ms_round_f16(a)") == "ms_f32_to_f16(a)"
    assert half.stored("ms_round_f16(a) + ms_round_f16(b)") == "ms_f32_to_f16(ms_round_f16(a) + ms_round_f16(b))"
