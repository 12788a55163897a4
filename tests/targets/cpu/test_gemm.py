"""T.gemm: every dtype, both ways round, shapes that fill no vector."""

from __future__ import annotations

import pytest
import torch

from mosaic.dtypes import dtype
from mosaic.errors import ReadError
from mosaic.targets.cpu import emit_c
from tests.targets.cpu.products import chained, pipelined, product
from tests.targets.cpu.running import run

KINDS = [
    ("float16", "float32"),
    ("bfloat16", "float32"),
    ("float32", "float32"),
    ("float64", "float64"),
    ("float8_e4m3fn", "float32"),
    ("float8_e5m2", "float32"),
    ("float16", "float16"),
    ("int8", "int32"),
    ("uint8", "int32"),
]
WAYS = [(False, False), (True, True)]  # each operand is packed by itself, so these are all the ways


def operands(shape: tuple[int, int, int], name: str, transposed: tuple[bool, bool]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two matrices of small integers, so that every sum is exact, and their product."""
    M, N, K = shape
    low = 0 if name == "uint8" else -3
    a = torch.randint(low, 4, (M, K)).to(dtype(name).torch)
    b = torch.randint(low, 4, (K, N)).to(dtype(name).torch)
    exact = a.double() @ b.double()
    return (a.T.contiguous() if transposed[0] else a), (b.T.contiguous() if transposed[1] else b), exact


@pytest.mark.parametrize(("name", "accumulator"), KINDS)
@pytest.mark.parametrize("transposed", WAYS)
def test_product_of_every_dtype(name: str, accumulator: str, transposed: tuple[bool, bool]) -> None:
    shape = (19, 37, 21)
    a, b, exact = operands(shape, name, transposed)
    c = torch.zeros(shape[:2]).to(dtype(accumulator).torch)
    run(product(shape, name, accumulator, transposed), a, b, c)
    assert torch.equal(c.double(), exact)


@pytest.mark.parametrize("shape", [(1, 1, 1), (64, 64, 32), (1, 64, 16), (17, 1, 5), (3, 100, 67), (130, 16, 3), (16, 48, 80)])
@pytest.mark.parametrize("transposed", WAYS)
def test_product_of_every_shape(shape: tuple[int, int, int], transposed: tuple[bool, bool]) -> None:
    a, b, exact = operands(shape, "float16", transposed)
    c = torch.zeros(shape[:2])
    run(product(shape, "float16", "float32", transposed, start=2.0), a, b, c)
    assert torch.equal(c.double(), exact + 2)


def test_clearing_forgets_what_was_there() -> None:
    shape = (16, 40, 8)
    a, b, exact = operands(shape, "float16", (False, False))
    c = torch.zeros(16, 40)
    run(product(shape, "float16", "float32", clear=True, start=float("nan")), a, b, c)
    assert torch.equal(c.double(), exact)


def test_a_half_accumulator_rounds_to_half() -> None:
    a, b, c = torch.randn(32, 24).half(), torch.randn(24, 48).half(), torch.zeros(32, 48).half()
    run(product((32, 48, 24), "float16", "float16"), a, b, c)
    exact = a.double() @ b.double()
    assert (c.double() - exact).abs().max() <= 2.0**-11 * exact.abs().max() * 1.01


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize(("M", "N", "K"), [(64, 64, 64), (37, 53, 41), (1, 7, 3)])
def test_pipelined_product_of_any_size(M: int, N: int, K: int, in_parts: bool) -> None:
    a, b, c = torch.randn(M, K).half(), torch.randn(N, K).half(), torch.full((M, N), float("nan")).half()
    run(pipelined(M, N, K, (32, 32, 16), in_parts), a, b, c)
    exact = a.double() @ b.double().T
    assert torch.allclose(c.double(), exact, rtol=2e-3, atol=2e-2)


def test_a_product_of_a_product_rounds_between() -> None:
    a, b, e, d = torch.randn(48, 32).half(), torch.randn(32, 24).half(), torch.randn(24, 32).half(), torch.zeros(48, 32)
    run(chained(48, 24, 32), a, b, e, d)
    middle = (a.double() @ b.double()).half()
    assert torch.allclose(d.double(), middle.double() @ e.double(), rtol=1e-5, atol=0.05)


def test_products_that_no_type_can_hold_are_refused() -> None:
    with pytest.raises(ReadError, match="a gemm accumulates in int8; use float32, float64 or int32"):
        emit_c(product((16, 16, 16), "int8", "int8"))
    with pytest.raises(ReadError, match="a gemm multiplies float64 and accumulates in float32; cast its operands first"):
        emit_c(product((16, 16, 16), "float64", "float32"))
