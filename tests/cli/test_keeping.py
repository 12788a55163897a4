"""Where packets are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.cli import keeping
from mosaic.cli.keeping import check_places, find_packet, keep, own_ledger, paths_or_own
from mosaic.errors import InputError
from mosaic.evidence.archive import unpack
from mosaic.evidence.canonical import digest
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.packet import packet_id, unseal
from tests.evidence.samples import LOG, failed, passed


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "share" / "own.db"
    monkeypatch.setenv("MOSAIC_LEDGER", str(path))
    return path


def test_the_users_own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_LEDGER", "")
    assert own_ledger() is None
    monkeypatch.delenv("MOSAIC_LEDGER")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_ledger() == tmp_path / "mosaic" / "ledger.db"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_ledger() == tmp_path / ".local" / "share" / "mosaic" / "ledger.db"


def test_without_a_choice_it_goes_to_the_users_own(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = keep(failed(), [LOG], None, None)
    assert kept.to_dict() == {"id": packet_id(failed()), "status": "fail", "kept": [str(own)]}
    kept.tell()
    assert capsys.readouterr().out == f"packet: {packet_id(failed())[:12]}, fail, in {own}\n"
    found = find_packet(packet_id(failed())[:10])
    assert (found.packet, found.contents()) == (failed(), {digest(LOG): LOG})
    assert paths_or_own(None) == [own]
    assert paths_or_own([Path("x")]) == [Path("x")]


def test_files_and_ledgers_of_the_users_choice(own: Path, tmp_path: Path) -> None:
    kept = keep(failed(), [LOG], tmp_path / "a.zip", tmp_path / "l.db")
    assert kept.places == (str(tmp_path / "a.zip"), str(tmp_path / "l.db"))
    assert unpack((tmp_path / "a.zip").read_bytes()) == (failed(), {digest(LOG): LOG})
    with Ledger(tmp_path / "l.db", create=False) as ledger:
        assert ledger.artifact(digest(LOG)) == LOG
    keep(passed(), [], tmp_path / "a.json", None)
    assert unseal((tmp_path / "a.json").read_bytes()) == passed()
    assert not own.exists()


def test_large_contents_stay_out_of_the_users_own(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "LARGEST", len(LOG) - 1)
    keep(failed(), [LOG], None, None)
    with Ledger(own, create=False) as ledger:
        assert not ledger.has_artifact(digest(LOG))


def test_an_own_ledger_that_cannot_be_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("MOSAIC_LEDGER", str(tmp_path / "file" / "ledger.db"))
    assert keep(passed(), [], None, None).places == ()
    assert "warning: the packet is not kept" in capsys.readouterr().err
    with pytest.raises(InputError, match="no ledger of your own"):
        paths_or_own(None)


def test_places_are_tried_before_the_work(tmp_path: Path) -> None:
    check_places(tmp_path / "a.zip", tmp_path / "l.db")
    check_places(None, None)
    for packet, ledger, said in (
        (tmp_path / "a.txt", None, r"must end in \.json"),
        (tmp_path / "none" / "a.json", None, "there is no folder"),
        (None, tmp_path / "none" / "l.db", "there is no folder"),
        (None, tmp_path, "it is a folder"),
    ):
        with pytest.raises(InputError, match=said):
            check_places(packet, ledger)
