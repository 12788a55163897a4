"""Normalisation of rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.graph.kernel import Spec, find
from mosaic.kernels.norm import LONGEST_ROW
from tests.kernels.cases import Case, cases, check_lowers, on_cases, targets_for

NAMES = ("layer_norm", "rms_norm")


@on_cases(*NAMES, count=5)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def test_the_references() -> None:
    x, weight, bias = torch.randn(4, 9, dtype=torch.float64), torch.randn(9, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    assert torch.allclose(find("layer_norm").reference(x, weight, bias, eps=1e-3), functional.layer_norm(x, (9,), weight, bias, 1e-3))
    assert torch.allclose(find("rms_norm").reference(x, weight, eps=1e-3), functional.rms_norm(x, (9,), weight, 1e-3))


@pytest.mark.parametrize("target", ["cpu", "sm_90a", "gfx942"])
def test_rows_too_long_for_registers(target: str) -> None:
    """A layer norm of a row like this is read three times; its chunks do not divide it."""
    vector = Spec((LONGEST_ROW + 77,), "float16")
    kernel = find("layer_norm")
    inputs = (Spec((2, *vector.shape), "float16"), vector, vector)
    case = Case(kernel, inputs, {}, next(kernel.choices(kernel.bind(inputs))))
    if target == "cpu":
        case.check_on_cpu()
    else:
        case.check_lowers(target)


def test_a_row_of_many_chunks() -> None:
    inputs = (Spec((3, 5000), "bfloat16"), Spec((5000,), "bfloat16"))
    Case(find("rms_norm"), inputs, {}, {"block_M": 2, "block_N": 384, "threads": 128}).check_on_cpu()


def test_a_mean_far_from_zero_does_not_cancel_the_variance() -> None:
    """With E[x²] - E[x]² in float32 the variance of these rows would come out wrong by its own size."""
    from mosaic.targets.cpu import compile_cpu

    x = torch.randn(4, 384, generator=torch.Generator().manual_seed(1)) + 10000
    kernel = find("layer_norm")
    specs = (Spec((4, 384), "float32"), Spec((384,), "float32"), Spec((384,), "float32"))
    got, ones, zeros = torch.empty(4, 384), torch.ones(384), torch.zeros(384)
    compile_cpu(kernel.instantiate(kernel.bind(specs)))(x, ones, zeros, got)
    wanted = kernel.reference(x.double(), ones.double(), zeros.double(), eps=1e-5)
    # x itself is known to half a unit in the last place, 2^-11; the mean adds as much
    assert (got - wanted).abs().max() < 4 * 2.0**-11
