"""The tables of `mosaic fuse`: whole, with brackets in names taken as text."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from mosaic import kernels
from mosaic.cli.fused_tables import show
from mosaic.graph.graph import Graph
from mosaic.harness.timing import Paired
from mosaic.pipeline import fuse
from mosaic.report.facts import Facts, collect
from mosaic.stitch.legality import Refusal


@pytest.fixture(scope="module")
def facts() -> Facts:
    kernels.load()
    graph = Graph("twins")
    for i in range(3):
        x = graph.input(f"x{i}", (32, 64), "float16")
        graph.output(graph.call("silu", graph.call("softmax", x, name=f"soft{i}"), name=f"active{i}"))
    return collect(fuse(graph, "cpu"), Paired((1.0, 1.0), (1.5, 1.6), "a clock"))


def printed(facts: Facts, *, every_edge: bool = False) -> str:
    out = io.StringIO()
    show(Console(file=out, width=200), facts, [("a figure", "[42]", "a remark")], every_edge=every_edge)
    return out.getvalue()


def test_everything_is_there(facts: Facts) -> None:
    text = printed(facts)
    for said in ("6 → 3", "soft{0..2}", "active{0..2}", "verification against float64", "pass", "1.55 times as fast", "[42]"):
        assert said in text, said
    assert "refused" not in text


def test_edges_grouped_or_each(facts: Facts) -> None:
    assert "soft{0..2}" in printed(facts)
    every = printed(facts, every_edge=True)
    assert all(f"│ soft{i} " in every for i in range(3))


def test_refusals_are_shown(facts: Facts) -> None:
    with_refusal = replace(facts, fused=replace(facts.fused, refused=(("soft0__active0", Refusal("lowering", "no [layout] fits")),)))
    text = printed(with_refusal)
    assert "refused on the way" in text
    assert "no [layout] fits" in text


def test_unverified(facts: Facts) -> None:
    unchecked = replace(facts, kernels=tuple(replace(kernel, report=None) for kernel in facts.kernels))
    text = printed(unchecked)
    assert "verification" not in text
    assert "unchecked" in text
