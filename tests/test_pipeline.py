"""The way through as a whole: fused graphs that run, and what becomes of refusals and of wrong kernels."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic import kernels, pipeline
from mosaic.cli.load import load_graph
from mosaic.errors import GraphError, KernelError, TargetError, ToolMissingError, VerificationError
from mosaic.graph.graph import Graph
from mosaic.graph.reference import run
from mosaic.harness.report import Finding, Report, Skipped, joined
from mosaic.harness.tolerance import bounds
from mosaic.pipeline import fuse, verify_all
from mosaic.stitch.plan import Launch
from mosaic.targets.load import load_lowered
from mosaic.targets.lower import lower
from mosaic.targets.lowered import Lowered
from mosaic.targets.target import TARGETS
from tests.cli.files import GRAPH


def chain(rows: int = 48, width: int = 64) -> Graph:
    """A product, a bias and GELU."""
    kernels.load()
    generator = torch.Generator().manual_seed(3)
    graph = Graph("chain")
    x = graph.input("x", (rows, 32), "float16")
    weight = graph.constant("weight", (torch.randn(width, 32, generator=generator) / 6).half())
    offset = graph.constant("offset", torch.randn(width, generator=generator).half())
    product = graph.call("gemm_nt", x, weight, name="product")
    graph.output(graph.call("gelu_erf", graph.call("bias", product, offset, name="shifted"), name="active"))
    return graph


def inputs_of(graph: Graph) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {name: torch.randn(graph.tensors[name].shape, generator=generator).half() for name in graph.inputs}


def assert_right(graph: Graph, outputs: dict[str, torch.Tensor], inputs: dict[str, torch.Tensor]) -> None:
    """Within the bounds of an honest kernel."""
    for name, bound in bounds(graph, inputs).items():
        assert bound.compare(outputs[name]).passed


def test_a_chain_becomes_one_kernel_that_computes_the_same() -> None:
    graph = chain()
    said: list[str] = []
    fused = fuse(graph, "cpu", progress=said.append)
    assert [launch.nodes for launch in fused.plan.launches] == [("product", "shifted", "active")]
    assert (fused.kernel_count, fused.graph.kernel_count, fused.refused) == (1, 3, ())
    assert fused.plan.bytes_between() == 0
    assert {report.status for report in fused.reports.values()} == {"pass"}
    inputs = inputs_of(graph)
    assert_right(graph, fused.run(inputs), inputs)
    assert {text.partition(" ")[0] for text in said} == {"planning", "lowering", "checking"}


def test_unfused_every_node_is_a_kernel() -> None:
    graph = chain()
    apart = fuse(graph, "cpu", fuse=False)
    assert [launch.nodes for launch in apart.plan.launches] == [("product",), ("shifted",), ("active",)]
    assert apart.reports == {}
    inputs = inputs_of(graph)
    assert_right(graph, apart.run(inputs), inputs)


def test_a_kernel_file_that_is_not_part_of_mosaic(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GRAPH.replace("users_scale", "pipelines_scale"), encoding="utf-8")
    graph = load_graph(path)
    fused = fuse(graph, "cpu")
    assert fused.kernel_count == 1
    inputs = inputs_of(graph)
    assert_right(graph, fused.run(inputs), inputs)
    truth = run(graph, inputs, precision="float64")["scale"]
    assert torch.allclose(truth, inputs["a"].double() @ inputs["b"].double() * 0.5)


def test_a_kernel_that_does_not_compute_its_reference(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    wrong = GRAPH.replace("users_scale", "wrong_scale").replace("x * factor,\n", "x * factor + 1.0,\n")
    assert wrong != GRAPH
    path.write_text(wrong, encoding="utf-8")
    with pytest.raises(VerificationError, match=r"^kernel of node 'scale' does not compute its reference: scale is wrong on \w+ inputs: "):
        fuse(load_graph(path), "cpu")


class Refuses:
    """Stands in for `lower`: refuses the first launch of several nodes, or all of those."""

    def __init__(self, *, always: bool = False) -> None:
        self.always = always
        self.refused: list[str] = []

    def __call__(self, func: Any, target: Any, **options: Any) -> Lowered:
        name = str(func.attrs["global_symbol"])
        if "__" in name and (self.always or not self.refused):
            self.refused.append(name)
            raise TargetError(f"kernel {name!r} has no layout")
        return lower(func, target, **options)


def test_what_a_target_refuses_is_planned_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "lower", refuses := Refuses())
    graph = chain()
    fused = fuse(graph, "cpu")
    ((name, refusal),) = fused.refused
    assert [name] == refuses.refused
    assert (refusal.check, refusal.reason) == ("lowering", f"kernel {name!r} has no layout")
    inputs = inputs_of(graph)
    assert_right(graph, fused.run(inputs), inputs)


def test_a_target_that_refuses_every_fusion_leaves_the_kernels_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "lower", Refuses(always=True))
    graph = chain()
    fused = fuse(graph, "cpu")
    assert [launch.nodes for launch in fused.plan.launches] == [("product",), ("shifted",), ("active",)]
    assert fused.refused
    assert {refusal.check for _, refusal in fused.refused} == {"lowering"}
    inputs = inputs_of(graph)
    assert_right(graph, fused.run(inputs), inputs)


def test_a_missing_compiler_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> Lowered:
        raise ToolMissingError("there is no gcc on the PATH")

    monkeypatch.setattr(pipeline, "lower", missing)
    with pytest.raises(ToolMissingError, match="there is no gcc"):
        fuse(chain(), "cpu")


def test_a_fusion_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a defect of stitching would: what fused launches write is off by a fiftieth of itself."""

    class Wrong:
        def __init__(self, kernel: Any, name: str) -> None:
            self.kernel, self.name, self.params = kernel, name, kernel.params

        def __call__(self, *arguments: torch.Tensor) -> None:
            self.kernel(*arguments)
            arguments[self.params.index("active")].mul_(1.02)

    def load_wrong(lowered: Lowered) -> Any:
        kernel = load_lowered(lowered)
        return Wrong(kernel, lowered.name) if "__" in lowered.name and "active" in kernel.params else kernel

    monkeypatch.setattr(pipeline, "load_lowered", load_wrong)
    graph = chain()
    fused = fuse(graph, "cpu")
    assert fused.refused
    assert all(refusal.check == "verification" for _, refusal in fused.refused)
    assert "active is wrong on" in fused.refused[0][1].reason
    assert ("active",) in [launch.nodes for launch in fused.plan.launches]
    inputs = inputs_of(graph)
    assert_right(graph, fused.run(inputs), inputs)


def test_without_a_check_nothing_is_verified() -> None:
    assert fuse(chain(), "cpu", check=False).reports == {}


def test_for_another_machine_it_is_checked_here_and_does_not_run() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine may be the target")
    fused = fuse(chain(), "sm_80")
    assert {report.status for report in fused.reports.values()} == {"pass"}
    with pytest.raises(TargetError, match="lowered for sm_80, which this machine is not"):
        fused.run(inputs_of(fused.graph))


def test_a_graph_that_makes_no_sense_is_refused_before_anything_is_built() -> None:
    with pytest.raises(GraphError):
        fuse(Graph("empty"), "cpu")


def test_an_unknown_target() -> None:
    with pytest.raises(TargetError, match="no target is named 'sm_91'"):
        fuse(chain(), "sm_91")


def test_a_kernel_that_cannot_be_built(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(GRAPH.replace("users_scale", "broken_scale").replace("    return main\n", "    return 7\n", 1), encoding="utf-8")
    with pytest.raises(KernelError, match=r"broken_scale.* returns an? int"):
        fuse(load_graph(path), "cpu")


def test_what_repeats_is_lowered_and_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph("twice")
    kernels.load()
    for side in ("left", "right"):
        x = graph.input(side, (32, 64), "float16")
        graph.output(graph.call("softmax", x, name=f"{side}_soft"))
    seen: list[str] = []

    def counting(func: Any, target: Any, **options: Any) -> Lowered:
        seen.append(str(func.attrs["global_symbol"]))
        return lower(func, target, **options)

    monkeypatch.setattr(pipeline, "lower", counting)
    fused = fuse(graph, "cpu")
    assert fused.kernel_count == 2
    assert len(seen) == len(fused.reports) == 1
    inputs = inputs_of(graph)
    assert_right(graph, fused.run(inputs), inputs)


def test_verification_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    fused = fuse(chain(), "cpu", check=False)
    inside: list[int] = []
    kernel = load_lowered(fused.lowered[0])

    class Watched:
        name, params = kernel.name, kernel.params

        def __call__(self, *arguments: torch.Tensor | float) -> None:
            inside.append(torch.get_num_threads())
            assert threading.current_thread() is not threading.main_thread()
            kernel(*arguments)

    launch: Launch = fused.plan.launches[0]
    reports, trouble = verify_all(fused.plan, {0: launch}, {0: Watched()}, TARGETS["cpu"], {}, lambda _: None)
    assert trouble == []
    assert reports[launch.name].passed
    assert set(inside) == {1}
    assert torch.get_num_threads() == before


def test_reports_of_several_distributions_are_joined() -> None:
    def one(distribution: str, text: str) -> Report:
        finding = Finding(distribution=distribution, trial=0, output="y", ratio=0.5, looseness=0.01)
        left_out = (Skipped(distribution=f"not {distribution}", trial=0, reason="it overflows"),)
        return Report(graph="g", seed="0", trials=1, findings=(finding,), skipped=left_out, explanations={"y": text})

    report = joined([one("normal", "first"), one("spike", "second")])
    assert [finding.distribution for finding in report.findings] == ["normal", "spike"]
    assert [item.distribution for item in report.skipped] == ["not normal", "not spike"]
    assert report.explanations == {"y": "first"}
    assert report.passed
