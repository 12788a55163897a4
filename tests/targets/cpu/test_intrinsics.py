"""Operators that are functions of values, other than the elementary functions (see runtime/test_init.py)."""

from __future__ import annotations

import pytest
import tilelang.language as T
import torch

from mosaic.errors import ReadError
from mosaic.targets.cpu import emit_c
from mosaic.targets.cpu.intrinsics import INTRINSICS, MATH
from tests.targets.cpu.folds import any_and_all
from tests.targets.cpu.running import elementwise, evaluate, run


def test_leading_zeros() -> None:
    x = torch.tensor([0, 1, 2, 255, -1, 2**30], dtype=torch.int32)
    assert evaluate(lambda a, b, c: [T.clz(a)], "int32", x)[0].tolist() == [32, 31, 30, 24, 0, 1]


@pytest.mark.parametrize(("values", "expected"), [([0, 0, 0], [0, 0]), ([0, 5, 0], [1, 0]), ([1, 5, -1], [1, 1])])
def test_any_and_all(values: list[int], expected: list[int]) -> None:
    y = torch.zeros(2, dtype=torch.int32)
    run(any_and_all(3), torch.tensor(values, dtype=torch.int32), y)
    assert y.tolist() == expected


def test_operations_that_round_to_nearest() -> None:
    x, y = (torch.randn(100).abs() + 0.5).bfloat16().float(), torch.randn(100).bfloat16().float()  # few digits: x y + x is exact in double

    def body(a: object, b: object, c: object) -> list[object]:
        return [
            T.ieee_add(a, b),
            T.ieee_sub(a, b),
            T.ieee_mul(a, b),
            T.ieee_fdiv(a, b),
            T.ieee_fsqrt(a),
            T.ieee_frcp(a),
            T.ieee_fmaf(a, b, a),
        ]

    got = evaluate(body, "float32", x, y)
    fused = (x.double() * y.double() + x.double()).float()
    assert torch.equal(got, torch.stack([x + y, x - y, x * y, x / y, x.sqrt(), 1 / x, fused]))


def test_other_rounding_modes_are_refused() -> None:
    func = elementwise(8, ("float32", "float32", "float32"), "float32", lambda a, b, c: [T.ieee_add(a, b, "ru")])
    with pytest.raises(ReadError, match="it rounds with the mode 'ru'; the CPU target knows 'rn' only"):
        emit_c(func)


def test_no_operator_is_in_both_tables() -> None:
    assert not set(MATH) & set(INTRINSICS)
