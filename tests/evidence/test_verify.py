"""Verification tells of every change, whether by chance or by who knows the tables."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mosaic.evidence.ledger import Ledger
from mosaic.evidence.notes import Fact
from mosaic.evidence.packet import seal
from tests.evidence import samples


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "ledger.db"
    with Ledger(path) as ledger:
        names = samples.fill(ledger)
        ledger.append_note(
            Fact(
                format="mosaic-note",
                version=1,
                created="2026-11-06T00:00:00.000000Z",
                kind="fact",
                statement="It holds.",
                scope="H200",
                packets=(names[0],),
            )
        )
        ledger.connection.execute("VACUUM")  # no old copies of a row in the unused parts of pages
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*samples.all_packets(), "artifact", "note"]), st.integers(0), st.integers(1, 255))
def test_any_changed_byte_of_a_stored_packet_is_found(stored: Path, tmp_path: Path, what: str, place: int, flip: int) -> None:
    """Changed in the file itself, below SQLite."""
    with Ledger(stored, create=False) as ledger:
        needle = samples.LOG
        if what == "note":
            needle = next(entry[4] for entry in ledger.entries() if entry[1] == "note")
        elif what != "artifact":
            needle = seal(samples.all_packets()[what])
    data = bytearray(stored.read_bytes())
    # A document larger than a page lies in pieces: look for the next few bytes that lie together.
    width = 24
    starts = (data.find(needle[at % (len(needle) - width + 1) :][:width]) for at in range(place, place + width + 1))
    data[next(start for start in starts if start >= 0) + place % width] ^= flip
    changed = tmp_path / "changed.db"
    changed.write_bytes(data)
    with Ledger(changed, create=False) as ledger:
        assert ledger.verify() != []


CHANGES = [
    ("UPDATE packets SET status = 'pass' WHERE status = 'fail'", "is listed with another status than its document has"),
    ("UPDATE packets SET failure = NULL WHERE status = 'fail'", "is listed with another failure"),
    ("DELETE FROM packets WHERE seq = 2", "is missing from the table that is searched"),
    ("DELETE FROM tags WHERE seq = 2", "is listed with other tags"),
    ("INSERT INTO tags VALUES ('best', 2)", "is listed with other tags"),
    ("DELETE FROM log WHERE seq = 2", "entry 2 was removed"),
    ("DELETE FROM documents WHERE seq = 2", "has lost its document"),
    ("UPDATE documents SET content = (SELECT content FROM documents WHERE seq = 1) WHERE seq = 2", "is another one"),
    ("UPDATE log SET chain = replace(chain, '0', '1') WHERE seq = 3", "does not continue the chain"),
    ("UPDATE artifacts SET content = x'00'", "artifact .* was changed"),
    ("UPDATE documents SET content = cast(replace(content, 'holds', 'fails') AS blob) WHERE seq = 7", "note .* was changed"),
    ("UPDATE documents SET content = cast(substr(content, 1, 100) AS blob) WHERE seq = 4", "is not JSON"),
]


@pytest.mark.parametrize(("statement", "message"), CHANGES)
def test_changes_by_who_knows_the_tables_are_found(stored: Path, tmp_path: Path, statement: str, message: str) -> None:
    changed = tmp_path / "changed.db"
    changed.write_bytes(stored.read_bytes())
    with sqlite3.connect(changed) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
    connection.close()
    with Ledger(changed, create=False) as ledger:
        assert any(re.search(message, problem) for problem in ledger.verify()), ledger.verify()
