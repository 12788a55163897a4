"""Printing: one document for programs, whole lines for people."""

from __future__ import annotations

import json
import sys

import pytest

from mosaic.cli.output import console, print_json, track, working


def test_json_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"arrow": "→", "numbers": [1, 2.5, None, True]}
    print_json(document)
    printed = capsys.readouterr().out
    assert json.loads(printed) == document
    assert "→" in printed


def test_json_refuses_what_json_has_not() -> None:
    with pytest.raises(ValueError, match="JSON"):
        print_json({"loss": float("nan")})


def test_lines_are_not_cut_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("x" * 120)
    assert capsys.readouterr().out == "x" * 120 + "\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_goes_to_a_terminal_only_and_never_to_standard_output(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]
    with working("thinking") as say:
        say("hard")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("counting" in printed.err) is terminal
    assert ("thinking: hard" in printed.err) is terminal
