"""Out of a ledger and into another, with nothing changed; what was changed on the way is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.exchange import Exchanged, export, load
from mosaic.evidence.ledger import Ledger
from tests.evidence import samples
from tests.evidence.test_notes import fact


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    with Ledger(tmp_path / "first.db") as ledger:
        names = samples.fill(ledger)
        ledger.append_note(fact(names[0]))
        assert export(ledger, tmp_path / "exported") == Exchanged(7, 7, 1)
    return tmp_path / "exported"


def test_there_and_back(exported: Path, tmp_path: Path) -> None:
    with Ledger(tmp_path / "first.db") as first, Ledger(tmp_path / "second.db") as second:
        assert load(second, exported) == Exchanged(7, 7, 1)
        assert second.head() == first.head()
        assert list(second.entries()) == list(first.entries())
        assert second.find() == first.find()
        assert second.artifact(digest(samples.LOG)) == samples.LOG
        assert second.verify() == []
        assert load(second, exported) == Exchanged(7, 0, 0)
        assert load(first, exported) == Exchanged(7, 0, 0)


def test_merging(exported: Path, tmp_path: Path) -> None:
    with Ledger(tmp_path / "second.db") as second:
        second.append(samples.passed())
        second.append(samples.passed("another"))
        assert load(second, exported) == Exchanged(7, 6, 1)
        assert second.verify() == []


def change_entries(folder: Path, old: bytes, new: bytes) -> None:
    path = folder / "entries.jsonl"
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"status":"skipped"', b'"status":"fail"', r"entries.jsonl, line 4, was changed"),
        (b"Two stages", b"Six stages", r"line 7, was changed"),
        (b'{"candidate"', b'{ "candidate"', "line 1, was changed: its bytes"),
        (b"\n", b"\n\n", "line 2, is not JSON"),
    ],
)
def test_changed_entries(exported: Path, tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    change_entries(exported, old, new)
    with Ledger(tmp_path / "second.db") as second:
        with pytest.raises(InputError, match=message):
            load(second, exported)
        assert (len(second), second.head()[0]) == (0, 0)


def test_a_cut_file(exported: Path, tmp_path: Path) -> None:
    path = exported / "entries.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    with Ledger(tmp_path / "second.db") as second, pytest.raises(InputError, match="was cut short in line 7"):
        load(second, exported)


def test_changed_and_missing_artifacts(exported: Path, tmp_path: Path) -> None:
    (artifact,) = (exported / "artifacts").iterdir()
    artifact.write_bytes(samples.LOG.replace(b"0", b"1"))
    with Ledger(tmp_path / "second.db") as second:
        with pytest.raises(InputError, match="was changed: its SHA-256 is"):
            load(second, exported)
        artifact.unlink()
        assert load(second, exported) == Exchanged(7, 7, 0)
        assert not second.has_artifact(digest(samples.LOG))
        assert second.verify() == []


def test_where_nothing_can_be_written_or_read(exported: Path, tmp_path: Path) -> None:
    with Ledger(tmp_path / "first.db") as ledger:
        with pytest.raises(InputError, match="it exists; name a new folder"):
            export(ledger, exported)
        with pytest.raises(InputError, match="there is no folder"):
            export(ledger, tmp_path / "absent" / "exported")
        with pytest.raises(InputError, match=r"cannot read .*no such file"):
            load(ledger, tmp_path / "absent")
        ledger.connection.execute("DROP TRIGGER documents_update")
        ledger.connection.execute("UPDATE documents SET content = x'7b7d' WHERE seq = 1")
        with pytest.raises(InputError, match=r"packet .* is not a packet"):
            export(ledger, tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exported", "first.db"]
