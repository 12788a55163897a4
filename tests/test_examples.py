"""The examples: tasks in the published form are judged as they are. benchmarks/published_tasks.py judges all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from mosaic.evidence.packet import PassPacket
from mosaic.harness.definition import load_definition
from mosaic.harness.judge import judge

TASKS: Final = Path(__file__).parents[1] / "examples" / "tasks"
FOLDERS: Final = sorted(folder for folder in TASKS.iterdir() if folder.is_dir())
JUDGED: Final = ("row_softmax", "embedding_mean", "linear_gelu")
"""One without parameters, one with integer inputs, one with parameters; the others take longer."""


def candidates(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "candidates").iterdir() if path.suffix)


def test_there_are_ten_tasks_and_each_has_a_candidate() -> None:
    assert len(FOLDERS) >= 10
    for folder in FOLDERS:
        definition = load_definition(folder)
        assert definition.published
        assert definition.name == folder.name
        assert candidates(folder)


def test_the_readme_names_every_task() -> None:
    text = (TASKS / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{folder.name}` |" in text for folder in FOLDERS)


@pytest.mark.parametrize("name", JUDGED)
def test_judged_unchanged(name: str) -> None:
    for candidate in candidates(TASKS / name):
        packet = judge(TASKS / name, candidate, device="cpu", timing=False)
        assert isinstance(packet, PassPacket), packet
        assert all(file.sha256 for file in packet.candidate.source.files)


def test_another_tasks_candidate_fails() -> None:
    candidate, *_ = candidates(TASKS / "cumulative_sum")
    packet = judge(TASKS / "row_softmax", candidate, device="cpu", timing=False)
    assert packet.status == "fail"
