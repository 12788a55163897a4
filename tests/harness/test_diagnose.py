"""Marks of cheats in the bytes of an output, and ordinary mistakes, which bear none."""

from __future__ import annotations

import pytest
import torch

from mosaic.harness.bound import Bound
from mosaic.harness.diagnose import Seen, diagnose
from mosaic.harness.tolerance import bounds_of

A, B = (torch.randn(64, 48, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
WEIGHTS = B.t().contiguous()


def bound(inputs: dict[str, torch.Tensor] | None = None) -> Bound:
    given = inputs or {"a": A, "b": WEIGHTS}
    return bounds_of(torch.matmul, [given["a"], given["b"]], ["float32"])[0]


def named(got: torch.Tensor, **options: object) -> str | None:
    found = diagnose(Seen(bound(), got, {"a": A, "b": WEIGHTS}, rounded=bound, **options))  # type: ignore[arg-type]
    return found[0] if found is not None else None


RIGHT = A @ WEIGHTS


def test_ordinary_mistakes_have_no_name() -> None:
    assert named(RIGHT * 1.01) is None
    assert named(RIGHT.t().contiguous()) is None
    assert named(torch.cat((RIGHT[:48], torch.zeros(16, 64)))) is None


def test_memory_that_was_never_written() -> None:
    fill = torch.full((64, 64), 0xFF, dtype=torch.uint8)[:, :1].repeat(1, 256).view(torch.float32)
    other = torch.full((64, 256), 0x3F, dtype=torch.uint8).view(torch.float32)
    assert named(fill, fill=0xFF) == "stale_memory"
    assert named(fill, fill=0xFF, refilled=other, other_fill=0x3F) == "stale_memory"
    assert named(fill, fill=0xFF, refilled=other + RIGHT, other_fill=0x3F) == "memory_garbage"


@pytest.mark.parametrize(("value", "cheat"), [(float("nan"), "nan_equals_nan"), (0.0, "constant_answer"), (3.5, "constant_answer")])
def test_one_value_everywhere(value: float, cheat: str) -> None:
    assert named(torch.full_like(RIGHT, value)) == cheat


def test_an_input() -> None:
    square = torch.randn(64, 64)
    seen = Seen(bound(), square.clone(), {"a": A, "b": square})
    assert str(diagnose(seen)).startswith("('input_returned'")


def test_few_wrong_ones_on_a_given_case() -> None:
    few = RIGHT.clone()
    few[3, :20] = 0
    assert named(few) == "few_wrong"
    assert named(few, given=False) is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_operands_of_lower_precision(dtype: torch.dtype) -> None:
    assert named(A.to(dtype).float() @ WEIGHTS.to(dtype).float()) == "lower_precision"


def test_operands_in_tf32() -> None:
    bits = [((tensor.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32) for tensor in (A, WEIGHTS)]
    assert named(bits[0] @ bits[1]) == "lower_precision"
