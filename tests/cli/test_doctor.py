"""`mosaic doctor`: the table, the document, and the exit code when the CPU itself lacks something."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import ToolMissingError
from mosaic.targets import doctor as room
from mosaic.targets.doctor import Diagnosis, Finding, diagnose

GCC = Finding("gcc", False, "not on the PATH", "compiles programs for the CPU", "apt-get install -y gcc", required=True)
NVCC = Finding("nvcc", False, "not found", "makes binaries for NVIDIA GPUs", "pip install nvidia-cuda-nvcc")


def test_this_machine() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["default_target"] == diagnose().default_target
    assert {finding["name"] for finding in found["findings"] if finding["required"]} >= {"Python", "torch", "tilelang", "gcc"}
    assert all(finding["present"] or finding["fix"] for finding in found["findings"])


def test_the_table_names_everything() -> None:
    result = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    for finding in diagnose().findings:
        assert f"│ {finding.name} " in result.stdout
    assert f"programs are compiled for {diagnose().default_target}." in result.stdout


def test_what_is_optional_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "diagnose", lambda: Diagnosis((NVCC,), "cpu"))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "pip install nvidia-cuda-nvcc" in result.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_the_cpu_needs_may_not(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "diagnose", lambda: Diagnosis((GCC, NVCC), "cpu"))
    result = CliRunner().invoke(app, ["doctor", *options])
    assert result.exit_code == ToolMissingError.exit_code
    assert "apt-get install -y gcc" in result.stdout
    assert result.stderr == "mosaic: this machine lacks what even the CPU needs: gcc; `mosaic doctor` tells how to add it\n"
