"""What the doctor says of this machine, and of one where things are missing."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import pytest
import torch

from mosaic.targets import tools
from mosaic.targets.cache import Cache
from mosaic.targets.doctor import Finding, diagnose
from mosaic.targets.target import TARGETS


def by_name(cache: Cache) -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose(cache).findings}


def test_this_machine(tmp_path: Path) -> None:
    diagnosis = diagnose(Cache(tmp_path))
    found = {finding.name: finding for finding in diagnosis.findings}
    assert diagnosis.default_target in TARGETS
    assert {"Python", "torch", "tilelang", "gcc", "OpenMP", "nvcc", "nvdisasm", "cuobjdump", "cache"} <= set(found)
    assert found["tilelang"].detail == "0.1.15"
    assert found["cache"].present
    assert found["gcc"].present == (shutil.which("gcc") is not None)
    for finding in diagnosis.findings:
        assert finding.purpose
        assert finding.detail
        assert (finding.fix is None) == finding.present
    assert diagnosis.healthy == all(finding.present for finding in diagnosis.findings if finding.required)


def test_a_machine_without_compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "find_cuda_tool", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = by_name(Cache(tmp_path))
    assert not any(found[name].present for name in ("gcc", "OpenMP", "nvcc", "nvdisasm", "cuobjdump", "GPU"))
    assert found["gcc"].fix in ("apt-get install -y gcc", "sudo apt-get install -y gcc")
    assert found["nvcc"].fix == "pip install nvidia-cuda-nvcc nvidia-cuda-cccl"
    assert found["nvdisasm"].fix == "pip install nvidia-cuda-nvdisasm nvidia-cuda-cuobjdump"
    assert found["nvcc"].required is False
    assert not diagnose(Cache(tmp_path)).healthy


def test_a_tool_that_does_not_run_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "nvcc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(tools, "find_cuda_tool", lambda name: broken)
    nvcc = by_name(Cache(tmp_path / "cache"))["nvcc"]
    assert (nvcc.present, nvcc.detail) == (False, f"{broken} does not run")


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    found = by_name(Cache(blocked))["cache"]
    assert not found.present
    assert str(blocked) in found.detail
    assert found.fix is not None
    assert found.fix.startswith("export MOSAIC_CACHE=")


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def version(name: str) -> str:
        if name == "tilelang":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = by_name(Cache(tmp_path))
    assert (found["tilelang"].present, found["tilelang"].fix) == (False, "pip install tilelang")
    assert found["torch"].present


def test_system_packages_for_each_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "find_cuda_tool", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert by_name(Cache(tmp_path))["gcc"].fix == "install gcc with your system's package manager"
