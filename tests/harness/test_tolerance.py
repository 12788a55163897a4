"""The bounds of graphs: honest candidates pass, subtly wrong ones don't."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.dtypes import DTYPES
from mosaic.errors import GraphError, InputError, KernelError
from mosaic.graph import Graph, from_json, run, to_json
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.bound import Bound
from mosaic.harness.inputs import draw
from mosaic.harness.tolerance import bounds, bounds_of
from tests.graph import tiny
from tests.harness.honest import FINITE, feed_forward, numbers, product_graph, random_graph, store

Tensors = dict[str, torch.Tensor]


FINITE_ANYWHERE: Final = (*FINITE, "large")


def worst(bound: Bound, got: torch.Tensor) -> float:
    return float(bound.compare(got).ratio.max()) if got.numel() else 0.0


def check(graph: Graph, inputs: Tensors, samples: int = 24) -> None:
    """What the unfused graph stores, and what a kernel that rounds nothing on the way gives, are within the bounds."""
    limits = bounds(graph, inputs, samples=samples)
    for precision in ("native", "float64"):
        values = run(graph, inputs, precision=precision)
        for name, bound in limits.items():
            got = store(values[name], graph.tensors[name].dtype)
            comparison = bound.compare(got)
            assert comparison.passed, (precision, name, comparison.worst, worst(bound, got), bound.explanation)


# Honest


@settings(max_examples=40)
@given(tiny.random_graphs(), st.integers(0, 1000))
def test_random_graphs_are_within_their_bounds(graph: Graph, seed: int) -> None:
    check(graph, tiny.random_inputs(graph, seed), samples=8)


def check_seed(seed: int) -> None:
    graph = random_graph(seed)
    distribution = FINITE_ANYWHERE[seed % len(FINITE_ANYWHERE)]
    inputs = draw(graph, distribution, seed).tensors
    assert inputs is not None
    check(graph, inputs, samples=(24, 8, 0)[seed % 3])


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_deep_random_graphs_are_within_their_bounds(first: int) -> None:
    for seed in range(first, first + 20):
        check_seed(seed)


@pytest.mark.fuzz
def test_many_deep_random_graphs_are_within_their_bounds() -> None:
    for seed in range(1000, 5000):
        check_seed(seed)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("distribution", FINITE)
def test_feed_forward_is_within_its_bound(dtype: str, distribution: str) -> None:
    graph = feed_forward(dtype)
    x = numbers((24, 48), dtype, distribution, 5)
    check(graph, {"x": x})


@pytest.mark.parametrize(("dtype", "loosest"), [("float16", 0.01), ("bfloat16", 0.08), ("float32", 6e-5)])
def test_the_bound_of_a_feed_forward_block_is_useful(dtype: str, loosest: float) -> None:
    """Five nodes deep, and still within a few roundings of the values' size."""
    graph = feed_forward(dtype)
    inputs = {"x": numbers((24, 48), dtype, seed=5)}
    (bound,) = bounds(graph, inputs).values()
    assert bound.looseness < loosest
    ratio = bound.compare(run(graph, inputs, precision="native")["y"]).ratio
    assert 0.01 < float(ratio.median()) < 1.0 or dtype == "float32"


def test_samples_replace_the_worst_case_only_where_they_are_less() -> None:
    graph = feed_forward()
    inputs = {"x": numbers((24, 48), seed=5)}
    (without,), (with_samples,) = bounds(graph, inputs, samples=0).values(), bounds(graph, inputs).values()
    assert bool((with_samples.error <= without.error * (1 + 1e-9)).all())
    assert with_samples.looseness < without.looseness / 2


def test_deep_graphs_keep_useful_bounds() -> None:
    graph = Graph("deep")
    x = graph.input("x", (8, 64), "float16")
    for layer in range(8):
        weight = graph.constant(f"w{layer}", store(numbers((64, 64), "float32", seed=layer) / 8, "float16"))
        x = graph.call("judged_matmul", x, weight, name=f"y{layer}")
    graph.output(x)
    inputs = {"x": numbers((8, 64), seed=1)}
    (bound,) = bounds(graph, inputs).values()
    assert bound.looseness < 0.03
    assert bound.compare(run(graph, inputs, precision="native")["y7"]).passed
    assert torch.isfinite(bound.error).all()


def test_the_explanation_names_nodes_dtypes_and_lengths() -> None:
    (bound,) = bounds(feed_forward(), {"x": numbers((24, 48), seed=5)}).values()
    assert "rounding 'up' to float16" in bound.explanation
    assert "float16: median" in bound.explanation
    (product,) = bounds(product_graph(4, 512, 4), {"a": numbers((4, 512)), "b": numbers((512, 4))}).values()
    assert "c: adding 512 terms in float32 products" in product.explanation


def test_equal_rows_get_equal_errors() -> None:
    """Rounding errors of equal elements do not cancel: the bound must not assume it."""
    graph = Graph("equal")
    x, w = graph.input("x", (2, 512), "float16"), graph.input("w", (512, 2), "float16")
    graph.output(graph.call("judged_matmul", graph.call("judged_gelu", x, name="g"), w, name="y"))
    for value in (0.7, 1.3, 0.123, 2.9):
        inputs = {"x": torch.full((2, 512), value).half(), "w": torch.full((512, 2), 1.0).half()}
        check(graph, inputs)
        check(graph, inputs, samples=0)


def test_errors_of_a_pattern_do_not_cancel() -> None:
    """Half of a subnormal number lies between two of them, and GELU a little above: all are rounded up."""
    graph = Graph("pattern")
    x, w = graph.input("x", (4, 512), "float16"), graph.constant("w", torch.ones(512, 2).half())
    half = graph.call("judged_gelu", x, name="half")
    graph.output(
        graph.call("judged_matmul", graph.call("judged_matmul", half, w, name="y"), graph.constant("v", torch.ones(2, 2).half()), name="z")
    )
    odd = (2 * torch.arange(4 * 512).reshape(4, 512) % 1021 + 1).double() * 2.0**-24
    check(graph, {"x": odd.half()})
    check(graph, {"x": odd.half()}, samples=0)


def test_overflow_between_nodes_leaves_nothing_known() -> None:
    graph = Graph("overflow")
    x = graph.input("x", (2, 2), "float16")
    double = graph.call("judged_add", x, x, name="double")
    graph.output(graph.call("tiny_scale", double, factor=0.25, name="y"))
    inputs = {"x": torch.tensor([[60000.0, 1.0], [2.0, 3.0]]).half()}
    (bound,) = bounds(graph, inputs).values()
    assert torch.isinf(bound.error).tolist() == [[True, False], [False, False]]
    for answer in (30000.0, float("inf")):
        assert bound.compare(torch.tensor([[answer, 0.5], [1.0, 1.5]]).half()).passed
    assert not bound.compare(torch.tensor([[30000.0, 0.75], [1.0, 1.5]]).half()).passed


def test_overflow_at_an_output_is_an_infinity_or_the_largest_number() -> None:
    graph = Graph("overflow")
    x = graph.input("x", (2,), "float16")
    graph.output(graph.call("tiny_scale", graph.view(x, (1, 2)), factor=2.0, name="y"))
    (bound,) = bounds(graph, {"x": torch.tensor([60000.0, 1.0]).half()}).values()
    assert bound.compare(torch.tensor([[float("inf"), 2.0]]).half()).passed
    assert not bound.compare(torch.tensor([[60000.0, 2.0]]).half()).passed


def test_discrete_nodes_after_rounding() -> None:
    """An arg-max and codes of a rounded product: alternatives within the error, and nothing else."""
    graph = Graph("discrete")
    a, b = graph.input("a", (16, 64), "float16"), graph.input("b", (64, 16), "float16")
    c = graph.call("judged_matmul", a, b, name="c")
    codes, scale = graph.call("judged_quantise", c, name="q")
    graph.output(graph.call("judged_argmax", c, name="i"), codes, scale)
    inputs = {"a": numbers((16, 64), seed=1), "b": numbers((64, 16), seed=2)}
    check(graph, inputs)
    limits = bounds(graph, inputs)
    values = run(graph, inputs, precision="native")
    assert float(limits[codes.name].error.max()) == 1.0
    assert 0 < float((limits[codes.name].error > 0).double().mean()) < 0.3
    wrong = values["i"].clone()
    wrong[3] = (values["c"][3].argsort()[-4]).to(wrong.dtype)
    assert limits["i"].compare(wrong).worst == (3,)


# Wrong

Mutation = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _element_off(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    c = a @ b
    place = c.abs().reshape(-1).argsort()[c.numel() // 2]  # one of middling size
    c.view(-1)[place] *= 1.01
    return c


def _swapped_rows(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    c = a @ b
    return torch.cat([c[1:2], c[:1], c[2:]])


def _accumulated_in_half(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(a.shape[0], b.shape[1])
    for k in range(a.shape[1]):
        total = (total + a[:, k, None] * b[None, k]).half().float()
    return total


GEMM_MUTATIONS: Final[dict[str, Mutation]] = {
    "one element off by 1 %": _element_off,
    "second operand transposed": lambda a, b: a @ b.T,
    "last tile of the reduction dropped": lambda a, b: a[:, :-16] @ b[:-16],
    "last term dropped": lambda a, b: a[:, :-1] @ b[:-1],
    "first term counted twice": lambda a, b: a @ b + a[:, :1] @ b[:1],
    "rows swapped": _swapped_rows,
    "last column not written": lambda a, b: torch.cat([(a @ b)[:, :-1], torch.zeros(a.shape[0], 1)], 1),
    "result transposed": lambda a, b: (a @ b).T,
    "operands in 8 bits": lambda a, b: store(a, "float8_e4m3fn").float() @ store(b, "float8_e4m3fn").float(),
    "accumulated in half": _accumulated_in_half,
    "scaled by 1.002": lambda a, b: (a @ b) * 1.002,
}


@pytest.mark.parametrize("reduction", [64, 256])
@pytest.mark.parametrize("name", GEMM_MUTATIONS)
def test_wrong_products_are_rejected(name: str, reduction: int) -> None:
    graph = product_graph(reduction, reduction, reduction)
    inputs = {"a": numbers((reduction, reduction), seed=1), "b": numbers((reduction, reduction), seed=2)}
    (bound,) = bounds(graph, inputs).values()
    a, b = inputs["a"].float(), inputs["b"].float()
    assert bound.compare((a @ b).half()).passed
    assert not bound.compare(GEMM_MUTATIONS[name](a, b).half()).passed


def _block(inputs: Mapping[str, torch.Tensor], constants: Mapping[str, Any], wrong: str = "") -> torch.Tensor:
    """The feed-forward block in float32, fused: nothing is rounded on the way."""
    x = inputs["x"].float()
    c: dict[str, torch.Tensor] = {name: tensor.float() for name, tensor in constants.items()}
    up = x @ c["u"] + (0 if wrong == "bias" else c["b"])
    active = functional.relu(up) if wrong == "activation" else functional.gelu(up, approximate="tanh" if wrong == "tanh" else "none")
    down = active[:, :-8] @ c["d"][:-8] if wrong == "tile" else active @ c["d"]
    total = down if wrong == "residual" else down + x
    eps = 1e-2 if wrong == "eps" else 1e-5
    if wrong == "axis":
        return functional.layer_norm(total.T, (total.shape[0],)).T * c["g"] + c["c"]
    return functional.layer_norm(total, (total.shape[1],), c["g"], None if wrong == "shift" else c["c"], eps)


def test_wrong_feed_forward_blocks_are_rejected() -> None:
    graph = feed_forward()
    inputs = {"x": numbers((24, 48), seed=5)}
    (bound,) = bounds(graph, inputs).values()
    right = _block(inputs, graph.constants)
    assert bound.compare(right.half()).passed
    for wrong in ("bias", "activation", "tile", "residual", "eps", "axis", "shift"):
        assert not bound.compare(_block(inputs, graph.constants, wrong).half()).passed, wrong
    # in float32 even the other GELU shows
    single = feed_forward("float32")
    inputs = {"x": numbers((24, 48), "float32", seed=5)}
    (bound,) = bounds(single, inputs).values()
    assert bound.compare(_block(inputs, single.constants)).passed
    assert not bound.compare(_block(inputs, single.constants, "tanh")).passed


def test_a_mask_that_is_off_by_one_is_rejected() -> None:
    graph = Graph("attention")
    q, k, v = (graph.input(name, (20, 16), "float16") for name in "qkv")
    graph.output(graph.call("judged_attention", q, k, v, graph.input("mask", (20,), "int32"), name="o"))
    inputs = {name: numbers((20, 16), seed=name) for name in "qkv"} | {"mask": (torch.arange(20) < 13).int()}
    (bound,) = bounds(graph, inputs).values()
    for length, right in ((13, True), (12, False), (14, False), (20, False)):
        other = {**inputs, "mask": (torch.arange(20) < length).int()}
        assert bound.compare(run(graph, other, precision="native")["o"]).passed is right


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_how_tight_bounds_are(dtype: str) -> None:
    """Median of the actual error over the bound: for one node the bound is little more than the last rounding."""
    a, b = numbers((64, 128), dtype, seed=1), numbers((128, 64), dtype, seed=2)
    (bound,) = bounds_of(torch.matmul, [a, b], [dtype])
    ratio = bound.compare(store(a.float() @ b.float(), dtype)).ratio
    assert float(ratio.max()) <= 1.0
    assert float(ratio.median()) > 0.3
    last = float((DTYPES[dtype].roundoff * bound.value.abs()).median())
    assert float(bound.error.median()) < 1.5 * last


# On a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("distribution", FINITE)
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "tf32", "float8_e4m3fn"])
def test_tensor_cores_are_within_the_bound(kind: str, distribution: str) -> None:
    """Products of the vendor's library: float32 accumulators that truncate, tf32 operands, fp8 accumulators of fewer bits."""
    dtype = "float32" if kind == "tf32" else kind
    arithmetic = Arithmetic(tf32=kind == "tf32", fp8_accumulator_bits=13 if kind == "float8_e4m3fn" else 0)
    result = "bfloat16" if kind == "float8_e4m3fn" else dtype
    for reduction in (64, 1024, 8192):
        a, b = numbers((64, reduction), dtype, distribution, 1), numbers((reduction, 64), dtype, distribution, 2)
        (bound,) = bounds_of(torch.matmul, [a, b], [result], arithmetic)
        torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
        if kind == "float8_e4m3fn":
            one = torch.ones((), device="cuda")
            columns = b.T.contiguous().cuda().T
            got = torch._scaled_mm(a.cuda(), columns, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True)
        else:
            got = a.cuda() @ b.cuda()
        torch.backends.cuda.matmul.allow_tf32 = False
        comparison = bound.compare(got)
        assert comparison.passed, (reduction, comparison.worst, float(comparison.ratio.max()))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name", ["gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "exp", "log", "rsqrt", "erf", "softmax", "layer_norm", "sin"]
)
def test_intrinsics_are_within_the_bound(name: str) -> None:
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "silu": functional.silu,
        "log": lambda x: torch.log(x.abs() + 1e-3),
        "rsqrt": lambda x: torch.rsqrt(x.abs() + 1e-3),
        "softmax": lambda x: torch.softmax(x, -1),
        "layer_norm": lambda x: functional.layer_norm(x, (x.shape[-1],)),
    }
    function = functions.get(name) or getattr(torch, name)
    for distribution in FINITE:
        x = numbers((64, 512), "float32", distribution, name)
        (bound,) = bounds_of(function, [x], ["float32"])
        comparison = bound.compare(function(x.cuda()))
        assert comparison.passed, (distribution, comparison.worst, float(comparison.ratio.max()))


# Bad input


def test_inputs_must_be_those_of_the_graph() -> None:
    graph = product_graph(2, 3, 4)
    with pytest.raises(InputError, match="needs the input 'b'"):
        bounds(graph, {"a": numbers((2, 3))})
    with pytest.raises(InputError, match="'b' must be"):
        bounds(graph, {"a": numbers((2, 3)), "b": numbers((3, 5))})
    with pytest.raises(InputError, match="'a' must be"):
        bounds(graph, {"a": numbers((2, 3), "float32"), "b": numbers((3, 4))})


def test_constants_need_their_content() -> None:
    bare = from_json(to_json(feed_forward()))
    with pytest.raises(GraphError, match="has no content"):
        bounds(bare, {"x": numbers((24, 48))})


def test_a_reference_without_a_rule_is_named() -> None:
    graph = Graph("odd")
    graph.output(graph.call(tiny.tiny_gather, graph.input("table", (3, 2), "float16"), graph.input("ids", (4,), "int32")))
    check(graph, tiny.random_inputs(graph))
    x = numbers((3, 3), "float32")
    with pytest.raises(KernelError, match="no error rule"):
        bounds_of(torch.linalg.det, [x], ["float32"])
