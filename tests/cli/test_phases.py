"""Phases: what is told, where, and how long each took."""

from __future__ import annotations

import io
import sys
import time

import pytest

from mosaic.cli import phases as module
from mosaic.cli.phases import Phases


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_seconds_of_each_phase_are_kept() -> None:
    phases = Phases()
    with phases.shown():
        for text in ("planning a", "planning b", "checking a", "planning c"):
            phases.say(text)
            time.sleep(0.01)
    assert list(phases.seconds) == ["planning", "checking"]
    assert 0.03 <= phases.seconds["planning"] < 5
    assert 0.01 <= phases.seconds["checking"] < 5


def test_long_phases_get_a_line_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "TOLD", 0.02)
    phases = Phases()
    with phases.shown():
        phases.say("loading x")
        phases.say("planning x")
        time.sleep(0.03)
        phases.say("checking x")
    assert capsys.readouterr() == ("", "mosaic: planning took 0 s\n")


def test_a_terminal_shows_what_is_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    phases = Phases()
    with phases.shown():
        phases.say("planning layer0.ffn.up")
        time.sleep(0.3)
    assert "planning layer0.ffn.up" in terminal.getvalue()
    assert "took" not in terminal.getvalue()


def test_a_failure_is_not_reported_as_a_phase(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "TOLD", 0.0)

    def fail() -> None:
        with Phases().shown() as phases:
            phases.say("planning x")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  (it is this test's own)
        fail()
    assert capsys.readouterr().err == ""


def test_the_summary() -> None:
    phases = Phases()
    phases.seconds = {"loading": 0.04, "planning": 15.23, "checking": 80.0}
    assert phases.summary() == "planning 15.2 s, checking 80.0 s"
