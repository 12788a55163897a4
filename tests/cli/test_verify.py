"""mosaic verify: right, wrong and broken candidates, each with its packet and exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import InputError, VerificationError
from mosaic.evidence.collection import find
from mosaic.evidence.packet import FailPacket, PassPacket
from tests.cli.tasks import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("judging"))


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["verify", *map(str, arguments), "--device", "cpu"])
    assert result.exit_code == code, result.output
    return result


def test_a_right_one(folder: Path) -> None:
    found = json.loads(run(folder / "task", folder / "right.py", "--packet", folder / "right.json", "--json").stdout)
    assert (found["status"], found["failure"], found["performance"]) == ("pass", None, None)
    packet = find(str(folder / "right.json")).packet
    assert isinstance(packet, PassPacket)
    assert found["checks"] == len(packet.validation.checks)
    assert {case.set for case in packet.candidate.cases} == {"given", "hidden"}


@pytest.mark.parametrize(("name", "kind"), [("wrong.py", "mismatch"), ("crashes.py", "crash")])
def test_others(name: str, kind: str, folder: Path) -> None:
    result = run(folder / "task", folder / name, "--ledger", folder / "ledger.db", code=VerificationError.exit_code)
    assert f"fails product: {kind}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert f"fail, in {folder / 'ledger.db'}" in result.stdout
    listed = CliRunner().invoke(app, ["packets", "list", str(folder / "ledger.db"), "--failure", kind, "--json"])
    assert len(json.loads(listed.stdout)) == 1


def test_the_same_seed_gives_the_same_checks(folder: Path) -> None:
    errors = []
    for _ in range(2):
        run(
            folder / "task", folder / "wrong.py", "--seed", "a secret", "--packet", folder / "seeded.json", code=VerificationError.exit_code
        )
        packet = find(str(folder / "seeded.json")).packet
        assert isinstance(packet, FailPacket)
        errors.append(packet.failure.message)
    assert errors[0] == errors[1]


def test_tasks_that_make_no_sense_are_a_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    for arguments in (
        ("nowhere", folder / "right.py"),
        (folder / "task", "nowhere.py"),
        (folder / "right.py", folder / "right.py"),
        (folder / "task", folder / "right.py", "--workload", tmp_path / "bad.json"),
        (folder / "task", folder / "right.py", "--packet", tmp_path / "none" / "x.json"),
    ):
        result = run(*arguments, code=InputError.exit_code)
        assert (result.stdout, result.stderr.count("\n")) == ("", 1), arguments
