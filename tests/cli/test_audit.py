"""mosaic audit: the corpus through the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import InputError, VerificationError
from mosaic.evidence.ledger import Ledger
from mosaic.harness.audit import corpus, run
from mosaic.harness.audit.run import Report, Result


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)])


def test_the_corpus_is_listed() -> None:
    listed = json.loads(invoke("--list", "--json").stdout)
    assert len(listed) == len(corpus.entries())
    assert {entry["number"] for entry in listed if entry["group"] == "cheats"} == set(range(1, 47))
    assert {entry["group"] for entry in json.loads(invoke("--list", "--json", "--group", "controls").stdout)} == {"controls"}
    assert "nan_equals_nan" in invoke("--list").stdout


def test_a_cheat_and_a_control(tmp_path: Path) -> None:
    cheat, control = "nan_equals_nan", "softmax_steps"
    result = invoke("--device", "cpu", "--only", cheat, "--only", control, "--no-timing", "--ledger", tmp_path / "l.db", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {each["verdict"] for each in found["results"]} == {"right"}
    assert {each["name"] for each in found["results"]} >= {cheat}
    with Ledger(tmp_path / "l.db", create=False) as ledger:
        assert len(ledger) == len(found["results"])


@pytest.mark.parametrize(("verdict", "code"), [("right", 0), ("missed", VerificationError.exit_code), ("skipped", 0)])
def test_what_is_shown(verdict: Any, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = corpus.entries("cheats")[0]
    report = Report((Result(entry, verdict, "fail", f"cheat.{entry.name}", "seen [red]", seconds=1.25),), "cpu")
    monkeypatch.setattr(run, "audit", lambda *_, **__: report)
    result = invoke()
    assert result.exit_code == code
    assert entry.path in result.stdout
    assert "seen [red]" in result.stdout
    assert f"ways to cheat: {report.ways[0]} of {report.ways[1]} caught and named" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"), [(("--only", "nothing"), "no entry nothing"), (("--device", "tpu"), "tpu"), (("--group", "x"), "no group 'x'")]
)
def test_what_is_not_there(arguments: tuple[str, ...], said: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == InputError.exit_code
    assert said in result.stderr
