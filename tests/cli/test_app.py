"""The application: help, exit codes, and one sentence for each error; in this process, and as a user would run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mosaic.cli.app import DEFECT, INTERRUPTED, MosaicGroup, app
from mosaic.errors import GraphError, InputError, KernelError, MosaicError, TargetError, VerificationError
from mosaic.version import __version__
from tests.cli.files import GRAPH

VERBS = sorted(command.name for command in app.registered_commands if command.name)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m mosaic` as a process of its own."""
    command = [sys.executable, "-m", "mosaic", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment})


def app_that_raises(error: BaseException) -> typer.Typer:
    small = typer.Typer(cls=MosaicGroup, pretty_exceptions_enable=False)

    @small.command()
    def fail() -> None:
        raise error

    @small.command()
    def other() -> None:
        pass

    return small


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MosaicError("all is lost"), 1, "mosaic: all is lost\n"),
        (InputError("no such file"), 2, "mosaic: no such file\n"),
        (GraphError("a cycle"), 3, "mosaic: a cycle\n"),
        (KernelError("no kernel"), 4, "mosaic: no kernel\n"),
        (TargetError("no target"), 5, "mosaic: no target\n"),
        (VerificationError("wrong\n  result"), 6, "mosaic: wrong result\n"),
        (ValueError("a bug"), DEFECT, "mosaic: defect: ValueError: a bug; please report it with what MOSAIC_DEBUG=1 shows\n"),
        (KeyboardInterrupt(), INTERRUPTED, ""),
    ],
)
def test_errors_are_a_sentence_and_an_exit_code(error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOSAIC_DEBUG", raising=False)
    result = CliRunner().invoke(app_that_raises(error), ["fail"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


def test_debug_shows_where_it_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_DEBUG", "1")
    result = CliRunner().invoke(app_that_raises(InputError("no such file")), ["fail"])
    assert result.exit_code == InputError.exit_code
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("mosaic: no such file\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["kernels", "--nonsense"], ["kernels", "a", "b"]])
def test_usage_errors(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == InputError.exit_code
    assert result.stdout == ""
    assert "Error" in result.stderr


def test_help_lists_the_verbs() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for verb in VERBS:
        assert re.search(rf"^│ {verb} ", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples_that_can_be_parsed(verb: str) -> None:
    """Each example names only options that exist."""
    result = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "--json" in result.stdout
    usage, _, examples = result.stdout.partition("Examples:")
    lines = [line for line in examples.splitlines() if line.strip().startswith(f"mosaic {verb}")]
    assert lines
    for option in re.findall(r"(?<= )--?[a-z][a-z-]*", "\n".join(lines)):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", usage), option


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"mosaic {__version__}\n", "")


def test_help_answers_within_a_second() -> None:
    """The fastest of three, as other work may share the machine."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert run("--help").returncode == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0


def test_a_real_process(tmp_path: Path) -> None:
    path = tmp_path / "process.py"
    path.write_text(GRAPH, encoding="utf-8")
    result = run("kernels", "--file", str(path), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    listed: list[dict[str, Any]] = json.loads(result.stdout)
    assert [kernel["name"] for kernel in listed] == ["users_scale"]

    result = run("kernels", "no_such_kernel")
    assert result.returncode == KernelError.exit_code
    assert result.stdout == ""
    assert re.fullmatch(r"mosaic: no kernel is named 'no_such_kernel'; [^\n]*\n", result.stderr)


def test_a_reader_that_stops_early() -> None:
    """`mosaic kernels | head -1` says nothing on standard error."""
    command = f"{sys.executable} -m mosaic kernels --json | head -c 1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert (result.stdout, result.stderr) == ("[", "")
