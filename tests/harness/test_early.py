from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
from mosaic.harness import early, sandbox
early.start(Path(sys.argv[1]), Path(sys.argv[2]), device=sys.argv[3], timing=sys.argv[4] == "timed")
assert "torch" not in sys.modules
print(*sorted("+".join(libraries) or entry.rpartition(".")[2] for (entry, libraries, _) in sandbox._NURSERIES))
"""


def started(task: Path, candidate: Path, device: str, timing: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, str(task), str(candidate), device, timing]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()


@pytest.mark.parametrize(
    ("name", "device", "timing", "wanted"),
    [
        ("mine.py", "cpu", "", ["reference_process:work", "torch"]),
        ("mine.c", "cpu", "", ["reference_process:work"]),
        ("mine.c", "cpu", "timed", ["reference_process:work", "torch"]),
        ("mine.cu", "cuda", "", ["reference_process:work", "torch"]),
        ("gone.py", "cpu", "", []),
    ],
)
def test_what_is_needed_is_started_without_pytorch(tmp_path: Path, name: str, device: str, timing: str, wanted: list[str]) -> None:
    if name != "gone.py":
        (tmp_path / name).touch()
    assert started(tmp_path, tmp_path / name, device, timing) == wanted
