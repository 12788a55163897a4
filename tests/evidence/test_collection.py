"""Packets are found wherever they are, and one that was changed is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mosaic.errors import InputError
from mosaic.evidence import archive
from mosaic.evidence.canonical import digest
from mosaic.evidence.collection import collect, files, find
from mosaic.evidence.exchange import export
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.packet import packet_id, seal
from tests.evidence.samples import LOG, all_packets, failed, fill, passed, skipped


@pytest.fixture
def everywhere(tmp_path: Path) -> Path:
    """A folder with a ledger, its export, an archive, a sealed packet with its artifact beside it, and one that is not sealed."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        fill(ledger)
        export(ledger, tmp_path / "exported")
    archive.write(tmp_path / "failed.zip", failed(), [LOG])
    (tmp_path / "sealed").mkdir()
    (tmp_path / "sealed" / "failed.json").write_bytes(seal(failed()))
    (tmp_path / "sealed" / "artifacts").mkdir()
    (tmp_path / "sealed" / "artifacts" / digest(LOG)).write_bytes(LOG)
    (tmp_path / "passed.json").write_text(passed().model_dump_json(exclude_unset=True, indent=2), encoding="utf-8")
    return tmp_path


def test_all_of_them_with_their_artifacts(everywhere: Path) -> None:
    known = {packet_id(packet) for packet in all_packets().values()}
    where: dict[str, int] = {}
    for found in collect([everywhere]):
        assert packet_id(found.packet) in known
        if found.packet.artifacts:
            assert found.contents() == {digest(LOG): LOG}
            assert found.content("0" * 64) is None
        file = found.place.partition("#")[0]
        where[str(Path(file).relative_to(everywhere))] = where.get(str(Path(file).relative_to(everywhere)), 0) + 1
    some = len(all_packets())
    assert where == {"exported/entries.jsonl": some, "ledger.db": some, "failed.zip": 1, "passed.json": 1, "sealed/failed.json": 1}


def test_one_of_them(everywhere: Path) -> None:
    assert find(str(everywhere / "passed.json")).packet == passed()
    name = packet_id(skipped())
    for file in ("ledger.db", "exported", "exported/entries.jsonl"):
        assert find(f"{everywhere / file}#{name[:9]}").packet == skipped()
    assert find(f"{everywhere / 'ledger.db'}#{packet_id(failed())}").contents() == {digest(LOG): LOG}
    assert find(str(everywhere / "failed.zip")).contents() == {digest(LOG): LOG}


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nowhere.json", "there is no file or folder"),
        ("ledger.db", "names several packets"),
        ("ledger.db#0123", "is no id"),
        ("ledger.db#0123456789", "no entry whose id begins with"),
        ("passed.json#0123456789", "holds no packet whose id begins with"),
        ("empty", "holds no packets"),
    ],
)
def test_none_or_several(reference: str, said: str, everywhere: Path) -> None:
    (everywhere / "empty").mkdir()
    with pytest.raises(InputError, match=said):
        find(str(everywhere / reference))


def test_damage_is_named(everywhere: Path) -> None:
    def refused(path: Path, said: str) -> None:
        with pytest.raises(InputError, match=said) as caught:
            list(collect([path]))
        assert str(path.name) in str(caught.value)

    sealed = everywhere / "sealed" / "failed.json"
    whole = sealed.read_bytes()
    sealed.write_bytes(whole.replace(b"not 8", b"not 9"))
    refused(sealed, "was changed")
    sealed.write_bytes(whole[:-20])
    refused(sealed, "is not JSON")
    entries = everywhere / "exported" / "entries.jsonl"
    lines = entries.read_bytes()
    entries.write_bytes(lines[:-1])
    refused(entries, "cut short")
    entries.write_bytes(lines.replace(b"scale rows", b"scale cows", 1))
    refused(entries, "line 1")
    (everywhere / "text.json").write_text("{}", encoding="utf-8")
    refused(everywhere / "text.json", "is not a packet")
    artifact = everywhere / "sealed" / "artifacts" / digest(LOG)
    sealed.write_bytes(whole)
    artifact.write_bytes(LOG[:-1])
    with pytest.raises(InputError, match="was changed"):
        find(str(sealed))


def test_artifacts_are_no_packets(everywhere: Path) -> None:
    shutil.copy(everywhere / "passed.json", everywhere / "sealed" / "artifacts" / "x.json")
    assert [file.name for file in files(everywhere / "sealed")] == ["failed.json"]
