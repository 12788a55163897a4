"""`mosaic layouts`: the solution as a table, as JSON, as a page; why an edge is so; and what is said of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import GraphError, InputError, MosaicError, TargetError
from mosaic.layouts.linear import LayoutError
from tests.cli.files import GRAPH


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["layouts", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("layouts") / "graph.py"
    path.write_text(GRAPH.replace("users_scale", "laid_out_scale"), encoding="utf-8")
    return str(path)


def test_a_table_a_target(graph_file: str, tmp_path: Path) -> None:
    report = tmp_path / "page.html"
    output = run(graph_file, "--target", "sm_80", "--target", "sm_90a", "--report", str(report))
    for part in (
        "edges of scaled_product for sm_80",
        "edges of scaled_product for sm_90a",
        "product -> scale",
        "products",
        "the best there is",
    ):
        assert part in output
    page = report.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "sm_90a" in page


def test_json(graph_file: str) -> None:
    (found,) = json.loads(run(graph_file, "--target", "sm_80", "--json"))
    assert found["graph"] == "scaled_product"
    assert found["optimal"]
    assert found["solved_in"] < 1
    (edge,) = found["edges"]
    assert edge["edge"] == "product -> scale"
    assert edge["handover"] in ("identity", "shared", "split")
    assert found["products"][0]["dtype"] == "float16"


def test_an_edge_is_explained(graph_file: str) -> None:
    output = run(graph_file, "--target", "sm_80", "--explain", "product->scale")
    for part in ("product -> scale: ", "(chosen)", "with everything else chosen anew", "µs"):
        assert part in output
    (found,) = json.loads(run(graph_file, "--target", "sm_80", "--explain", "product -> scale", "--json"))
    costs: dict[str, Any] = {option["value"]: option["seconds"] for option in found["handovers"]}
    possible = [seconds for seconds in costs.values() if seconds is not None]
    assert costs[found["handover"]] == min(possible)


def test_the_problem_prints(graph_file: str) -> None:
    lines = run(graph_file, "--target", "sm_80", "--problem").splitlines()
    assert {line.split()[0] for line in lines} == {"choose", "require", "minimise"}
    assert any(line.startswith("choose   memory[product -> scale] in {") for line in lines)


def test_something_else_may_be_asked_for(graph_file: str) -> None:
    (found,) = json.loads(run(graph_file, "--target", "sm_80", "--ask", "memory[product -> scale]=device", "--json"))
    assert found["edges"][0]["handover"] == "split"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["gemm"], InputError, "is one kernel, which hands nothing over"),
        (["{graph}", "--target", "sm_1"], TargetError, "no target is named 'sm_1'"),
        (["{graph}", "--target", "sm_80", "--explain", "a -> b"], GraphError, "has no edge 'a -> b'; it has 'product -> scale'"),
        (["{graph}", "--ask", "policy"], InputError, "write NAME=VALUE"),
        (["{graph}", "--ask", "a=1", "--ask", "a=2"], InputError, "--ask gives a twice"),
        (["{graph}", "--target", "sm_80", "--ask", "policy[absent]=Square"], LayoutError, "no choice called policy[absent]"),
        (["{graph}", "--target", "sm_80", "--ask", "policy[product]=Round"], LayoutError, "the user asks for Round as policy[product]"),
    ],
)
def test_errors(arguments: list[str], error: type[MosaicError], said: str, graph_file: str) -> None:
    result = CliRunner().invoke(app, ["layouts", *(argument.format(graph=graph_file) for argument in arguments)])
    assert (result.exit_code, result.stdout) == (error.exit_code, "")
    assert said in result.stderr
    assert result.stderr.splitlines()[-1].startswith("mosaic: ")
