"""Work counted on references: what they do, and what of it nobody can avoid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mosaic.errors import InputError
from mosaic.graph.graph import Graph
from mosaic.graph.reference import run as run_graph
from mosaic.harness.work import Work, work_of

A = torch.randn(64, 32).half()
B = torch.randn(32, 48).half()
S = torch.randn(64, 64)
PRODUCT = 2 * 64 * 32 * 48

Case = tuple[Callable[..., Any], Sequence[torch.Tensor], float, float]
CASES: dict[str, Case] = {
    "product": (lambda a, b: a @ b, (A, B), PRODUCT, 1),
    "widened": (lambda a, b: a.float() @ b.float(), (A, B), PRODUCT, 1),
    "epilogue": (lambda a, b: F.gelu(a @ b) + 1, (A, B), PRODUCT, 1),
    "softmax of a product": (lambda a, b: F.softmax(a @ b, -1), (A, B), PRODUCT, 1),
    "masked product": (lambda a: torch.tril(a @ a), (S,), 2 * 64**3, 0),
    "by a diagonal": (lambda a: torch.diag(a[0]) @ a, (S,), 2 * 64**3, 0),
    "chained": (lambda a: (a @ a) @ a, (S,), 4 * 64**3, 0),
    "summed": (lambda a, b: (a @ b).sum(), (A, B), PRODUCT, 0),
    "summed, then as large": (lambda a: (a @ a).sum() * a, (S,), 2 * 64**3, 0),
    "gathered": (lambda a, b: a[torch.tensor([1, 2])] @ b, (A, B), 2 * 2 * 32 * 48, 0),
    "attention": (lambda a: F.scaled_dot_product_attention(a[None, None], a[None, None], a[None, None]), (S,), 4 * 64**3, 0),
    "no product": (lambda a: F.layer_norm(a, (32,)), (A,), 0, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_products_and_which_of_them_are_certain(name: str) -> None:
    run, inputs, operations, certain = CASES[name]
    work = work_of(run, inputs)
    assert sum(work.products.values()) == operations
    assert sum(work.least_products.values()) == operations * certain


def test_bytes_are_those_of_inputs_and_outputs() -> None:
    work = work_of(lambda a, b: a @ b, (A, B))
    assert (work.inputs, work.outputs, work.bytes) == (2 * (64 * 32 + 32 * 48), 2 * 64 * 48, 2 * (64 * 32 + 32 * 48 + 64 * 48))
    assert (work.least_inputs, work.least_outputs) == (work.inputs, work.outputs)


def test_a_dtype_is_that_of_what_comes_in() -> None:
    assert list(work_of(lambda a, b: a.double() @ b.double(), (A, B)).products) == ["float16"]
    assert list(work_of(lambda a: a @ a, (S,)).products) == ["float32"]


@pytest.mark.parametrize(
    ("run", "read", "written"),
    [
        (lambda a: a[:3] + 1, 0, 3 * 32 * 2),
        (lambda a: a.t(), None, 0),
        (lambda a: torch.zeros(5), None, 20),
        (lambda a: a.gather(0, torch.zeros(1, 32, dtype=torch.int64)), 0, 64),
    ],
)
def test_what_is_picked_or_not_read_is_not_certain(run: Callable[..., Any], read: int | None, written: int) -> None:
    work = work_of(run, (A,))
    assert work.least_inputs == (read if read is not None else work.inputs)
    assert work.least_outputs == written


def test_an_input_that_is_not_used_needs_no_reading() -> None:
    assert work_of(lambda a, b: a + 1, (A, B)).inputs == 64 * 32 * 2


def test_modules_and_attributes() -> None:
    linear = torch.nn.Linear(32, 8).half()
    assert work_of(linear, (A,)).products == {"float16": 2 * 64 * 32 * 8}
    assert work_of(lambda a, *, eps: a + eps, (A,), {"eps": 1.0}).outputs == 64 * 32 * 2


def test_nothing_is_computed_where_it_can_be_helped() -> None:
    huge = torch.empty(1 << 14, 1 << 14, device="meta")
    assert work_of(lambda a: a @ a, (huge,)).products == {"float32": 2.0 * 2**42}
    seen: list[torch.device] = []

    def values(a: torch.Tensor) -> torch.Tensor:
        seen.append(a.device)
        return a * float(a.sum())

    assert work_of(values, (S,)).outputs == 64 * 64 * 4
    assert [device.type for device in seen] == ["meta", "cpu"]


def test_a_graph_is_counted_by_its_reference() -> None:
    graph = Graph("one")
    a, b = graph.input("a", (64, 32), "float16"), graph.input("b", (32, 48), "float16")
    graph.output(graph.call(_matmul(), a, b, name="product"))
    work = work_of(lambda a, b: run_graph(graph, {"a": a, "b": b}, precision="native")[graph.outputs[0]], (A, B))
    assert sum(work.products.values()) == PRODUCT


def _matmul() -> Any:
    from mosaic.graph.kernel import find
    from mosaic.kernels import load

    load()
    return find("gemm")


def test_the_reference_may_fail() -> None:
    with pytest.raises(ZeroDivisionError):
        work_of(lambda a: 1 // 0, (A,))


def test_as_json_and_back() -> None:
    work = work_of(lambda a, b: a @ b, (A, B))
    assert Work.from_dict(work.to_dict()) == work
    for broken in (
        {},
        {**work.to_dict(), "inputs": -1},
        {**work.to_dict(), "products": {"float16": "x"}},
        {**work.to_dict(), "outputs": 1e999},
    ):
        with pytest.raises(InputError, match="malformed"):
            Work.from_dict(broken)
