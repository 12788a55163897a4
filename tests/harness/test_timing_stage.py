from __future__ import annotations

import time
from pathlib import Path

import pytest

from mosaic.errors import InputError
from mosaic.evidence.packet import Packet
from mosaic.harness.assemble import Record
from mosaic.harness.candidate import load_candidate
from mosaic.harness.definition import load_definition
from mosaic.harness.judge import judge
from mosaic.harness.oracle import Oracle
from mosaic.harness.player import Player
from mosaic.harness.sandbox import Limits
from mosaic.harness.seeds import commit
from mosaic.harness.timing_stage import Companions, baseline_of, reference_candidate
from tests.harness.tasks import HONEST, WORKLOAD, write_candidate, write_task


def judged(folder: Path, text: str, **more: object) -> Packet:
    task = write_task(folder, workload={**WORKLOAD, "hidden": 0, "distributions": ["normal"]})
    return judge(task, write_candidate(folder, text), device="cpu", limits=Limits(seconds=20), **more)  # type: ignore[arg-type]


def test_baselines_by_name_and_by_path(tmp_path: Path) -> None:
    task = load_definition(write_task(tmp_path))
    assert [baseline_of(name, task) for name in (None, "eager", "compiled", "none")] == ["eager", "eager", "compiled", "none"]
    made = baseline_of(write_candidate(tmp_path, HONEST), task)
    assert not isinstance(made, str)
    assert made.name == "mine"
    with pytest.raises(InputError):
        baseline_of(tmp_path / "gone.py", task)
    reference = reference_candidate(task)
    assert reference.entry == "reference"
    assert reference.files == task.files


def test_who_is_wrong_only_when_timed_fails(tmp_path: Path) -> None:
    text = "count = [0]\ndef scale_add(x, y, alpha):\n    count[0] += 1\n    return x * alpha + y if count[0] <= 12 else x * 0 + 7\n"
    packet = judged(tmp_path, text)
    document = packet.document()
    assert packet.status == "fail"
    assert document["failure"]["kind"].startswith("cheat."), document["failure"]
    assert "performance" not in document


def test_a_baseline_of_ones_own_is_named_by_its_content(tmp_path: Path) -> None:
    slow = write_candidate(tmp_path / "b", HONEST, "slow.py")
    document = judged(tmp_path, HONEST, baseline=slow).document()
    reference = document["performance"]["baselines"][0]["reference"]
    assert reference["name"] == "slow"
    assert document["environment"]["baseline"] == reference


def test_without_a_baseline_there_is_no_speedup(tmp_path: Path) -> None:
    packet = judged(tmp_path, HONEST, baseline="none")
    assert packet.status == "pass"
    assert "baselines" not in packet.document()["performance"]


def test_a_baseline_that_does_not_run_is_left_out_and_said(tmp_path: Path) -> None:
    broken = write_candidate(tmp_path / "b", "import no_such_module\n", "broken.py")
    document = judged(tmp_path, HONEST, baseline=broken).document()
    assert "baselines" not in document["performance"]
    assert "could not be run" in document["validation"]["method"]


def test_companions_are_ready_when_they_are_needed_and_gone_when_not(tmp_path: Path) -> None:
    """Warmed or not; and one that never answers does not keep the judge when it is not needed any more."""
    task = load_definition(write_task(tmp_path))
    limits = Limits(seconds=20)
    hangs = "import time\ndef scale_add(x, y, alpha):\n    time.sleep(60)\n"
    with Oracle(task) as oracle:
        drawn = oracle.draw({"M": 4, "N": 6}, "normal", "key")
        assert drawn is not None
        for text, warm, wait in ((HONEST, True, True), (HONEST, False, True), (hangs, True, False)):
            candidate = load_candidate(write_candidate(tmp_path, text))
            record = Record(task, candidate, "cpu", commit(None), ("replay",))
            with Player(candidate, task, oracle, "cpu", limits) as player:
                beside = Companions(record, player, oracle, "eager", limits, stateful=False)
                start = time.monotonic()
                if warm:
                    beside.warm(drawn)
                    beside.warm(drawn)
                if wait:
                    again, baseline = beside.ready(record, None)
                    assert baseline is not None
                    assert record.baseline is not None
                    again.load([drawn])
                    assert set(again.run(drawn).outputs) == {"z"}
                beside.close()
                assert time.monotonic() - start < 30
