"""Finding tools and their versions, with tools made up for the purpose."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mosaic.errors import TargetError
from mosaic.targets import tools


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with no CUDA on it, as far as the search goes."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(tools, "_package_folders", list)
    return tmp_path


def test_the_variable_goes_before_the_path_and_that_before_packages(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a-tool-that-only-this-test-has"
    assert tools.find_cuda_tool(name) is None
    packaged = script(bare / "packages" / name, "")
    monkeypatch.setattr(tools, "_package_folders", lambda: [bare / "packages"])
    assert tools.find_cuda_tool(name) == packaged
    on_path = script(bare / "path" / name, "")
    assert tools.find_cuda_tool(name) == on_path
    at_home = script(bare / "home" / "bin" / name, "")
    monkeypatch.setenv("CUDA_HOME", str(bare / "home"))
    assert tools.find_cuda_tool(name) == at_home
    at_home.chmod(0o600)  # what cannot be run is not found
    assert tools.find_cuda_tool(name) == on_path


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0\n", "13.0.88"),
        ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022\n", "12.2.0"),
        ("something else\n", "something else"),
        ("", "unknown"),
    ],
)
def test_versions(tmp_path: Path, output: str, version: str) -> None:
    (tmp_path / "text").write_text(output)
    assert tools.version(script(tmp_path / "tool", f"cat {tmp_path}/text")) == version


def test_a_tool_that_fails_has_no_version(tmp_path: Path) -> None:
    assert tools.version(script(tmp_path / "tool", "exit 3")) is None
    assert tools.version(tmp_path / "absent") is None


def test_a_version_is_asked_again_when_the_tool_changes(tmp_path: Path) -> None:
    tool = script(tmp_path / "tool", "echo tool 1.0.0")
    assert tools.version(tool) == "1.0.0"
    script(tool, "echo tool 2.0.0")
    assert tools.version(tool) == "2.0.0"


def test_run_says_what_went_wrong_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match=r"absent cannot be run: no such file"):
        tools.run([str(tmp_path / "absent")], tmp_path)
    monkeypatch.setattr(tools, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(TargetError, match=r"slow did not end within 0\.2 s; choose smaller tiles"):
        tools.run([str(script(tmp_path / "slow", "exec sleep 20"))], tmp_path)
