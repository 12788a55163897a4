"""Rows picked from tables."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.errors import KernelError
from mosaic.graph.kernel import Spec, find
from tests.kernels.cases import cases, check_lowers, on_cases, targets_for

NAMES = ("add_positions", "embedding")


@on_cases(*NAMES, count=5)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def test_the_references() -> None:
    ids, table = torch.tensor([3, 0, 3, 2], dtype=torch.int32), torch.randn(5, 7, dtype=torch.float64)
    assert torch.equal(find("embedding").reference(ids, table), functional.embedding(ids, table))
    x = torch.randn(3, 4, 7, dtype=torch.float64)
    assert torch.equal(find("add_positions").reference(x.view(12, 7), table, S=4), (x + table[:4]).view(12, 7))
    assert torch.equal(find("add_positions").reference(x[0], table, S=0), x[0] + table[:4])


def test_an_id_outside_the_table_gives_zeros() -> None:
    from mosaic.targets.cpu import compile_cpu

    kernel = find("embedding")
    ids, table, y = torch.tensor([-1, 0, 5, 2**31 - 1], dtype=torch.int32), torch.randn(5, 7), torch.empty(4, 7)
    compile_cpu(kernel.instantiate(kernel.bind((Spec((4,), "int32"), Spec((5, 7), "float32")))))(ids, table, y)
    assert torch.equal(y, torch.stack([torch.zeros(7), table[0], torch.zeros(7), torch.zeros(7)]))


def test_more_positions_than_the_table_has() -> None:
    kernel = find("add_positions")
    specs = (Spec((12, 7), "float32"), Spec((5, 7), "float32"))
    assert kernel.instantiate(kernel.bind(specs, {"S": 4})) is not None
    with pytest.raises(KernelError, match="sequences of 6 rows need as many positions, but `table` has only 5"):
        kernel.instantiate(kernel.bind(specs, {"S": 6}))
    with pytest.raises(KernelError, match="sequences of 12 rows"):
        kernel.instantiate(kernel.bind(specs))
