"""Reductions, scans and reducers against PyTorch, along every axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
import torch

from mosaic.dtypes import dtype
from tests.targets.cpu.folds import reduced, scanned, with_reducer
from tests.targets.cpu.running import run

FOLDS: Final[dict[str, Callable[[torch.Tensor, int], torch.Tensor]]] = {
    "sum": lambda x, axis: x.sum(axis),
    "max": lambda x, axis: x.amax(axis),
    "min": lambda x, axis: x.amin(axis),
    "abssum": lambda x, axis: x.abs().sum(axis),
    "absmax": lambda x, axis: x.abs().amax(axis),
}


def whole_numbers(shape: tuple[int, ...], name: str) -> torch.Tensor:
    """Small integers, so that every sum is exact in every order."""
    return torch.randint(-9, 10, shape).to(dtype(name).torch)


@pytest.mark.parametrize("operation", FOLDS)
@pytest.mark.parametrize("name", ["float32", "float16", "int32"])
def test_every_fold(operation: str, name: str) -> None:
    x, y = whole_numbers((5, 67), name), torch.zeros(5).to(dtype(name).torch)
    run(reduced((5, 67), 1, operation, name, name), x, y)
    assert torch.equal(y.double(), FOLDS[operation](x.double(), 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("keep", [False, True])
def test_every_axis(axis: int, keep: bool) -> None:
    shape = (3, 4, 35)
    x = torch.randn(shape)
    y = torch.zeros(x.amax(axis, keepdim=keep).shape)
    run(reduced(shape, axis, "max", "float32", "float32", keep=keep), x, y)
    assert torch.equal(y, x.amax(axis, keepdim=keep))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 31, 32, 33, 48, 1000])
def test_every_length(length: int) -> None:
    x, y = whole_numbers((2, length), "float32"), torch.zeros(2)
    run(reduced((2, length), 1, "sum", "float32", "float32"), x, y)
    assert torch.equal(y, x.sum(1))


@pytest.mark.parametrize("operation", ["sum", "max"])
@pytest.mark.parametrize("axis", [0, 1])
def test_uncleared_starts_from_what_is_there(operation: str, axis: int) -> None:
    x = whole_numbers((20, 40), "float32")
    y = torch.full((x.shape[1 - axis],), 5.0)
    run(reduced((20, 40), axis, operation, "float32", "float32", clear=False), x, y)
    folded = FOLDS[operation](x, axis)
    assert torch.equal(y, folded + 5 if operation == "sum" else folded.clamp_min(5))


def test_a_wider_destination_is_what_the_sum_is_kept_in() -> None:
    x, y = torch.full((1, 4096), 1.0).half(), torch.zeros(1)
    run(reduced((1, 4096), 1, "sum", "float16", "float32"), x, y)
    assert y.item() == 4096
    y = torch.zeros(1).half()
    run(reduced((1, 4096), 1, "sum", "float16", "float16"), x, y)
    assert y.item() == 4096


def test_the_maximum_passes_over_nan() -> None:
    x = torch.randn(4, 40)
    x[0, 3], x[1, :], x[2, 20] = float("nan"), float("nan"), float("-inf")
    y = torch.zeros(4)
    run(reduced((4, 40), 1, "max", "float32", "float32"), x, y)
    assert torch.equal(y, x.nan_to_num(nan=float("-inf"), neginf=float("-inf")).amax(1))


@pytest.mark.parametrize(("operation", "name"), [("bitand", "int32"), ("bitor", "int32"), ("bitxor", "uint8"), ("bitor", "bool")])
def test_bitwise_folds(operation: str, name: str) -> None:
    x = torch.randint(0, 2 if name == "bool" else 200, (3, 50)).to(dtype(name).torch)
    y = torch.zeros(3).to(dtype(name).torch)
    run(reduced((3, 50), 1, operation, name, name), x, y)
    want = x[:, 0]
    for column in x.T[1:]:
        want = {"bitand": want & column, "bitor": want | column, "bitxor": want ^ column}[operation]
    assert torch.equal(y, want)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("largest", [False, True])
def test_scans(axis: int, reverse: bool, largest: bool) -> None:
    x, y = whole_numbers((9, 33), "float32"), torch.zeros(9, 33)
    run(scanned((9, 33), axis, reverse, largest), x, y)
    turned = x.flip(axis) if reverse else x
    want = torch.cummax(turned, axis).values if largest else turned.cumsum(axis)
    assert torch.equal(y, want.flip(axis) if reverse else want)


@pytest.mark.parametrize(("operation", "name"), [("sum", "float32"), ("max", "float16"), ("min", "int32")])
@pytest.mark.parametrize("start", [None, 4])
def test_reducers_count_their_start_once(operation: str, name: str, start: float | None) -> None:
    x, y = whole_numbers((6, 32), name), torch.zeros(6).to(dtype(name).torch)
    run(with_reducer(6, 32, operation, name, start), x, y)
    want = FOLDS[operation](x.double(), 1)
    if start is not None:
        want = want + start if operation == "sum" else want.clamp_min(start) if operation == "max" else want.clamp_max(start)
    assert torch.equal(y.double(), want)
