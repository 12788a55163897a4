"""Counters: ncu's output, read among what a program prints, and every way in which there is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mosaic.harness import counters as module
from mosaic.harness.counters import METRICS, counters, find_ncu, read_csv

# In the form of `ncu --csv --page raw`, written by hand: a line of names, one of units, one for each launch.
NAMES = [
    *("ID", "Process ID", "Kernel Name", "gpu__time_duration.sum", "dram__bytes_read.sum"),
    *("lts__t_sector_hit_rate.pct", "launch__registers_per_thread"),
]
UNITS = ["", "", "", "ns", "byte", "%", "register/thread"]


def line(cells: list[str]) -> str:
    return ",".join(f'"{cell}"' for cell in cells)


OUTPUT = "\n".join(
    [
        "==PROF== Connected to process 12",
        "the program says: hello",
        line(NAMES),
        line(UNITS),
        line(["0", "12", "gemm(float, int)", "12,345", "1,048,576", "55.5", "168"]),
        "the program says: more",
        line(["1", "12", "norm", "2500", "n/a", "10", "32"]),
        "==PROF== Disconnected",
    ]
)


def test_a_row_for_each_launch_in_si_units() -> None:
    first, second = read_csv(OUTPUT)
    assert first == {"kernel": "gemm(float, int)", "time": pytest.approx(1.2345e-5), "dram_bytes_read": 1048576.0, "l2_hit_percent": 55.5,
                     "registers": 168.0}  # fmt: skip
    assert second == {"kernel": "norm", "time": pytest.approx(2.5e-6), "l2_hit_percent": 10.0, "registers": 32.0}


@pytest.mark.parametrize("text", ["", "hello", line(NAMES), line(NAMES) + "\n" + line(UNITS), '"ID","x"\n"",""\n"1"'])
def test_output_without_launches(text: str) -> None:
    assert read_csv(text) == []


def test_the_set_is_small_and_named_once() -> None:
    assert len(set(METRICS.values())) == len(METRICS) <= 16


def stand_in(folder: Path, script: str) -> None:
    path = folder / "ncu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo '==ERROR== ERR_NVGPUCTRPERM - The user does not have permission'; exit 1", "may not read the GPU's counters"),
        ("echo '==WARNING== No kernels were profiled.'", "launched no kernel"),
        ("echo '==ERROR== Something else'; exit 1", "ncu told nothing: Something else"),
        ("exit 3", "ncu printed no counters"),
        ("exec sleep 5", "did not end within 0.2 s"),
    ],
)
def test_why_there_are_none(script: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = counters(["true"], seconds=0.2 if "sleep" in script else 20)
    assert found.missing is not None
    assert why in found.missing
    assert found.artifact("x") is None


def test_without_ncu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_ncu", lambda: None)
    found = counters(["true"])
    assert found.missing is not None
    assert "there is no ncu" in found.missing


def test_with_a_stand_in_for_ncu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes down how it was called, and prints what ncu would."""
    (tmp_path / "output").write_text(OUTPUT + "\n")
    stand_in(tmp_path, f'echo "$@" > {tmp_path}/called; cat {tmp_path}/output')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_ncu() == tmp_path / "ncu"
    found = counters([sys.executable, "program.py"], kernel="gemm", skip=3, launches=2, folder=tmp_path)
    assert (found.level, found.missing, len(found.rows)) == ("runtime", None, 2)
    called = (tmp_path / "called").read_text()
    assert "--launch-skip 3 --launch-count 2 --kernel-name regex:gemm" in called
    assert called.endswith(f"{sys.executable} program.py\n")
    assert found.artifact("x") is not None


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    program = "import torch; a = torch.ones(512, 512, device='cuda').half(); (a @ a).sum().item()"
    found = counters([sys.executable, "-c", program], launches=3)
    if found.missing is not None:
        pytest.skip(found.missing)
    assert all(row["time"] > 0 for row in found.rows)
