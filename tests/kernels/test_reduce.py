"""Reductions of rows and of sequences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.graph.kernel import Spec, find
from mosaic.targets.cpu import compile_cpu
from tests.kernels.cases import Case, cases, check_lowers, on_cases, targets_for

NAMES = ("argmax", "l2_normalize", "masked_mean_pool", "row_max", "row_mean", "row_sum")


@on_cases(*NAMES, count=4)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def test_the_references() -> None:
    x = torch.randn(5, 9, dtype=torch.float64)
    assert torch.allclose(find("row_sum").reference(x), torch.einsum("ij->i", x))
    assert torch.allclose(find("row_mean").reference(x), torch.einsum("ij->i", x) / 9)
    assert torch.equal(find("row_max").reference(x), x.sort(-1).values[:, -1])
    assert torch.equal(find("argmax").reference(x).long(), x.argmax(-1))
    assert torch.allclose(find("l2_normalize").reference(x, eps=1e-12), functional.normalize(x))
    assert torch.equal(find("l2_normalize").reference(torch.zeros(2, 3), eps=1e-12), torch.zeros(2, 3))


def test_the_first_of_equal_elements_wins() -> None:
    x = torch.zeros(4, 300)
    x[0, [7, 150, 299]] = 2.0
    x[1] = -torch.inf
    x[2, :] = -1.0
    x[3, 299] = 1.0
    wanted = [7, 0, 0, 299]
    assert find("argmax").reference(x).tolist() == wanted
    kernel = find("argmax")
    y = torch.empty(4, dtype=torch.int32)
    binding = kernel.bind((Spec((4, 300), "float32"),))
    compile_cpu(kernel.instantiate(binding, {"block_M": 4, "block_N": 128, "threads": 128}))(x, y)
    assert y.tolist() == wanted


@pytest.mark.parametrize("name", ["argmax", "row_max", "row_mean", "row_sum"])
def test_rows_of_many_chunks(name: str) -> None:
    kernel = find(name)
    specs = (Spec((2, 5003), "float16"),)
    Case(kernel, specs, {}, next(kernel.choices(kernel.bind(specs)))).check_on_cpu()


def test_pooling_leaves_out_what_is_masked() -> None:
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 2]], dtype=torch.int32)
    x[0, 1] = torch.nan  # left out, whatever it is
    got = find("masked_mean_pool").reference(x, mask)
    assert torch.allclose(got, torch.stack([(x[0, 0] + x[0, 2]) / 2, torch.zeros(5).double(), x[2].mean(0)]))
    kernel = find("masked_mean_pool")
    y = torch.empty(3, 5)
    compile_cpu(kernel.instantiate(kernel.bind((Spec((3, 4, 5), "float32"), Spec((3, 4), "int32")))))(x.float(), mask, y)
    assert torch.allclose(y.double(), got, atol=1e-6)
