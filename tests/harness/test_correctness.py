from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mosaic.harness.bound import Bound
from mosaic.harness.candidate import load_candidate
from mosaic.harness.correctness import check, check_task, degenerate
from mosaic.harness.definition import load_definition
from mosaic.harness.oracle import Inputs, Oracle, Question
from mosaic.harness.player import Player
from mosaic.harness.sandbox import Limits
from mosaic.harness.seeds import commit
from mosaic.harness.wire import Place
from mosaic.harness.workload import load_workload
from tests.harness.tasks import HONEST, HONEST_C, write_candidate, write_task

LIMITS = Limits(seconds=20, start_seconds=60)
PYTHON = {
    "honest": (HONEST, None),
    "wrong": ("def scale_add(x, y, alpha):\n    return x * alpha - y\n", "mismatch"),
    "mutates": ("def scale_add(x, y, alpha):\n    y += 1\n    return x * alpha + y - 1\n", "input_mutated"),
    "first shape only": ("def scale_add(x, y, alpha):\n    assert x.shape[0] == 16\n    return x * alpha + y\n", "crash"),
    "last call": (
        "held = {}\ndef scale_add(x, y, alpha):\n    return held.setdefault(x.shape, x * alpha + y).clone()\n", "cheat.replayed_last_call",
    ),
    "random": ("n = [0]\ndef scale_add(x, y, alpha):\n    n[0] += 1\n    return x * alpha + y + (n[0] % 2 == 0)\n", "nondeterministic"),
}  # fmt: skip


@pytest.mark.parametrize("name", PYTHON)
def test_what_python_candidates_do_is_told(tmp_path: Path, name: str) -> None:
    text, kind = PYTHON[name]
    assert suite_kind(tmp_path, write_candidate(tmp_path, text)) == kind


def test_a_candidate_in_c_passes(tmp_path: Path) -> None:
    assert suite_kind(tmp_path, write_candidate(tmp_path, HONEST_C, "mine.c")) is None


def suite_kind(folder: Path, candidate: Path) -> str | None:
    task = load_definition(write_task(folder))
    workload = load_workload(None, task)
    with Oracle(task) as oracle, Player(load_candidate(candidate), task, oracle, "cpu", LIMITS) as player:
        player.build(stateful=False)
        suite = check(player, oracle, workload, workload.cases, commit("seed"), stateful=False)
    assert suite.findings or suite.kind is not None
    assert suite.kind is not None or (suite.conclusive and suite.runs >= 6)
    return suite.kind


def question(value: torch.Tensor, data: bytes = b"a") -> Question:
    inputs = Inputs({}, "normal", "k", ((Place("x", "int8", (1,), 0), data),))
    return Question(inputs, {"y": Bound(value.double(), torch.full_like(value, 1e-6, dtype=torch.float64), "float32")})


def test_tasks_that_tell_nothing_are_found() -> None:
    value, other = torch.randn(3, 4), torch.randn(3, 4)
    assert degenerate(question(value), question(other), {}) is None
    assert "constant" in (degenerate(question(torch.ones(3, 4)), question(torch.ones(3, 4)), {}) or "")
    assert "does not vary with the inputs" in (degenerate(question(value), question(value), {}) or "")
    columns = value[:1].expand(3, 4)
    assert "along its axis 0" in (degenerate(question(columns), question(other), {}) or "")
    assert degenerate(question(columns), question(other), {"y": (0,)}) is None


@pytest.mark.parametrize("source", ["return x * 0", "return x - x + 3", "return x[:1].expand(x.shape) + 0"])
def test_a_degenerate_task_is_refused(tmp_path: Path, source: str) -> None:
    task = load_definition(write_task(tmp_path, source=f"def reference(x, y, *, alpha):\n    {source}\n"))
    workload = load_workload(None, task)
    with Oracle(task) as oracle:
        assert check_task(oracle, workload, workload.cases, commit("seed")) is not None
