"""Inputs: deterministic, legal, and as extreme as they are said to be."""

from __future__ import annotations

import hashlib
import math
from typing import Final

import pytest
import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import InputError
from mosaic.graph import Graph, run
from mosaic.graph.kernel import Spec
from mosaic.harness.inputs import DISTRIBUTIONS, draw, sample
from mosaic.harness.tolerance import bounds
from tests.harness import honest
from tests.harness.honest import feed_forward, product_graph

FLOATS = ("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")

GOLDEN: Final = {
    "normal": "51faff68e5fd",
    "uniform": "57db9799528c",
    "integers": "48921734103f",
    "mixed": "4e636359fae6",
    "large": "57db9799528c",
    "tiny": "83bd455fed97",
    "equal": "178e6478fad1",
    "spike": "330db3aa9743",
    "infinite": "51faff68e5fd",
    "zipf": "f29fbb64715d",
}


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()[:12]


def attention_graph() -> Graph:
    graph = Graph("attention")
    q, k, v = (graph.input(name, (12, 16), "float16") for name in "qkv")
    graph.output(graph.call("judged_attention", q, k, v, graph.input("mask", (12,), "int32"), name="o"))
    return graph


def embedding_graph() -> Graph:
    graph = Graph("embedding")
    graph.output(graph.call("judged_embedding", graph.input("ids", (40,), "int32"), graph.input("table", (7, 3), "float16"), name="y"))
    return graph


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_same_seed_same_bytes(dtype: str, distribution: str) -> None:
    spec = Spec((5, 7), dtype)
    first = sample(spec, distribution, "seed")
    assert (tuple(first.shape), first.dtype) == ((5, 7), DTYPES[dtype].torch)
    assert digest(first) == digest(sample(spec, distribution, "seed"))
    assert torch.isfinite(first.double()).all()
    if distribution not in ("equal",):
        assert digest(first) != digest(sample(spec, distribution, "other"))


def test_bytes_are_those_of_every_machine() -> None:
    """Written down once: a change of library or processor must not change them."""
    found = {name: digest(sample(Spec((64,), "float16"), name, "7")) for name in DISTRIBUTIONS}
    assert found == GOLDEN


def test_moments_of_the_normal_distribution() -> None:
    x = sample(Spec((200_000,), "float32"), "normal", "1").double()
    assert float(x.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(x.std()) == pytest.approx(1.0, abs=0.01)
    assert float((x.abs() < 1).double().mean()) == pytest.approx(0.6827, abs=0.01)
    assert float((x**4).mean()) == pytest.approx(2.9, abs=0.1)
    uniform = sample(Spec((100_000,), "float32"), "uniform", "1").double()
    assert float(uniform.min()) < -0.999
    assert float(uniform.max()) > 0.999
    assert abs(float(uniform.mean())) < 0.01


def test_shapes_of_the_distributions() -> None:
    spec = Spec((300,), "float16")
    assert len(set(sample(spec, "equal", "1").tolist())) == 1
    assert int((sample(spec, "spike", "1") != 0).sum()) == 1
    whole = sample(spec, "integers", "1").double()
    assert set(whole.tolist()) == set(range(-4, 5))
    tiny = sample(spec, "tiny", "1").double()
    assert float(tiny.abs().max()) <= 2 * torch.finfo(torch.float16).smallest_normal
    assert float((tiny.abs() < torch.finfo(torch.float16).smallest_normal).double().mean()) > 0.4
    mixed = sample(spec, "mixed", "1").double().abs()
    assert float(mixed.max() / mixed.min()) > 2**14


def test_large_inputs_are_as_large_as_the_graph_allows() -> None:
    graph = product_graph(8, 64, 8)
    tensors = draw(graph, "large", 1).tensors
    assert tensors is not None
    top = float(run(graph, tensors)["c"].abs().max())
    assert 65504 / 16 < top <= 65504 / 4
    twice = {name: 2 * tensor for name, tensor in tensors.items()}
    assert float(run(graph, twice)["c"].abs().max()) > 65504 / 4
    wide = draw(product_graph(8, 64, 8, "bfloat16"), "large", 1).tensors
    assert wide is not None
    assert float(wide["a"].double().abs().max()) > 2.0**55


def test_normal_inputs_shrink_where_a_deep_graph_would_overflow() -> None:
    graph = Graph("deep")
    x = graph.input("x", (16, 64), "float16")
    for layer in range(6):
        x = graph.call("judged_matmul", x, graph.input(f"w{layer}", (64, 64), "float16"), name=f"y{layer}")
    graph.output(x)
    drawn = draw(graph, "normal", 1)
    assert drawn.tensors is not None
    assert drawn.note.startswith("scaled by 2^-")
    assert all(float(value.abs().max()) <= 65504 / 4 for value in run(graph, drawn.tensors).values())
    (bound,) = bounds(graph, drawn.tensors).values()
    assert torch.isfinite(bound.error).all()


def test_infinities_go_where_they_make_no_nan() -> None:
    graph = Graph("relu")
    x = graph.input("x", (8, 64), "float16")
    graph.output(graph.call("judged_add", x, graph.input("z", (8, 64), "float16"), name="y"))
    drawn = draw(graph, "infinite", 1)
    assert drawn.tensors is not None
    assert torch.isinf(drawn.tensors["x"]).any()
    assert not torch.isnan(run(graph, drawn.tensors)["y"]).any()
    refused = draw(feed_forward(), "infinite", 1)
    assert refused.tensors is None
    assert "NaN" in refused.note


def test_indices_stay_within_their_table() -> None:
    for distribution in DISTRIBUTIONS:
        tensors = draw(embedding_graph(), distribution, 3).tensors
        assert tensors is not None
        ids = tensors["ids"]
        assert int(ids.min()) >= 0
        assert int(ids.max()) <= 6
    spread = draw(embedding_graph(), "normal", 3).tensors
    assert spread is not None
    assert set(spread["ids"].tolist()) == set(range(7))
    given = draw(embedding_graph(), "normal", 3, {"ids": (2, 3)}).tensors
    assert given is not None
    assert set(given["ids"].tolist()) == {2, 3}


def test_masks_are_zeros_and_ones_unless_told_otherwise() -> None:
    tensors = draw(attention_graph(), "normal", 1).tensors
    assert tensors is not None
    assert set(tensors["mask"].tolist()) == {0, 1}
    ones = draw(attention_graph(), "normal", 1, {"mask": (1, 1)}).tensors
    assert ones is not None
    assert set(ones["mask"].tolist()) == {1}


def test_packed_integers_get_all_their_values() -> None:
    graph = Graph("codes")
    x = graph.input("x", (64, 64), "float16")
    graph.output(*graph.call("judged_quantise", x))
    assert draw(graph, "normal", 1).tensors is not None
    assert len(set(sample(Spec((5000,), "uint8"), "normal", "1", (0, 255)).tolist())) == 256
    assert set(sample(Spec((99,), "bool"), "normal", "1").tolist()) == {False, True}


def test_ranges_of_floats_hold_in_every_distribution() -> None:
    graph = product_graph(4, 8, 4)
    for distribution in DISTRIBUTIONS:
        tensors = draw(graph, distribution, 1, {"a": (0.5, 2.0), "b": (1.0, 1.0)}).tensors
        assert tensors is not None
        assert float(tensors["a"].min()) >= 0.5
        assert float(tensors["a"].max()) <= 2.0
        assert set(tensors["b"].reshape(-1).tolist()) == {1.0}


@pytest.mark.parametrize(
    ("distribution", "ranges", "words"),
    [
        ("cauchy", {}, "no input distribution 'cauchy'"),
        ("normal", {"z": (0, 1)}, "no input 'z'"),
        ("normal", {"a": (2, 1)}, "range 2 to 1"),
        ("normal", {"a": (0, 1e9)}, "not within float16's"),
        ("normal", {"a": (0, math.inf)}, "not within float16's"),
    ],
)
def test_senseless_requests_are_refused(distribution: str, ranges: dict[str, tuple[float, float]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw(product_graph(2, 3, 4), distribution, 0, ranges)


def test_the_seed_and_the_name_matter() -> None:
    graph = product_graph(8, 8, 8)
    first, second = draw(graph, "normal", 1).tensors, draw(graph, "normal", 2).tensors
    assert first is not None
    assert second is not None
    assert not torch.equal(first["a"], second["a"])
    assert not torch.equal(first["a"], first["b"])
    assert honest.numbers((3,)).shape == (3,)
