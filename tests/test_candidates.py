"""Kernels and graphs as functions of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import mosaic
from mosaic.candidates import candidate
from mosaic.errors import GraphError, InputError, KernelError
from mosaic.evidence.packet import PassPacket
from mosaic.harness.candidate import load_candidate
from mosaic.harness.judge import judge

EXAMPLES = Path(__file__).parents[1] / "examples" / "tasks"

SOFTMAX = """import mosaic

row_softmax = mosaic.candidate("softmax")
"""


def test_a_kernel_by_name_runs_on_any_shape() -> None:
    softmax = candidate("softmax")
    for shape in ((3, 5), (17, 64)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        assert torch.allclose(softmax(x), torch.softmax(x, -1), atol=1e-6)
    assert torch.allclose(softmax(torch.ones(4, 6).t()), torch.full((6, 4), 0.25))  # not dense: copied


def test_attributes_are_keywords() -> None:
    norm = candidate("rms_norm", check=True)
    x, weight = torch.full((2, 8), 3.0), torch.ones(8)
    assert torch.allclose(norm(x, weight, eps=7.0), torch.full((2, 8), 0.75))


def test_a_graph_is_fused() -> None:
    seen: list[tuple[Any, ...]] = []

    def build(x: mosaic.Spec, bias: mosaic.Spec) -> mosaic.Graph:
        seen.append((x, bias))
        graph = mosaic.Graph("biased")
        inputs = [graph.input(name, spec.shape, spec.dtype) for name, spec in (("x", x), ("bias", bias))]
        biased = graph.call("bias", *inputs)
        graph.output(biased, graph.call("gelu_erf", biased))
        return graph

    run = candidate(build)
    x, bias = torch.randn(9, 33), torch.randn(33)
    for _ in range(2):
        biased, activated = run(x, bias)
        assert torch.equal(biased, x + bias)
        assert torch.allclose(activated, torch.nn.functional.gelu(x + bias), atol=1e-6)
    assert seen == [(mosaic.Spec((9, 33), "float32"), mosaic.Spec((33,), "float32"))]


@pytest.mark.parametrize(
    ("what", "arguments", "error", "says"),
    [
        ("nothing", (torch.ones(2, 2),), KernelError, "no kernel is named 'nothing'"),
        ("softmax", (), GraphError, "takes 1 tensors, not 0"),
        ("softmax", (3,), InputError, "argument 0 is a int"),
        ("softmax", (torch.ones(2, 2, dtype=torch.complex64),), InputError, "complex64, which no kernel takes"),
        (lambda x: x, (torch.ones(2, 2),), GraphError, "returned a Spec"),
        (lambda x: mosaic.Graph("empty"), (torch.ones(2, 2),), GraphError, "has 0 inputs, but was built for 1"),
    ],
    ids=["kernel", "count", "type", "dtype", "builder", "inputs"],
)
def test_what_makes_no_sense(what: Any, arguments: tuple[Any, ...], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        candidate(what)(*arguments)


def test_the_language_is_seen_by_its_import(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SOFTMAX, encoding="utf-8")
    assert load_candidate(path).language == "mosaic"
    assert load_candidate(path).needs_mosaic


def test_a_kernel_is_judged_in_the_sandbox(tmp_path: Path) -> None:
    """The candidate's process has all of Mosaic, TileLang and a compiler, and still no more of this machine than any other."""
    path = tmp_path / "mine.py"
    path.write_text(SOFTMAX, encoding="utf-8")
    packet = judge(EXAMPLES / "row_softmax", path, device="cpu", timing=False)
    assert isinstance(packet, PassPacket), getattr(packet, "failure", None)
    assert packet.candidate.source is not None
    assert packet.candidate.source.language == "mosaic"


def test_a_wrong_kernel_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        'import mosaic\n\nlog = mosaic.candidate("softmax")\n\n\ndef row_softmax(x):\n    return 1.01 * log(x)\n', encoding="utf-8"
    )
    packet = judge(EXAMPLES / "row_softmax", path, device="cpu", timing=False)
    assert packet.status == "fail"
    assert packet.failure.kind == "mismatch"
