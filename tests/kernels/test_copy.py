"""Copy, cast, transpose."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

from mosaic.graph.kernel import Spec, find
from tests.kernels.cases import cases, check_lowers, on_cases, targets_for

NAMES = ("cast", "copy", "transpose")


@on_cases(*NAMES)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


@pytest.mark.parametrize(("given", "to"), [("float32", "int32"), ("int32", "float16"), ("uint8", "int32"), ("float16", "float8_e4m3fn")])
def test_casts_between_kinds(given: str, to: str) -> None:
    from mosaic.dtypes import dtype
    from mosaic.targets.cpu import compile_cpu

    kernel = find("cast")
    binding = kernel.bind((Spec((3, 5), given),), {"to": to})
    assert binding.outputs == (Spec((3, 5), to),)
    x = (torch.arange(15).view(3, 5) * 2.25).to(dtype(given).torch)
    y = torch.empty(3, 5).to(dtype(to).torch)
    compile_cpu(kernel.instantiate(binding))(x, y)
    (wanted,) = kernel.run_reference([x], binding)
    assert torch.equal(y.double(), wanted.double())


def test_the_references() -> None:
    x = torch.arange(6.0, dtype=torch.float64).view(2, 3)
    assert find("transpose").reference(x).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert torch.equal(find("copy").reference(x), x)
    assert find("cast").reference(x, to="float16").dtype is torch.float64, "float64 stands for no rounding"
    assert find("cast").reference(x.float(), to="float16").dtype is torch.float16
    assert find("cast").reference(x, to="int32").dtype is torch.int32
