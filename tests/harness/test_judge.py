"""The judge from files to packets. Each packet is sealed and read again, so what is written here is what anyone can check."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.evidence import Ledger
from mosaic.evidence.packet import Packet, seal, unseal
from mosaic.harness.bundle import unpack
from mosaic.harness.judge import device_of, judge, judge_with_artifacts
from mosaic.harness.reward import RIGHT, reward
from mosaic.harness.sandbox import Limits
from tests.harness.tasks import HONEST, HONEST_C, PUBLISHED, WORKLOAD, write_candidate, write_task

LIMITS = Limits(seconds=5, start_seconds=60, memory=1 << 30, file_bytes=16 << 20, output_bytes=1 << 18)
HEAD = "import ctypes, os, sys, time\nimport torch\n"


def judged(folder: Path, text: str, name: str = "mine.py", **more: Any) -> Packet:
    options = {"device": "cpu", "timing": False, "limits": LIMITS, **more}
    packet = judge(write_task(folder), write_candidate(folder, text, name), **options)
    assert unseal(seal(packet)) == packet
    return packet


def kind_of(packet: Packet) -> str | None:
    document = packet.document()
    return str(document["failure"]["kind"]) if "failure" in document else None


def test_a_right_candidate_passes_on_all_cases(tmp_path: Path) -> None:
    packet = judged(tmp_path, HONEST_C, "mine.c")
    document = packet.document()
    assert packet.status == "pass"
    assert reward(packet) == RIGHT
    assert [case["set"] for case in document["candidate"]["cases"]] == ["given", "odd", "hidden"]
    assert {(check["distribution"], check["outcome"]) for check in document["validation"]["checks"]} == {
        ("normal", "pass"),
        ("integers", "pass"),
    }
    assert document["candidate"]["compiler"]["name"] == "gcc"
    assert document["security"]["verdict"] == "clean"
    assert "limits" in document["security"]["sandbox"]


def test_a_timed_packet_holds_both_clocks_the_baseline_and_what_it_cost(tmp_path: Path) -> None:
    packet = judged(tmp_path, HONEST_C, "mine.c", timing=True)
    document = packet.document()
    performance = document["performance"]
    assert packet.status in ("pass", "inconclusive")
    assert {timing["clock"] for timing in performance["timings"]} == {"host", "host-in-worker"}
    assert performance["method"]["interleaved"]
    assert performance["method"]["verified"]
    assert all(len(timing["samples"]["values"]) == 6 for timing in performance["timings"])
    assert performance["baselines"][0]["reference"]["name"] == "scale_add, reference, eager"
    assert any(check["distribution"] == "normal, timed" for check in document["validation"]["checks"])
    cost = document["judge"]
    assert cost["overhead"]["value"] == pytest.approx(cost["total"]["value"] - cost["candidate"]["value"])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("def scale_add(", "import_error"),
        ("import no_such_module", "import_error"),
        ("x = 1", "import_error"),
        (HEAD + "def scale_add(*_, **__):\n    ctypes.string_at(0)\n", "crash"),
        (HEAD + "def scale_add(*_, **__):\n    raise ValueError('no')\n", "crash"),
        (HEAD + "def scale_add(*_, **__):\n    while True:\n        os.write(1, b'x' * 65536)\n", "resource_limit"),
        (HEAD + "def scale_add(*_, **__):\n    while True:\n        os.fork()\n", "resource_limit"),
        (HEAD + "def scale_add(*_, **__):\n    f = open('x', 'wb')\n    while True:\n        f.write(bytes(1 << 20))\n", "resource_limit"),
        (HEAD + "def scale_add(*_, **__):\n    return torch.zeros(1 << 36)\n", "out_of_memory"),
        (HEAD + "def scale_add(*_, **__):\n    return 'text'\n", "wrong_type"),
        (HEAD + "def scale_add(*_, **__):\n    pass\n", "missing_output"),
        (HEAD + "def scale_add(x, y, alpha):\n    return (alpha * x + y)[:, :2]\n", "wrong_shape"),
        (HEAD + "def scale_add(x, y, alpha):\n    return (alpha * x + y).double()\n", "wrong_dtype"),
        (HEAD + "def scale_add(x, y, alpha):\n    return alpha * x - y\n", "mismatch"),
        (HEAD + "def scale_add(x, y, alpha):\n    x *= alpha\n    return x + y\n", "cheat.input_mutated"),
    ],
)
def test_what_goes_wrong_ends_in_a_packet_with_its_class(tmp_path: Path, text: str, kind: str) -> None:
    packet = judged(tmp_path, text)
    assert (packet.status, kind_of(packet)) == ("fail", kind), packet.document()["failure"]
    assert reward(packet) == 0.0


def test_who_hangs_is_stopped_and_the_next_is_judged_normally(tmp_path: Path) -> None:
    start = time.perf_counter()
    packet = judged(tmp_path, HEAD + "def scale_add(*_, **__):\n    time.sleep(1000)\n", limits=Limits(seconds=1))
    assert kind_of(packet) == "timeout"
    assert time.perf_counter() - start < 30
    assert judged(tmp_path, HONEST).status == "pass"


def test_a_seed_makes_the_same_run_again(tmp_path: Path) -> None:
    first = judged(tmp_path, HONEST)
    seed = first.environment.seed
    assert seed is not None
    again, other = judged(tmp_path, HONEST, seed=seed.revealed), judged(tmp_path, HONEST)
    strip = [packet.document()["validation"]["checks"] for packet in (first, again, other)]
    assert strip[0] == strip[1] != strip[2]


def test_a_packet_is_enough_to_judge_again(tmp_path: Path) -> None:
    first = judged(tmp_path, HONEST_C, "mine.c")
    got = unpack(unseal(seal(first)), tmp_path / "again")
    second = judge(got.definition, got.candidate, got.workload, seed=got.seed, device=got.device, timing=got.timing, baseline=got.baseline)
    assert second.document()["validation"] == first.document()["validation"]
    assert second.candidate.task_sha256 == first.candidate.task_sha256


def test_the_published_form_is_judged_unchanged(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PUBLISHED)
    right = PUBLISHED.replace("class Model(", "class ModelNew(").replace("torch.relu(self.linear(x))", "self.linear(x).clamp_min(0)")
    wrong = right.replace("clamp_min(0)", "clamp_min(1e-2)")
    for text, status in ((PUBLISHED, "pass"), (right, "pass"), (wrong, "fail")):
        packet = judge(tmp_path / "net.py", write_candidate(tmp_path / "c", text), device="cpu", timing=False)
        assert packet.status == status, packet.document().get("failure")


def test_a_task_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    task = write_task(tmp_path, source="def reference(x, y, *, alpha):\n    return x * 0 + 1\n")
    packet = judge(task, write_candidate(tmp_path, HONEST), device="cpu", timing=False)
    assert kind_of(packet) == "degenerate_task"


def test_invariants_hold_for_the_candidates_outputs(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "invariants.py").write_text("def never(inputs, outputs):\n    return 'it never holds'\n")
    task = write_task(tmp_path, invariants={"file": "invariants.py", "functions": ["never"]})
    packet = judge(task, write_candidate(tmp_path, HONEST), device="cpu", timing=False)
    assert kind_of(packet) == "mismatch"
    assert "it never holds" in packet.document()["failure"]["message"]


def test_the_ledger_gets_packet_and_artifacts(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        packet = judged(tmp_path, HONEST_C, "mine.c", ledger=ledger)
        assert len(ledger) == 1
        for artifact in packet.artifacts or ():
            assert len(ledger.artifact(artifact.sha256)) == artifact.size
        assert ledger.verify() == []


def test_artifacts_are_source_task_and_binary(tmp_path: Path) -> None:
    packet, artifacts = judge_with_artifacts(
        write_task(tmp_path), write_candidate(tmp_path, HONEST_C, "mine.c"), device="cpu", timing=False
    )
    kinds = {artifact.name: artifact.kind for artifact in packet.artifacts or ()}
    assert kinds["candidate/mine.c"] == "source"
    assert kinds["definition/reference.py"] == "task"
    assert kinds["build/candidate.so"] == "binary"
    assert set(artifacts) == {artifact.sha256 for artifact in packet.artifacts or ()}


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    task, mine = write_task(tmp_path), write_candidate(tmp_path, HONEST)
    for bad in ({"device": "tpu"}, {"seed": " "}, {"baseline": tmp_path / "gone.py"}):
        with pytest.raises(InputError):
            judge(task, mine, **bad)
    with pytest.raises(InputError, match="no task"):
        judge(tmp_path / "gone", mine)
    (tmp_path / "w.json").write_text(json.dumps({**WORKLOAD, "trials": 0}))
    with pytest.raises(InputError, match="at least 1"):
        judge(task, mine, tmp_path / "w.json")
    assert device_of("cpu") == "cpu"


def test_a_reference_that_fails_is_an_error_of_the_task(tmp_path: Path) -> None:
    task = write_task(tmp_path, source="def reference(x, y, *, alpha):\n    raise ValueError('no')\n")
    with pytest.raises(InputError, match="ValueError: no"):
        judge(task, write_candidate(tmp_path, HONEST), device="cpu", timing=False)
