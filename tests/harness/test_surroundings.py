from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mosaic.harness import surroundings


def test_only_what_is_named_passes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_SECRET", "x")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    made = surroundings.environment()
    assert "MOSAIC_SECRET" not in made
    assert made["CUDA_VISIBLE_DEVICES"] == "3"
    assert {"HOME", "PYTHONPATH", "LD_PRELOAD"}.isdisjoint(made)


def test_the_plan_shows_libraries_and_no_homes() -> None:
    plan = surroundings.plan("cpu")
    assert all(path.startswith("/") for path in plan.visible)
    homes = {os.path.expanduser("~"), "/root", "/home", "/tmp", "/", "/etc"}
    assert homes.isdisjoint(plan.visible)
    shown = tuple(plan.visible)
    assert any(os.path.realpath(sys.base_prefix) == path or os.path.realpath(sys.base_prefix).startswith(path + "/") for path in shown)
    assert not any(one != other and one.startswith(other + "/") for one in shown for other in shown if not one.startswith("/sys"))


def test_the_search_path_has_pytorch_and_not_this_folder() -> None:
    path = surroundings.search_path()
    assert any(os.path.isdir(f"{entry}/torch") for entry in path)
    assert os.getcwd() not in path


def test_descendants_counts_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        assert surroundings.descendants(os.getpid()) >= 2
        child.kill()
