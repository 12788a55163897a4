"""Verification of a ledger: everything is hashed again, and what its tables say is compared with the documents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.notes import note_id, parse_note, seal_note
from mosaic.evidence.packet import Packet, unseal
from mosaic.evidence.summary import COLUMNS, START, link, summary


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """A sentence for each thing in a ledger's database that is not what it was when it was written."""
    try:
        for (text,) in connection.execute("PRAGMA integrity_check"):
            if text != "ok":
                yield f"SQLite finds the file damaged: {text}"
        connection.execute("BEGIN")  # all that follows sees one state, whoever writes meanwhile
        try:
            yield from _log(connection)
            yield from _artifacts(connection)
            yield from _strays(connection)
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        yield f"SQLite cannot read the file: {error}"


def _log(connection: sqlite3.Connection) -> Iterator[str]:
    chain = START
    query = "SELECT log.seq, kind, log.id, chain, content FROM log LEFT JOIN documents USING (seq) ORDER BY log.seq"
    for expected, (seq, kind, name, stored, content) in enumerate(connection.execute(query), start=1):
        if seq != expected:
            yield f"entry {expected} was removed: entry {seq} comes in its place"
            return
        chain = link(chain, kind, name)
        if chain != stored:
            yield f"entry {seq} ({kind} {name}) does not continue the chain: it, or an entry before it, was changed"
            chain = stored
        if content is None:
            yield f"entry {seq} ({kind} {name}) has lost its document"
            continue
        try:
            if kind == "packet":
                yield from _rows(connection, seq, unseal(content, name, f"packet {name}"))
            elif kind == "note":
                note = parse_note(content, f"note {name}")
                if note_id(note) != name or seal_note(note) != content:
                    yield f"note {name} was changed"
            else:
                yield f"entry {seq} is a {kind!r}, which no ledger holds"
        except InputError as error:
            yield str(error)


def _rows(connection: sqlite3.Connection, seq: int, packet: Packet) -> Iterator[str]:
    """What the tables say of a packet against what its document says."""
    true = summary(seq, packet)
    row = connection.execute(f"SELECT {COLUMNS} FROM packets WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        yield f"packet {true.id} is missing from the table that is searched"
    elif row != true:
        wrong = [field for field, here, there in zip(true._fields, row, true, strict=True) if here != there]
        yield f"packet {true.id} is listed with another {', '.join(wrong)} than its document has"
    tags = {tag for (tag,) in connection.execute("SELECT tag FROM tags WHERE seq = ?", (seq,))}
    if tags != set(true.tags):
        yield f"packet {true.id} is listed with other tags than its document has"


def _artifacts(connection: sqlite3.Connection) -> Iterator[str]:
    for expected, (seq, sha256, content) in enumerate(
        connection.execute("SELECT seq, sha256, content FROM artifacts ORDER BY seq"), start=1
    ):
        if seq != expected:
            yield f"artifact {expected} was removed: artifact {seq} comes in its place"
            return
        if digest(content) != sha256:
            yield f"artifact {sha256} was changed"


def _strays(connection: sqlite3.Connection) -> Iterator[str]:
    for table, key in (("packets", "log.kind = 'packet'"), ("documents", "1"), ("tags", "log.kind = 'packet'")):
        query = f"SELECT count(*) FROM {table} WHERE NOT EXISTS (SELECT 1 FROM log WHERE log.seq = {table}.seq AND {key})"
        (count,) = connection.execute(query).fetchone()
        if count:
            yield f"the table {table} has {count} rows that belong to no entry"
