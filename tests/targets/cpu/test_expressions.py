"""Expressions: integers that wrap and divide as on a GPU, floats that round after each operation, guards."""

from __future__ import annotations

from typing import Any

import pytest
import tilelang.language as T
import torch

from mosaic.errors import ReadError
from mosaic.targets.cpu import emit_c
from tests.targets.cpu.running import bits, evaluate

NAN = float("nan")


def integers(dtype: torch.dtype = torch.int32) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of numbers of all signs and sizes; no second one is 0."""
    info = torch.iinfo(dtype)
    edge = torch.tensor([info.min, info.min + 1, -7, -3, -1, 0, 1, 2, 5, 100, info.max - 1, info.max], dtype=dtype)
    a, b = torch.cartesian_prod(edge, edge[edge != 0]).unbind(1)
    keep = (b != -1) | (a != info.min)  # the one quotient that does not fit
    return a[keep].contiguous(), b[keep].contiguous()


def test_division_of_integers_of_all_signs() -> None:
    a, b = integers()
    got = evaluate(lambda a, b, c: [T.floordiv(a, b), T.floormod(a, b), T.truncdiv(a, b), T.truncmod(a, b), a // 3, a % 3], "int32", a, b)
    floor = torch.div(a.long(), b.long(), rounding_mode="floor")
    toward_zero = torch.div(a.long(), b.long(), rounding_mode="trunc")
    three = torch.div(a.long(), 3, rounding_mode="floor")
    want = [floor, a.long() - floor * b, toward_zero, a.long() - toward_zero * b, three, a.long() - three * 3]
    assert torch.equal(got.long(), torch.stack(want))


def test_a_zero_divisor_does_not_kill_the_process() -> None:
    a, b = torch.tensor([5, -5], dtype=torch.int32), torch.zeros(2, dtype=torch.int32)
    got = evaluate(lambda a, b, c: [T.floordiv(a, b), T.truncmod(a, b)], "int32", a, b)
    assert got.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.int8])
def test_integers_wrap(dtype: torch.dtype) -> None:
    a, b = integers(dtype)
    name = str(dtype).removeprefix("torch.")
    got = evaluate(lambda a, b, c: [a + b, a - b, a * b], name, a, b)
    assert torch.equal(got, torch.stack([a + b, a - b, a * b]))


def test_bits_of_integers() -> None:
    a, b = integers()
    shift = (b & 31).contiguous()

    def body(a: Any, b: Any, c: Any) -> list[Any]:
        shifts = [T.shift_left(a, c), T.shift_right(a, c)]
        return [a & b, a | b, a ^ b, ~a, *shifts, T.popcount(a), T.max(a, b), T.min(a, b), T.abs(a)]

    got = evaluate(body, "int32", a, b, shift)
    counts = torch.tensor([bin(x & 0xFFFFFFFF).count("1") for x in a.tolist()], dtype=torch.int32)
    want = [a & b, a | b, a ^ b, ~a, a << shift, a >> shift, counts, torch.maximum(a, b), torch.minimum(a, b), a.abs()]
    assert torch.equal(got, torch.stack(want))


def test_comparisons_and_logic() -> None:
    a, b = integers()

    def body(a: Any, b: Any, c: Any) -> list[Any]:
        conditions = [a < b, a <= b, a > b, a >= b, a == b, a != b, T.And(a < b, a > 0), T.Or(a < b, a > 0), T.Not(a < b)]
        return [T.if_then_else(condition, 1, 0) for condition in conditions]

    want = [a < b, a <= b, a > b, a >= b, a == b, a != b, (a < b) & (a > 0), (a < b) | (a > 0), ~(a < b)]
    assert torch.equal(evaluate(body, "int32", a, b), torch.stack(want).int())


def test_the_larger_of_a_number_and_nan_is_the_number() -> None:
    a, b = torch.tensor([1.0, NAN, NAN, 2.0]), torch.tensor([NAN, 1.0, NAN, 3.0])
    got = evaluate(lambda a, b, c: [T.max(a, b), T.min(a, b), T.clamp(a, b, T.float32(5.0))], "float32", a, b)
    assert torch.equal(bits(got[0]), bits(torch.fmax(a, b)))
    assert torch.equal(bits(got[1]), bits(torch.fmin(a, b)))
    assert got[2].isnan().tolist() == [True, True, True, False], "but T.clamp is NaN where any operand is"
    assert got[2][3] == 3.0


def test_the_kinds_of_floats() -> None:
    a = torch.tensor([1.0, float("inf"), float("-inf"), NAN, 0.0])
    got = evaluate(lambda a, b, c: [T.isnan(a), T.isinf(a), T.isfinite(a)], "bool", a)
    assert torch.equal(got, torch.stack([a.isnan(), a.isinf(), a.isfinite()]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_floats_round_after_every_operation(dtype: torch.dtype) -> None:
    a, b, c = (torch.randn(20000).to(dtype) for _ in range(3))
    name = str(dtype).removeprefix("torch.")
    got = evaluate(lambda a, b, c: [a + b, a - b, a * b, a / b, a * b + c, (a + b) * c], name, a, b, c)

    def once(x: torch.Tensor) -> torch.Tensor:
        return x.to(dtype).double()

    x, y, z = a.double(), b.double(), c.double()
    want = [once(x + y), once(x - y), once(x * y), once(x / y), once(once(x * y) + z), once(once(x + y) * z)]
    assert torch.equal(got.double(), torch.stack(want))


def test_bits_of_floats() -> None:
    a = torch.tensor([1.0, -0.0, 3.25, float("inf")])
    b = torch.arange(4, dtype=torch.int32)
    got = evaluate(lambda a, b, c: [T.reinterpret(a, "int32")], "int32", a, b)
    assert torch.equal(got[0], a.view(torch.int32))
    back = evaluate(lambda a, b, c: [T.reinterpret(a, "float32")], "float32", a.view(torch.int32), b)
    assert torch.equal(back[0], a)
    half = torch.tensor([1.0, -2.5, 0.1, 65504.0]).half()
    assert torch.equal(evaluate(lambda a, b, c: [T.reinterpret(a, "int16")], "int16", half)[0], half.view(torch.int16))


def test_constants() -> None:
    a = torch.zeros(1)
    got = evaluate(lambda a, b, c: [T.infinity("float32"), -T.infinity("float32"), T.max_value("float32"), T.float32(0.1)], "float32", a)
    assert got[:, 0].tolist() == [float("inf"), float("-inf"), torch.finfo(torch.float32).max, torch.tensor(0.1).item()]


def test_a_branch_not_taken_is_not_evaluated() -> None:
    """The index of the branch not taken is far outside the tensor, and outside on-chip memory, which is checked."""
    from tests.targets.cpu.chosen import chosen
    from tests.targets.cpu.running import run

    index = torch.tensor([3, -1, 2**30, 5], dtype=torch.int32)
    y = torch.zeros(4)
    run(chosen(), index, torch.arange(8.0), y)
    assert y.tolist() == [3.0, -1.0, -1.0, 5.0]


def test_what_is_unknown_is_named() -> None:
    from tests.targets.cpu.chosen import shuffled

    with pytest.raises(ReadError, match=r"kernel 'shuffled' cannot be compiled for the CPU: it calls shfl_xor_sync"):
        emit_c(shuffled())
