"""Files are written whole, or what was there stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mosaic.errors import InputError
from mosaic.files import check_writable, write_whole


def test_text_and_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "a → b\n")
    assert (tmp_path / "text").read_bytes() == "a → b\n".encode()
    write_whole(tmp_path / "text", b"\xff")
    assert (tmp_path / "text").read_bytes() == b"\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_whole(tmp_path / "mine", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"cannot write .*report\.html: no space left on device"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder; name a file"):
        write_whole(tmp_path, "x")
    with pytest.raises(InputError, match=r"there is no folder .*absent; make it first"):
        check_writable(tmp_path / "absent" / "report.html")
    check_writable(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may write everywhere: the answer to the question is what counts."""
    asked = []

    def refuse(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", refuse)
    with pytest.raises(InputError, match="no permission to write in"):
        check_writable(tmp_path / "report.html")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
