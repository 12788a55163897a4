"""`mosaic fuse`: what it prints and writes, and bad input, each in a sentence, an exit code, and with nothing left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from mosaic import pipeline
from mosaic.cli.app import app
from mosaic.errors import GraphError, InputError, KernelError, TargetError, VerificationError
from mosaic.graph.serialize import save
from tests.cli.files import GRAPH

PLAIN = ["--target", "cpu", "--rounds", "0"]


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuse") / "graph.py"
    path.write_text(GRAPH.replace("users_scale", "fused_scale"), encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["fuse", *arguments], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture(scope="module")
def printed(graph_file: Path) -> str:
    return run(str(graph_file), "--target", "cpu", "--rounds", "3")


def test_what_is_printed(printed: str) -> None:
    for said in (
        "product + scale",
        "shared",
        "bytes a block",
        "verification against float64",
        "pass",
        "2 → 1",
        "16.4 kB → 0 B",
        "times as fast",
    ):
        assert said in printed, said
    assert "took: " in printed
    assert "refused" not in printed


def test_json_and_a_report(graph_file: Path, tmp_path: Path) -> None:
    report = tmp_path / "page.html"
    found: dict[str, Any] = json.loads(run(str(graph_file), *PLAIN, "--json", "--report", str(report)))
    assert found["kernels"] == {"before": 2, "after": 1}
    assert found["bytes_between"] == {"before": 16384, "after": 0}
    assert found["verification"]["status"] == "pass"
    assert (found["timing"], found["embeddings"], found["report"]) == (None, None, str(report))
    assert set(found["seconds"]) >= {"loading", "planning", "lowering", "checking", "reporting"}
    assert found["packet"]["status"] == "pass"
    assert found["packet"]["kept"] == [os.environ["MOSAIC_LEDGER"]]
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [report]


def test_for_a_gpu_without_a_check(graph_file: Path) -> None:
    found: dict[str, Any] = json.loads(run(str(graph_file), "--target", "sm_80", "--no-check", "--json"))
    assert found["verification"] == {"status": "unchecked", "on": None}
    assert found["timing"] is None or found["target"]["device"]
    assert found["compiled"][0]["threads"] > 0


def test_registers_where_they_do(graph_file: Path) -> None:
    found: dict[str, Any] = json.loads(run(str(graph_file), *PLAIN, "--no-check", "--json", "--prefer", "register"))
    assert {edge["how"] for edge in found["edges"]} <= {"register", "shared"}


def test_a_saved_graph_with_kernels_of_a_file(graph_file: Path, tmp_path: Path) -> None:
    from mosaic.cli.load import load_graph

    saved = tmp_path / "graph.json"
    save(load_graph(graph_file), saved)
    found: dict[str, Any] = json.loads(
        run(str(saved), "--file", str(graph_file), "--target", "cpu", "--no-check", "--rounds", "2", "--json")
    )
    assert found["kernels"] == {"before": 2, "after": 1}
    assert found["timing"]["verdict"] in ("faster", "slower", "inconclusive")


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if anything is fused."""

    def fuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it should have been refused before the work")

    monkeypatch.setattr(pipeline, "fuse", fuse)


MEETS_NOT: Final = """import mosaic

def graph():
    g = mosaic.Graph('g')
    a = g.input('a', {a}, '{x}')
    b = g.input('b', (32, 64), '{y}')
    g.output(g.call('{kernel}', a, b))
    return g
"""


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (MEETS_NOT.format(a=(16, 33), x="float16", y="float16", kernel="gemm"), GraphError.exit_code, "graph 'g', node 'gemm_0'"),
        (MEETS_NOT.format(a=(16, 32), x="float16", y="float32", kernel="gemm"), GraphError.exit_code, "graph 'g', node 'gemm_0'"),
        (MEETS_NOT.format(a=(16, 32), x="float16", y="float16", kernel="gem"), KernelError.exit_code, "no kernel is named 'gem'"),
        (MEETS_NOT.format(a=(16, 32), x="float17", y="float16", kernel="gemm"), GraphError.exit_code, "unknown dtype 'float17'"),
        ("def graph(:\n", InputError.exit_code, "line 1"),
        ("x = 1\n", InputError.exit_code, "builds no graph"),
        ("import mosaic\n\ngraph = mosaic.Graph('g')\n", GraphError.exit_code, "'g'"),
    ],
    ids=["shapes", "dtypes", "unknown kernel", "unknown dtype", "syntax", "no graph", "no outputs"],
)
def test_files_that_make_no_sense(content: str, code: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(content, encoding="utf-8")
    refused([str(path), "--report", str(tmp_path / "page.html")], code, said)
    assert [child.name for child in tmp_path.iterdir() if child.name != "__pycache__"] == ["model.py"]


def refused(arguments: list[str], code: int, said: str) -> None:
    result = CliRunner().invoke(app, ["fuse", *arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.startswith("mosaic: ")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def saved(graph_file: Path, tmp_path: Path) -> dict[str, Any]:
    """A saved graph, as the document that it is."""
    from mosaic.cli.load import load_graph

    save(load_graph(graph_file), tmp_path / "model.json")
    found: dict[str, Any] = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("damage", ["truncated", "cycle", "missing tensor"])
def test_damaged_graphs(damage: str, saved: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    if damage == "truncated":
        path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    else:
        text = json.dumps(saved)
        product = next(node for node in saved["nodes"] if node["name"] == "product")
        product["inputs"][0] = "scale" if damage == "cycle" else "absent"
        assert json.dumps(saved) != text
        path.write_text(json.dumps(saved), encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    said = {"truncated": "model.json", "cycle": "", "missing tensor": "absent"}[damage]
    result = CliRunner().invoke(app, ["fuse", str(path)])
    assert result.exit_code in (InputError.exit_code, GraphError.exit_code)
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    assert said in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["absent.py"], InputError.exit_code, "there is no file absent.py"),
        (["gemm"], InputError.exit_code, "gemm is one kernel, so there is nothing to fuse"),
        (["gem"], KernelError.exit_code, "no kernel is named 'gem'"),
        (["{graph}", "--target", "sm_91"], TargetError.exit_code, "no target is named 'sm_91'"),
        (["{graph}", "--report", "{folder}/absent/page.html"], InputError.exit_code, "there is no folder"),
        (["{graph}", "--report", "{folder}"], InputError.exit_code, "it is a folder"),
        (["{graph}", "--rounds", "1"], InputError.exit_code, "--rounds is 1"),
        (["{graph}", "--set", "M=3"], InputError.exit_code, "--set is for a kernel or for minilm"),
        (["minilm", "--set", "layers=3"], InputError.exit_code, "minilm has nothing called 'layers' to set"),
        (["minilm", "--set", "sequence=9000"], InputError.exit_code, "the model has only 512 positions"),
    ],
)
def test_options_that_make_no_sense(arguments: list[str], code: int, said: str, graph_file: Path, tmp_path: Path) -> None:
    refused([argument.format(graph=graph_file, folder=tmp_path) for argument in arguments], code, said)
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_that_is_wrong_leaves_no_report(graph_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    content = graph_file.read_text(encoding="utf-8").replace("fused_scale", "fuses_wrong_scale")
    path.write_text(content.replace("x * factor,\n", "x * factor + 1.0,\n"), encoding="utf-8")
    report = tmp_path / "page.html"
    refused(
        [str(path), *PLAIN, "--report", str(report)], VerificationError.exit_code, "kernel of node 'scale' does not compute its reference"
    )
    assert not report.exists()


def test_a_kernel_that_cannot_be_read(graph_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "unreadable.py"
    content = graph_file.read_text(encoding="utf-8").replace("fused_scale", "fuses_unreadable_scale")
    path.write_text(content.replace("    return main\n", "    return 'main'\n", 1), encoding="utf-8")
    refused([str(path), *PLAIN], KernelError.exit_code, "it must return a TileLang PrimFunc")


def as_a_user(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mosaic", "fuse", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=cwd, env={**os.environ, **environment}
    )  # fmt: skip


def test_in_a_process_of_its_own(graph_file: Path, tmp_path: Path) -> None:
    result = as_a_user(str(graph_file), *PLAIN, "--report", "page.html", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 → 1" in result.stdout
    assert "report: page.html" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_folder_without_permission(graph_file: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    refused([str(graph_file), "--report", str(tmp_path / "page.html")], InputError.exit_code, "no permission to write")


def test_no_compiler_on_the_machine(graph_file: Path, tmp_path: Path) -> None:
    """With a PATH on which there is no gcc."""
    (tmp_path / "bin").mkdir()
    result = as_a_user(str(graph_file), *PLAIN, cwd=tmp_path, PATH=str(tmp_path / "bin"), MOSAIC_CACHE=str(tmp_path / "cache"))
    assert (result.returncode, result.stdout) == (TargetError.exit_code, "")
    said = [line for line in result.stderr.splitlines() if not re.search(r" took \d+ s$", line)]  # what was slow is told too
    assert len(said) == 1
    assert said[0].startswith("mosaic: ")
    assert "gcc" in said[0]


def test_a_defect_is_one_sentence_too(graph_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fuse(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(pipeline, "fuse", fuse)
    refused([str(graph_file), *PLAIN], 70, "defect: ZeroDivisionError: a bug")
