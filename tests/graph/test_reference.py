"""Graphs computed by their kernels' references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.dtypes import DTYPES
from mosaic.errors import GraphError, InputError, KernelError
from mosaic.graph import Graph, from_json, kernel, run, to_json
from tests.graph import tiny


def chain(dtype: str = "float16") -> Graph:
    """y = (x / 3) w, with a weight of ones."""
    graph = Graph("g")
    x = graph.input("x", (2, 3), dtype)
    third = graph.call("tiny_scale", x, factor=1 / 3, name="third")
    graph.output(graph.call("tiny_matmul", third, graph.constant("w", torch.ones(3, 4).to(DTYPES[dtype].torch)), name="y"))
    return graph


@pytest.mark.parametrize("dtype", tiny.FLOATS)
def test_float64_rounds_nothing_between_nodes(dtype: str) -> None:
    x = tiny.random_tensor((2, 3), dtype, 1)
    values = run(chain(dtype), {"x": x})
    assert set(values) == {"x", "w", "third", "y"}
    assert all(value.dtype == torch.float64 for value in values.values())
    exact = x.to(torch.float64)
    assert torch.equal(values["x"], exact)
    assert torch.equal(values["third"], exact * (1 / 3))
    torch.testing.assert_close(values["y"], (exact / 3).sum(dim=1, keepdim=True).expand(2, 4), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("dtype", tiny.FLOATS)
def test_native_rounds_each_tensor_once(dtype: str) -> None:
    x = tiny.random_tensor((2, 3), dtype, 1)
    values = run(chain(dtype), {"x": x}, precision="native")
    assert all(value.dtype == DTYPES[dtype].torch for value in values.values())
    wide = torch.float64 if dtype == "float64" else torch.float32
    third = (x.to(wide) * (1 / 3)).to(DTYPES[dtype].torch)
    assert torch.equal(values["third"].to(wide), third.to(wide))
    product = (third.to(wide) @ torch.ones(3, 4, dtype=wide)).to(DTYPES[dtype].torch)
    assert torch.equal(values["y"].to(wide), product.to(wide))


def test_native_accumulates_in_float32() -> None:
    graph = Graph("g")
    x = graph.input("x", (1, 4096), "float16")
    graph.output(graph.call("tiny_matmul", x, graph.constant("w", torch.ones(4096, 1, dtype=torch.float16)), name="sum"))
    ones = torch.ones(1, 4096, dtype=torch.float16)
    ones[0, 1:] = 2**-12  # each too small to move a half of 1 on its own
    assert run(graph, {"x": ones}, precision="native")["sum"].item() == torch.tensor(1 + 4095 * 2**-12, dtype=torch.float16).item()


@pytest.mark.parametrize("precision", ["float64", "native"])
def test_integers_and_booleans_keep_their_dtypes(precision: Any) -> None:
    @kernel(
        inputs={"n": "M : int8", "m": "M : bool", "x": "M : T"},
        outputs={"k": "M : int8", "b": "M : bool", "y": "M : T"},
        reference=lambda n, m, x: (n.to(torch.int64) + 1, (n > 1) & m, x),
    )
    def test_mixed(M: int, T: str) -> None: ...

    graph = Graph("g")
    n, m, x = graph.input("n", (3,), "int8"), graph.constant("m", torch.tensor([True, False, True])), graph.input("x", (3,), "float16")
    graph.output(*graph.call("test_mixed", n, m, x, name="r"))
    values = run(graph, {"n": torch.tensor([1, 2, 3], dtype=torch.int8), "x": torch.ones(3, dtype=torch.float16)}, precision=precision)
    assert (values["n"].dtype, values["m"].dtype) == (torch.int8, torch.bool)
    assert values["r.k"].dtype == torch.int8
    assert values["r.k"].tolist() == [2, 3, 4]
    assert values["r.b"].dtype == torch.bool
    assert values["r.b"].tolist() == [False, False, True]
    assert values["r.y"].dtype == (torch.float64 if precision == "float64" else torch.float16)


def test_several_outputs_and_views() -> None:
    graph = Graph("g")
    x = graph.input("x", (2, 6), "float32")
    flat = graph.view(x, (3, 4))
    graph.output(*graph.call("tiny_rows", flat, name="rows"))
    values = run(graph, {"x": torch.arange(12.0).reshape(2, 6)})
    assert values["rows.top"].tolist() == [3, 7, 11]
    assert values["rows.index"].dtype == torch.int32
    assert values["rows.index"].tolist() == [3, 3, 3]
    assert values[flat.name].shape == (3, 4)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, r"needs the input 'x', float16\[2, 3\]"),
        ({"x": torch.ones(2, 3).half(), "xx": torch.ones(2)}, r"no input 'xx'; did you mean x"),
        ({"x": torch.ones(2, 3).half(), "third": torch.ones(2)}, r"no input 'third'; its inputs are x"),
        ({"x": torch.ones(2, 4).half()}, r"input 'x' must be float16\[2, 3\], not float16\[2, 4\]"),
        ({"x": torch.ones(2, 3)}, r"input 'x' must be float16\[2, 3\], not float32\[2, 3\]"),
        ({"x": [1.0]}, "input 'x' must be a PyTorch tensor, not a list"),
    ],
)
def test_inputs_that_are_not_as_declared(inputs: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        run(chain(), inputs)
    assert "\n" not in str(caught.value)


def test_inputs_must_share_a_device() -> None:
    graph = Graph("g")
    graph.output(graph.call("tiny_add", graph.input("a", (2, 2), "float32"), graph.input("b", (2, 2), "float32")))
    with pytest.raises(InputError, match="one device; 'a' on cpu but 'b' on meta"):
        run(graph, {"a": torch.ones(2, 2), "b": torch.ones(2, 2, device="meta")})


def test_options_that_are_none() -> None:
    wrong: Any = "float32"
    with pytest.raises(InputError, match="precision is 'float64' or 'native'"):
        run(chain(), {}, precision=wrong)
    with pytest.raises(InputError, match="keep 'all' or 'outputs'"):
        run(chain(), {}, keep=wrong)


def test_a_graph_without_weights_or_outputs_cannot_run() -> None:
    with pytest.raises(GraphError, match="constant 'w' has no content"):
        run(from_json(to_json(chain())), {"x": torch.ones(2, 3).half()})
    graph = Graph("g")
    graph.call("tiny_scale", graph.input("x", (2, 2), "float32"))
    with pytest.raises(GraphError, match="no outputs"):
        run(graph, {"x": torch.ones(2, 2)})


def _in_place(x: torch.Tensor) -> torch.Tensor:
    return x.add_(1)


def _raises(x: torch.Tensor) -> torch.Tensor:
    raise ValueError("first line\nsecond line")


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        (_raises, "failed: ValueError: first line$"),
        (_in_place, "changes its inputs in place"),
        (lambda x: (x, x), "returned 2 tensors, but 1 are registered"),
        (lambda x: x.tolist()[0][0], "returned for 'y' a float, not a tensor"),
        (lambda x: x.T, r"returned for 'y' float64\[3, 2\], but float32\[2, 3\] follows from its registration"),
        (lambda x: x * 1j, "returned for 'y' complex numbers"),
        (lambda x: x.float(), r"returned for 'y' float32\[2, 3\] although its inputs are float64"),
    ],
)
def test_references_that_break_their_word(reference: Callable[..., Any], problem: str) -> None:
    @kernel(inputs={"x": "M N : T"}, outputs={"y": "M N : T"}, reference=reference)
    def test_broken(M: int, N: int, T: str) -> None: ...

    graph = Graph("g")
    graph.output(graph.call("test_broken", graph.input("x", (2, 3), "float32"), name="bad"))
    x = torch.arange(6.0).reshape(2, 3)
    with pytest.raises(KernelError, match=f"graph 'g', node 'bad': the reference of kernel 'test_broken' {problem}"):
        run(graph, {"x": x})
    assert torch.equal(x, torch.arange(6.0).reshape(2, 3))


def test_in_place_on_a_callers_tensor_is_told() -> None:
    @kernel(inputs={"x": "M : int32"}, outputs={"y": "M : int32"}, reference=_in_place)
    def test_in_place(M: int) -> None: ...

    graph = Graph("g")
    graph.output(graph.call("test_in_place", graph.input("x", (3,), "int32")))
    with pytest.raises(KernelError, match="changes its inputs in place"):
        run(graph, {"x": torch.zeros(3, dtype=torch.int32)})


@pytest.mark.parametrize(
    ("declared", "value", "fits"),
    [
        ("int8", 127, True),
        ("int8", 128, False),
        ("int8", 3.0, True),
        ("int8", 3.5, False),
        ("int8", float("nan"), False),
        ("int8", float("inf"), False),
        ("uint8", -1, False),
        ("int32", 2**31, False),
        ("int32", -(2**31), True),
        ("int64", 2.0**63, False),
        ("bool", 1, True),
        ("bool", 2, False),
        ("bool", 0.0, True),
    ],
)
def test_integer_outputs_must_be_held_exactly(declared: str, value: Any, fits: bool) -> None:
    @kernel(
        inputs={"x": "M : T"}, outputs={"y": "M : U"}, attributes={"U": "int8"}, reference=lambda x: torch.full_like(x, value, dtype=kind)
    )
    def test_integers(M: int, T: str, U: str) -> None: ...

    kind = torch.float64 if isinstance(value, float) else torch.int64
    graph = Graph("g")
    graph.output(graph.call("test_integers", graph.input("x", (2,), "float32"), U=declared, name="y"))
    if fits:
        assert run(graph, {"x": torch.zeros(2)})["y"].tolist() == [value, value]
        assert run(graph, {"x": torch.zeros(2)})["y"].dtype == DTYPES[declared].torch
    else:
        with pytest.raises(KernelError, match=f"with values that {declared} cannot hold exactly"):
            run(graph, {"x": torch.zeros(2)})


def test_floats_may_follow_from_integers_alone() -> None:
    @kernel(inputs={"n": "M : int32"}, outputs={"y": "M : float16"}, reference=lambda n: n * 0.5)
    def test_halves(M: int) -> None: ...

    graph = Graph("g")
    graph.output(graph.call("test_halves", graph.input("n", (2,), "int32"), name="y"))
    n = torch.tensor([1, 3], dtype=torch.int32)
    assert run(graph, {"n": n})["y"].dtype == torch.float64
    assert run(graph, {"n": n}, precision="native")["y"].dtype == torch.float16
    assert run(graph, {"n": n})["y"].tolist() == [0.5, 1.5]


def test_keeping_the_outputs_alone_frees_the_rest() -> None:
    alive: list[Any] = []

    def remember(x: torch.Tensor) -> torch.Tensor:
        import weakref

        alive.append([ref() is not None for ref in references])
        result = x + 1
        references.append(weakref.ref(result))
        return result

    references: list[Any] = []

    @kernel(inputs={"x": "M : T"}, outputs={"y": "M : T"}, reference=remember)
    def test_remember(M: int, T: str) -> None: ...

    graph = Graph("g")
    x = graph.input("x", (4,), "float64")
    for step in range(4):
        x = graph.call("test_remember", x, name=f"step{step}")
    graph.output(x)
    given_x = {"x": torch.zeros(4, dtype=torch.float64)}
    kept = run(graph, given_x, keep="outputs")
    assert list(kept) == ["step3"]
    assert alive == [[], [True], [False, True], [False, False, True]]
    alive.clear()
    references.clear()
    everything = run(graph, given_x, keep="all")
    assert list(everything) == ["x", "step0", "step1", "step2", "step3"]
    assert alive[3] == [True, True, True]


def test_gradients_are_not_tracked() -> None:
    values = run(chain("float32"), {"x": torch.ones(2, 3, requires_grad=True)})
    assert not any(value.requires_grad for value in values.values())


def test_results_are_dense() -> None:
    @kernel(inputs={"x": "M N : T"}, outputs={"y": "N M : T"}, reference=lambda x: x.T)
    def test_transpose(M: int, N: int, T: str) -> None: ...

    graph = Graph("g")
    graph.output(graph.call("test_transpose", graph.input("x", (2, 3), "float32"), name="y"))
    x = torch.arange(6.0).reshape(3, 2).T
    values = run(graph, {"x": x})
    assert all(value.is_contiguous() for value in values.values())
    assert torch.equal(values["y"], x.T.double())


@settings(max_examples=50)
@given(tiny.random_graphs(), st.data())
def test_two_halves_compute_what_the_whole_does(graph: Graph, data: st.DataObject) -> None:
    """A graph cut anywhere in its order, run as two graphs on the stored tensors, gives the same bits."""
    inputs = tiny.random_inputs(graph)
    whole = run(graph, inputs, precision="native")
    names = [node.name for node in graph.nodes]
    cut = data.draw(st.integers(0, len(names)))
    stored = {**inputs, **{name: content for name, content in graph.constants.items() if content is not None}}
    for half in (names[:cut], names[cut:]):
        used = [output for name in half for output in graph.node(name).outputs]
        if not any(output in graph.outputs or any(user.name not in half for user in graph.consumers(output)) for output in used):
            continue
        part = graph.subgraph(half)
        stored |= run(part, {name: stored[name] for name in part.inputs}, precision="native", keep="outputs")
    for name in graph.outputs:
        assert torch.equal(stored[name].view(torch.uint8), whole[name].view(torch.uint8))


@settings(max_examples=50)
@given(tiny.random_graphs())
def test_every_tensor_is_as_declared(graph: Graph) -> None:
    for precision in ("float64", "native"):
        values = run(graph, tiny.random_inputs(graph), precision=precision)
        assert set(values) == set(graph.tensors)
        for name, value in values.items():
            spec = graph.tensors[name].spec
            wide = precision == "float64" and DTYPES[spec.dtype].is_float
            assert tuple(value.shape) == spec.shape
            assert value.dtype == (torch.float64 if wide else DTYPES[spec.dtype].torch)
            assert value.is_contiguous()
