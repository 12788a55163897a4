"""mosaic smoke: everything works, in seconds; and what does not is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mosaic.cli import smoke
from mosaic.cli.app import app
from mosaic.errors import VerificationError
from mosaic.evidence.collection import find


def test_all_works(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["smoke", "--packet", str(tmp_path / "smoke.json"), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["works"]
    assert [step["good"] for step in found["steps"]] == [True] * 6
    assert find(str(tmp_path / "smoke.json")).packet.status in ("pass", "inconclusive")


def test_what_does_not_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that took the wrong product for right would be found."""
    monkeypatch.setattr(smoke, "WRONG", smoke.RIGHT)
    result = CliRunner().invoke(app, ["smoke"])
    assert result.exit_code == VerificationError.exit_code
    assert "BAD" in result.stdout
    assert "judging a wrong product did not go as it must" in result.stderr
