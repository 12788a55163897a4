"""The facts: sums that agree with the graph and the plan, kernels and edges that repeat told once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.harness.report import Finding, Report
from mosaic.harness.timing import Paired
from mosaic.report.facts import Facts, collect, edges_of, label_of, moved_of


@pytest.mark.parametrize("name", ["fused", "apart", "for_gpu"])
def test_bytes_by_kernel_add_up(name: str, request: pytest.FixtureRequest) -> None:
    facts: Facts = request.getfixturevalue(name)
    moved = moved_of(facts.fused)
    assert sum(part.before for part in moved) == facts.bytes_before == facts.fused.graph.bytes_between()
    assert sum(part.after for part in moved) == facts.bytes_after == facts.fused.plan.bytes_between()


def test_nothing_moves_between_kernels_of_one_launch(fused: Facts) -> None:
    assert (fused.kernels_before, fused.kernels_after) == (4, 1)
    assert fused.bytes_before == 3 * 2 * 64 * 64 * 2
    assert fused.bytes_after == 0


def test_unfused_is_as_before(apart: Facts) -> None:
    assert apart.kernels_before == apart.kernels_after == 16
    assert apart.bytes_before == apart.bytes_after


def test_launches_that_differ_in_names_only_are_one_kernel(apart: Facts) -> None:
    assert [kernel.label for kernel in apart.kernels] == [f"layer{{0..3}}.{part}" for part in ("product", "bias", "gelu", "residual")]
    assert [kernel.launches for kernel in apart.kernels] == [(i, i + 4, i + 8, i + 12) for i in range(4)]


def test_labels(fused: Facts, apart: Facts) -> None:
    assert label_of(fused.fused.plan.launches[0]) == "layer0: product … residual"
    assert label_of(apart.fused.plan.launches[0]) == "layer0.product"


def test_edges_that_repeat_are_told_once(apart: Facts) -> None:
    every = edges_of(apart.fused.plan.edges, collapse=False)
    assert sum(edge.times for edge in apart.edges) == len(every) == len(apart.fused.plan.edges)
    assert all(edge.times == 1 for edge in every)
    bias = next(edge for edge in apart.edges if edge.tensor == "layer{0..3}.product")
    assert (bias.producer, bias.consumer, bias.how, bias.bytes, bias.times) == (
        "layer{0..3}.product", "layer{0..3}.bias", "split", 8192, 4,
    )  # fmt: skip


def test_every_edge_of_the_graph_is_told(fused: Facts) -> None:
    assert {(edge.tensor, edge.consumer): edge.how for edge in fused.edges} == {
        ("layer0.product", "layer0.bias"): "shared",
        ("layer0.bias", "layer0.gelu"): "shared",
        ("layer0.gelu", "layer0.residual"): "shared",
        ("layer0.residual", "layer0.view"): "view",
    }


def test_figures(fused: Facts, apart: Facts) -> None:
    found = {name: (value, remark) for name, value, remark in fused.figures()}
    assert found["kernels"][0] == "4 → 1"
    assert found["bytes between kernels"][0] == "49.2 kB → 0 B"
    assert found["verification"][0] == "pass"
    value, remark = found["speed, fused against unfused"]
    assert value == "2.03 times as fast"
    assert "geometric mean of 3 paired runs" in remark
    assert "1e+03 ms against 2.1e+03 ms" in remark
    assert [name for name, _, _ in apart.figures()] == ["kernels", "bytes between kernels"]


def test_a_difference_within_the_noise_is_called_inconclusive(fused: Facts) -> None:
    noisy = collect(fused.fused, Paired((1.0, 1.0, 1.0, 1.0), (0.5, 2.0, 0.5, 2.0), "a clock"))
    assert {name: value for name, value, _ in noisy.figures()}["speed, fused against unfused"].startswith("inconclusive: ")


def test_checks(fused: Facts, apart: Facts) -> None:
    (check,) = fused.checks()
    assert (check.output, check.status, check.kernel) == ("layer0.residual", "pass", "layer0: product … residual")
    assert 0 < check.ratio <= 1
    assert 0 < check.looseness < 0.25
    assert check.explanation
    assert (fused.status, apart.status, apart.checks()) == ("pass", "unchecked", ())


def finding(distribution: str, *, ratio: float, looseness: float, failed: bool = False) -> Finding:
    return Finding(
        distribution=distribution, trial=0, output="y", ratio=ratio, looseness=looseness, failure="mismatch" if failed else None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("findings", "status", "looseness"),
    [
        ([finding("normal", ratio=0.5, looseness=0.01), finding("spike", ratio=0.9, looseness=0.0)], "pass", 0.01),
        ([finding("normal", ratio=0.5, looseness=3.0)], "inconclusive", 3.0),
        ([finding("normal", ratio=0.5, looseness=0.01), finding("spike", ratio=9.0, looseness=0.02, failed=True)], "fail", 0.01),
    ],
)
def test_what_is_said_of_an_output(findings: list[Finding], status: str, looseness: float, fused: Facts) -> None:
    report = Report(graph="g", seed="0", trials=1, findings=tuple(findings))
    (kernel,) = fused.kernels
    facts = replace(fused, kernels=(replace(kernel, report=report),))
    (check,) = facts.checks()
    assert (check.status, check.looseness, check.ratio) == (status, looseness, max(f.ratio for f in findings))
    assert facts.status == status


def test_what_a_gpu_that_is_not_here_means(for_gpu: Facts, fused: Facts) -> None:
    import torch

    assert fused.kernels[0].threads is None
    assert for_gpu.kernels[0].threads in (64, 128, 256, 512)
    if not torch.cuda.is_available():
        assert "without its instructions" in for_gpu.checked_on
    assert fused.checked_on == "this machine's processor"
