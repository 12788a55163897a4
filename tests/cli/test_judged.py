"""Judged candidates' packets, run again: from the packet alone, on the same inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.cli.judged import judge_again, raise_for, summary_of
from mosaic.cli.phases import Phases
from mosaic.errors import InputError, VerificationError
from mosaic.evidence import archive
from mosaic.evidence.collection import Found, find
from mosaic.evidence.packet import Packet, from_document, packet_id
from mosaic.harness.judge import judge
from tests.cli.tasks import write
from tests.evidence.samples import errored, failed, passed


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Packet]:
    """Of the right candidate, timed, and of the wrong one; their files are gone."""
    folder = write(tmp_path_factory.mktemp("judging"))
    made = {name: judge(folder / "task", folder / f"{name}.py", device="cpu", timing=name == "right") for name in ("right", "wrong")}
    for file in folder.rglob("*"):
        if file.is_file():
            file.unlink()
    return made


def replay(packet: Packet, folder: Path, *options: str) -> Any:
    archive.write(folder / "packet.json", packet)
    return CliRunner().invoke(app, ["replay", str(folder / "packet.json"), "--packet", str(folder / "again.json"), "--json", *options])


def test_right_and_wrong_come_out_the_same(packets: dict[str, Packet], tmp_path: Path) -> None:
    for name, claim in (("right", "correctness"), ("wrong", "failure mismatch")):
        result = replay(packets[name], tmp_path, "--no-timing")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["reproduced"]
        assert found["parts"][0]["claim"].startswith(claim)
        again: Any = find(str(tmp_path / "again.json")).packet
        assert again.__pydantic_extra__["replay"]["of"] == packet_id(packets[name])
        assert again.environment.seed == packets[name].environment.seed


def test_a_wrong_one_does_not_become_right_by_its_packet(packets: dict[str, Packet], tmp_path: Path) -> None:
    """The wrong candidate with the validation of the right one: sealed, well formed, and a lie."""
    lie: Any = packets["right"].model_dump(mode="json", exclude_unset=True)
    truth = packets["wrong"].model_dump(mode="json", exclude_unset=True)
    lie["candidate"]["source"], lie["bundle"] = truth["candidate"]["source"], truth["bundle"]
    result = replay(from_document(lie), tmp_path, "--no-timing")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["parts"][0]["outcome"] == "not reproduced"


def test_a_gpus_candidate_is_not_run_here(packets: dict[str, Packet]) -> None:
    document: Any = packets["right"].model_dump(mode="json", exclude_unset=True)
    document["candidate"]["source"]["language"] = "triton"
    document["bundle"]["device"] = "cpu"
    again, parts = judge_again(Found("x", from_document(document), lambda _: None), Phases(), timing=True)
    assert again is None
    assert parts[0].outcome == "not replayed"
    assert parts[1].outcome == "reproduced"  # the statistics need no GPU


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../../evil": {"x": "1"}}},
        {"files": {"candidate": {"../../evil": "1"}}},
        {"files": {"candidate": {"/evil": "1"}}},
        {"files": 3},
        {"entries": {"candidate": "../../../etc/passwd"}},
        {"workload": None},
        {"files": None},
    ],
)
def test_bundles_that_lead_elsewhere(change: dict[str, Any], packets: dict[str, Packet], tmp_path: Path) -> None:
    document: Any = packets["right"].model_dump(mode="json", exclude_unset=True)
    for key, value in change.items():
        document["bundle"][key] = {**document["bundle"][key], **value} if isinstance(value, dict) else value
    result = replay(from_document(document), tmp_path)
    assert result.exit_code == InputError.exit_code, result.output
    assert result.stderr.count("\n") == 1


def test_exit_codes() -> None:
    raise_for(passed())
    with pytest.raises(VerificationError, match="mismatch"):
        raise_for(failed())
    assert summary_of(failed())["failure"] == "mismatch"
    assert summary_of(errored())["why"] == "in compile: nvcc: no space left on device"
