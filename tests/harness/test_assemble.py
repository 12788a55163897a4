from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mosaic.evidence.packet import seal, unseal
from mosaic.harness import assemble
from mosaic.harness.assemble import Record
from mosaic.harness.candidate import load_candidate
from mosaic.harness.comparing import Finding
from mosaic.harness.correctness import Suite
from mosaic.harness.definition import load_definition
from mosaic.harness.player import Built
from mosaic.harness.seeds import commit
from mosaic.harness.workload import Case
from tests.harness.tasks import HONEST, PUBLISHED, write_candidate, write_task

GOOD = Finding("a", "z", "normal", 0, ratio=0.5, low=-1.0, high=1.0)
BAD = Finding("a", "z", "normal", 1, kind="mismatch", message="z[0] is 1", ratio=1e300, nans=2)
UNSURE = Finding("a", "z", "large", 0, message="loose", conclusive=False)


def record(folder: Path, **more: Any) -> Record:
    task, mine = load_definition(write_task(folder)), load_candidate(write_candidate(folder, HONEST))
    made = Record(task, mine, "cpu", commit("seed"), ("mosaic", "replay", "packet.json"), **more)
    made.cases = [(Case("a", "given", {"M": 1, "N": 2}), [("x", "float32", (1, 2))], [("z", "float32", (1, 2))])]
    return made


@pytest.mark.parametrize(
    ("more", "status", "outcome"),
    [
        ({"suite": Suite([GOOD])}, "pass", "pass"),
        ({"suite": Suite([GOOD, UNSURE])}, "pass", "pass"),
        ({"suite": Suite([UNSURE])}, "inconclusive", "inconclusive"),
        ({"suite": Suite([GOOD]), "reason": "noise"}, "inconclusive", "pass"),
        ({"suite": Suite([GOOD, BAD]), "failure": ("mismatch", "z[0]")}, "fail", "fail"),
        ({"suite": Suite([GOOD]), "failure": ("cheat.patched_clock", "x")}, "fail", "pass"),
        ({"suite": Suite([UNSURE]), "failure": ("crash", "x")}, "fail", None),
        ({"failure": ("import_error", "")}, "fail", None),
        ({"error": ("sandbox", "no room")}, "error", None),
    ],
)
def test_every_end_makes_a_packet(tmp_path: Path, more: dict[str, Any], status: str, outcome: str | None) -> None:
    packet = assemble.packet(record(tmp_path, **more))
    assert unseal(seal(packet)) == packet
    document = packet.document()
    assert document["status"] == status
    assert document.get("validation", {}).get("outcome") == outcome
    assert document["environment"]["seed"]["revealed"] == "seed"


def test_security_says_which_boundaries_held_and_what_was_seen(tmp_path: Path) -> None:
    made = record(tmp_path, suite=Suite([GOOD]), boundaries=("no network", "limits"), suspicions=[("slow_warm_up", "sleeps")], printed=7)
    security = assemble.packet(made).document()["security"]
    assert security["sandbox"] == "no network; limits"
    assert security["verdict"] == "suspect"
    assert "7 bytes" in security["side_effects"]
    cheat = assemble.packet(record(tmp_path, failure=("cheat.patched_clock", "x"))).document()["security"]
    assert (cheat["verdict"], cheat["cheat"]) == ("cheat", "patched_clock")


def test_compiler_artifacts_and_cost_are_there(tmp_path: Path) -> None:
    built = Built({"name": "gcc", "version": "12", "invocation": ["gcc", "a.c"]})
    made = record(tmp_path, suite=Suite([GOOD]), built=built, capacity={"total": {"value": 1}}, bundle={"files": {}})
    made.artifacts["0" * 64] = ("a.log", "compile-log", b"abc")
    document = assemble.packet(made).document()
    assert document["candidate"]["compiler"]["name"] == "gcc"
    assert document["artifacts"][0]["size"] == 3
    assert document["judge"] == {"total": {"value": 1}}
    assert document["bundle"] == {"files": {}}


def test_a_run_that_ended_before_shapes_were_known(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PUBLISHED)
    task, mine = load_definition(tmp_path / "net.py"), load_candidate(write_candidate(tmp_path, HONEST))
    made = Record(task, mine, "cpu", commit("seed"), ("x",), failure=("crash", "x"))
    assert assemble.packet(made).document()["candidate"]["cases"][0]["name"] == "none"
