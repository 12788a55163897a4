"""Notes rest on packets that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.notes import DeadEnd, Fact, note_id, parse_note, seal_note
from tests.evidence import samples

COMMON: dict[str, Any] = {"format": "mosaic-note", "version": 1, "created": "2026-11-06T00:00:00.000000Z", "scope": "H200, float16"}


def fact(*packets: str, replaces: str | None = None) -> Fact:
    return Fact(**COMMON, kind="fact", statement="Two stages suffice.", packets=packets, replaces=replaces)


def dead_end(*packets: str) -> DeadEnd:
    return DeadEnd(**COMMON, kind="dead-end", statement="Four stages.", why="Shared memory halves the blocks.", packets=packets)


def test_round_trip() -> None:
    for note in (fact("a" * 64), dead_end("a" * 64, "b" * 64)):
        data = seal_note(note)
        assert parse_note(data) == note
        assert json.loads(data)["id"] == note_id(note)
        with pytest.raises(InputError, match="was changed"):
            parse_note(data.replace(b"stages", b"pieces"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packets": []}, "the note is malformed at packets"),
        ({"packets": ["12"]}, r"the note is malformed at packets\[0\]"),
        ({"kind": "guess"}, "its kind is 'guess', not one of 'fact', 'dead-end'"),
        ({"kind": "dead-end"}, "at why: it is missing"),
        ({"version": 2}, "is not a note of version 1"),
        ({"sure": True}, "at sure: there is no such field"),
    ],
)
def test_malformed_notes(change: dict[str, Any], message: str) -> None:
    document = {**json.loads(seal_note(fact("a" * 64))), **change}
    del document["id"]
    with pytest.raises(InputError, match=message):
        parse_note(json.dumps(document))


def test_notes_in_a_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        first, second = ledger.append(samples.passed()), ledger.append(samples.skipped())
        name = ledger.append_note(fact(first))
        assert ledger.append_note(fact(first)) == name
        ledger.append_note(dead_end(first, second))
        ledger.append_note(fact(second, replaces=name))
        assert [note.kind for note in ledger.notes()] == ["fact", "dead-end", "fact"]
        assert ledger.notes("dead-end") == [dead_end(first, second)]
        assert len(ledger.notes(packet=first)) == 2
        assert ledger.head()[0] == 5
        with pytest.raises(InputError, match=f"names the packet {'0' * 64}, which is not in the ledger"):
            ledger.append_note(fact("0" * 64))
        with pytest.raises(InputError, match=f"names the packet {name}"):
            ledger.append_note(fact(name))
        with pytest.raises(InputError, match=f"names the note {first}"):
            ledger.append_note(fact(first, replaces=first))
        assert ledger.head()[0] == 5
        assert ledger.verify() == []
