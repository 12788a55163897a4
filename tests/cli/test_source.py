"""What a verb works on: kernels with settings, files, and the model that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mosaic.cli.load import load_kernels, shipped_kernels
from mosaic.cli.options import DEFAULT_SIZE
from mosaic.cli.source import choose_tunables, kernel_program, load_source, parse_settings
from mosaic.errors import GraphError, InputError, KernelError, MosaicError
from mosaic.graph.kernel import find
from tests.cli.files import GRAPH, KERNEL


def test_settings() -> None:
    parsed = parse_settings(["M=256, eps=1e-5", "causal=True", "dtype=float32"])
    assert parsed == {"M": 256, "eps": 1e-5, "causal": True, "dtype": "float32"}
    assert isinstance(parsed["M"], int)
    assert parse_settings([]) == {}


@pytest.mark.parametrize("text", ["M", "M=", "=3", "M=1,,N=2", ""])
def test_settings_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="write NAME=VALUE"):
        parse_settings([text])


def test_a_setting_given_twice() -> None:
    with pytest.raises(InputError, match="--set gives M twice"):
        parse_settings(["M=1", "M=2"])


def test_a_kernel_with_default_sizes() -> None:
    source = load_source("gemm")
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in source.graph.tensors.items()} == dict.fromkeys(
        ("a", "b", "c"), ((DEFAULT_SIZE, DEFAULT_SIZE), "float16")
    )
    (node,) = source.graph.nodes
    assert source.is_kernel
    assert source.tunables_of(node) == find("gemm").default_tunables()


def test_the_program_of_a_kernel_alone() -> None:
    program = kernel_program(load_source("gemm"))
    assert program.name == "gemm"
    assert [param.name for param in program.params] == ["a", "b", "c"]


def test_a_kernel_with_settings() -> None:
    source = load_source("layer_norm", ["M=7,N=96", "dtype=float32", "eps=0.5", "block_M=2"])
    (node,) = source.graph.nodes
    assert source.graph.tensors["x"].shape == (7, 96)
    assert source.graph.tensors["y"].dtype == "float32"
    assert node.attributes["eps"] == 0.5
    assert source.tunables_of(node)["block_M"] == 2


@pytest.mark.parametrize("name", sorted(shipped_kernels()))
def test_every_shipped_kernel_can_be_named_alone(name: str) -> None:
    source = load_source(name)
    (node,) = source.graph.nodes
    kernel = find(name)
    assert node.kernel is kernel
    assert node.binding is not None
    assert kernel.is_valid(node.binding, source.tunables_of(node))


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        (["Q=3"], KernelError, "kernel 'gemm' has nothing called 'Q' to set; it has K, M, N, dtype, block_M"),
        (["M=0"], KernelError, "M is a size, so 0 must be a whole number from 1"),
        (["M=1.5"], KernelError, "M is a size, so 1.5 must be"),
        (["M=true"], KernelError, "M is a size, so True must be"),
        (["dtype=half"], KernelError, "dtype is a dtype, so 'half' must be one of float64, float32"),
        (["block_M=63"], KernelError, "block_M is 63, but must be one of"),
    ],
)
def test_settings_that_do_not_fit(settings: list[str], error: type[MosaicError], said: str) -> None:
    with pytest.raises(error) as raised:
        load_source("gemm", settings)
    assert said in str(raised.value)


def test_an_unknown_kernel() -> None:
    with pytest.raises(KernelError, match="no kernel is named 'gem'; did you mean"):
        load_source("gem")


def test_a_users_kernel(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(KERNEL.replace("users_scale", "source_scale"), encoding="utf-8")
    source = load_source("source_scale", ["N=48"], path)
    assert source.graph.tensors["y"].shape == (DEFAULT_SIZE, 48)


def test_a_graph_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.py"
    path.write_text(GRAPH.replace("users_scale", "source_graph_scale"), encoding="utf-8")
    source = load_source(str(path))
    assert not source.is_kernel
    assert [source.tunables_of(node)["block_M"] for node in source.graph.nodes][1] == 32
    with pytest.raises(InputError, match="--set is for a kernel or for minilm"):
        load_source(str(path), ["M=3"])


def test_the_model_that_ships() -> None:
    graph = load_source("minilm", ["batch=2,sequence=16,dtype=float32"]).graph
    assert graph.tensors["input_ids"].shape == (2, 16)
    assert graph.tensors[graph.outputs[0]].dtype == "float32"
    with pytest.raises(InputError, match="minilm has nothing called 'M' to set; it has batch, sequence, dtype"):
        load_source("minilm", ["M=3"])


def test_sizes_that_do_not_meet() -> None:
    """A size of the output that is none: the window is longer than what it slides over."""
    assert {"window", "stride"} <= set(find("avg_pool1d").attributes)
    with pytest.raises(GraphError, match="which is no tensor"):
        load_source("avg_pool1d", ["L=2,window=5"])


def test_tunables_of_which_none_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "never.py"
    text = KERNEL.replace("users_scale", "never_scale").replace('name="never_scale"', 'name="never_scale", valid=lambda M: M < 100')
    path.write_text(text, encoding="utf-8")
    kernel = load_kernels(path)["never_scale"]
    with pytest.raises(KernelError, match=r"kernel 'never_scale' has no valid tunables for .*M=128"):
        load_source("never_scale", ["N=48"])
    binding: Any = load_source("never_scale", ["M=99"]).graph.nodes[0].binding
    assert choose_tunables(kernel, binding, {"block_M": 16}) == {"block_M": 16, "block_N": 64}
