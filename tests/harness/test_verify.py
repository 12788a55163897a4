"""Verification of candidates: what is right passes, and each way to be wrong has its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import torch

from mosaic.errors import InputError
from mosaic.graph import Graph, run
from mosaic.harness.inputs import DISTRIBUTIONS
from mosaic.harness.verify import poisoned, verify
from tests.harness.honest import feed_forward, product_graph

Tensors = dict[str, torch.Tensor]
QUICK: Final = ("normal", "integers", "equal")


def product(inputs: Tensors) -> Tensors:
    return {"c": (inputs["a"].float() @ inputs["b"].float()).half()}


def in_place(inputs: Tensors) -> Tensors:
    made = product(inputs)
    inputs["a"].mul_(0.5)
    return made


def broken(inputs: Tensors) -> Tensors:
    raise RuntimeError("out of\nregisters")


def unwritten(inputs: Tensors) -> Tensors:
    made = torch.empty(inputs["a"].shape[0], inputs["b"].shape[1], dtype=torch.float16)
    made[:-1] = product(inputs)["c"][:-1]
    return {"c": made}


class Lazy(torch.Tensor):
    """A tensor that may compute when it is looked at."""


def overflowing(inputs: Tensors) -> Tensors:
    made = product(inputs)["c"]
    made[1, 1] = torch.inf
    return {"c": made}


def only_for_random(inputs: Tensors) -> Tensors:
    """Skips the work where all elements are equal."""
    made = product(inputs)["c"]
    return {"c": torch.zeros_like(made) if inputs["a"].eq(inputs["a"].reshape(-1)[0]).all() else made}


WRONG: Final[dict[str, tuple[Callable[[Tensors], Any], str]]] = {
    "transposed": (lambda inputs: {"c": product(inputs)["c"].T.contiguous()}, "wrong_shape"),
    "broadcastable": (lambda inputs: {"c": product(inputs)["c"][None]}, "wrong_shape"),
    "float32": (lambda inputs: {"c": inputs["a"].float() @ inputs["b"].float()}, "wrong_dtype"),
    "named otherwise": (lambda inputs: {"d": product(inputs)["c"]}, "missing_output"),
    "a list": (lambda inputs: [product(inputs)["c"]], "wrong_type"),
    "not a tensor": (lambda inputs: {"c": product(inputs)["c"].tolist()}, "wrong_type"),
    "a subclass": (lambda inputs: {"c": product(inputs)["c"].as_subclass(Lazy)}, "wrong_type"),
    "in place": (in_place, "input_mutated"),
    "broken": (broken, "crashed"),
    "a row that is not written": (unwritten, "nan"),
    "an infinity": (overflowing, "infinity"),
    "zeros": (lambda inputs: {"c": torch.zeros_like(product(inputs)["c"])}, "mismatch"),
    "work left out": (only_for_random, "mismatch"),
    "a bit too large": (lambda inputs: {"c": (inputs["a"].float() @ inputs["b"].float() * 1.003).half()}, "mismatch"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_way_to_be_wrong_has_its_name(name: str) -> None:
    candidate, failure = WRONG[name]
    report = verify(product_graph(8, 64, 12), candidate, distributions=QUICK)
    assert report.status == "fail"
    assert failure in {finding.failure for finding in report.failures}
    assert report.failures[0].message
    assert failure in report.summary()


def test_an_honest_product_passes_everywhere() -> None:
    report = verify(product_graph(9, 33, 17), product, seed=3, trials=2)
    assert report.passed, report.summary()
    assert {finding.distribution for finding in report.findings} | {s.distribution for s in report.skipped} == set(DISTRIBUTIONS)
    assert 0 < report.ratio <= 1.0
    assert {finding.trial for finding in report.findings} == {0, 1}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("precision", ["native", "float64"])
def test_a_block_passes_rounded_or_not(dtype: str, precision: Any) -> None:
    graph = feed_forward(dtype, 10, 24, 40)

    def candidate(inputs: Tensors) -> Tensors:
        values = run(graph, inputs, precision=precision, keep="outputs")
        return {name: value.to(inputs["x"].dtype) for name, value in values.items()}

    report = verify(graph, candidate, seed=1)
    assert report.passed, report.summary()


def test_the_worst_element_is_shown() -> None:
    def candidate(inputs: Tensors) -> Tensors:
        made = product(inputs)["c"]
        made[3, 5] += 4.0
        return {"c": made}

    report = verify(product_graph(8, 64, 12), candidate, distributions=("normal",))
    (failure,) = report.failures
    assert failure.worst == (3, 5)
    assert failure.got is not None
    assert failure.wanted is not None
    assert failure.allowed is not None
    assert failure.got - failure.wanted == pytest.approx(4.0, abs=0.1)
    assert failure.ratio == pytest.approx(abs(failure.got - failure.wanted) / failure.allowed)
    assert "c[3, 5]" in failure.message
    assert "1 of 96 elements" in failure.message


def test_the_same_seed_gives_the_same_report() -> None:
    graph = product_graph(5, 20, 6)
    first, second = (verify(graph, product, seed=4, distributions=QUICK) for _ in range(2))
    assert first == second
    assert first != verify(graph, product, seed=5, distributions=QUICK)


def test_a_failure_in_one_run_does_not_stop_the_others() -> None:
    calls = 0

    def candidate(inputs: Tensors) -> Tensors:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("once")
        return product(inputs)

    report = verify(product_graph(4, 8, 4), candidate, distributions=QUICK)
    assert [finding.failure for finding in report.findings] == ["crashed", None, None]
    assert report.failures[0].message == "ValueError: once"


def test_inputs_replaced_in_the_mapping_are_no_mutation() -> None:
    def candidate(inputs: Tensors) -> Mapping[str, torch.Tensor]:
        made = product(inputs)
        inputs["a"] = torch.zeros(1)
        return made

    assert verify(product_graph(4, 8, 4), candidate, distributions=QUICK).passed


def test_whole_numbers_must_be_exact() -> None:
    """A relative error that hides in the rounding of random numbers shows on whole ones."""

    def candidate(inputs: Tensors) -> Tensors:
        exact = inputs["a"].double() @ inputs["b"].double()
        return {"c": (exact * (1 + 2.0**-21)).float()}

    graph = product_graph(16, 32, 16, "float32")
    assert verify(graph, candidate, distributions=("normal",)).passed
    report = verify(graph, candidate, distributions=("integers",))
    assert report.failures
    assert report.explanations["c"].startswith("exact")


def test_loose_bounds_are_inconclusive() -> None:
    graph = Graph("cancelling")
    x, y = graph.input("x", (4, 4), "float16"), graph.input("y", (4, 4), "float16")
    total = graph.call("judged_add", x, y, name="total")
    graph.output(graph.call("judged_add", total, graph.input("z", (4, 4), "float16"), name="rest"))

    def candidate(inputs: Tensors) -> Tensors:
        return {"rest": inputs["x"] + inputs["y"] + inputs["z"]}

    ranges = {"x": (1e4, 1e4), "y": (1.5e-3, 1.5e-3), "z": (-1e4, -1e4)}
    report = verify(graph, candidate, distributions=("normal",), ranges=ranges)
    assert report.status == "inconclusive"
    assert verify(graph, candidate, distributions=("normal",)).passed


def test_new_memory_is_poisoned() -> None:
    with poisoned():
        assert torch.isnan(torch.empty(3)).all()
        assert torch.isnan(torch.empty_like(torch.ones(3, dtype=torch.float16))).all()
        assert torch.isnan(torch.ones(2).new_empty(4)).all()
        assert torch.empty(3, dtype=torch.int8).tolist() == [-128] * 3
        assert torch.zeros(3).tolist() == [0.0] * 3
    with poisoned(False):
        assert torch.ones(2).tolist() == [1.0, 1.0]


def test_senseless_requests_are_refused() -> None:
    with pytest.raises(InputError, match="at least one trial"):
        verify(product_graph(2, 2, 2), product, trials=0)
    with pytest.raises(InputError, match="at least one trial"):
        verify(product_graph(2, 2, 2), product, distributions=())
    with pytest.raises(InputError, match="no input distribution"):
        verify(product_graph(2, 2, 2), product, distributions=("odd",))


def test_indices_and_masks_are_legal() -> None:
    graph = Graph("embedding")
    graph.output(graph.call("judged_embedding", graph.input("ids", (40,), "int32"), graph.input("table", (7, 3), "float16"), name="y"))
    report = verify(graph, lambda inputs: {"y": inputs["table"][inputs["ids"].long()]})
    assert report.passed, report.summary()
    off = verify(graph, lambda inputs: {"y": inputs["table"][(inputs["ids"].long() + 1) % 7]})
    assert off.status == "fail"
