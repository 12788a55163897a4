"""The ledger: an append-only store of packets, notes and artifacts in one file, for several writers at once.

    with Ledger(path) as ledger:
        ledger.append(packet, artifacts=[log, sass])
        ledger.find(status="fail", device="NVIDIA H200", limit=20)
        ledger.verify()

An append that returned is on disk; one that was killed leaves no trace. A ledger is used by the thread that opened it; open one in
each thread and each process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.database import connect, told, transaction
from mosaic.evidence.notes import Note, note_id, parse_note, seal_note
from mosaic.evidence.packet import STATUSES, Packet, sealed, unseal
from mosaic.evidence.summary import COLUMNS, START, Summary, link, summary
from mosaic.evidence.verify import problems

LARGEST_ARTIFACT: Final = 256 * 2**20
"""Bytes. What is larger belongs elsewhere, named by its hash."""


class Ledger:
    """A ledger at `path`, made if there is none (unless `create` is False). Methods raise InputError for what the file refuses."""

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path: Final = Path(path)
        self.connection: Final = connect(self.path, create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with told(self.path):
            self.connection.close()

    # Writing

    def append(self, packet: Packet, artifacts: Iterable[bytes] = (), *, partial: bool = False) -> str:
        """Add a packet, with the contents of its artifacts; its id. A packet that is there already stays as it is.

        Raises InputError for a content that the packet does not name, and, unless `partial`, for an artifact of it that is neither
        given nor in the ledger.
        """
        return self.extend([(packet, tuple(artifacts))], partial=partial)[0]

    def extend(self, packets: Iterable[tuple[Packet, Iterable[bytes]]], *, partial: bool = False) -> tuple[str, ...]:
        """Add several packets with their artifacts, all or none. Raises InputError as `append` does."""
        with told(self.path), transaction(self.connection):
            return tuple(self.add(packet, artifacts, partial=partial)[0] for packet, artifacts in packets)

    def append_note(self, note: Note) -> str:
        """Add a fact or a dead end; its id. Raises InputError if a packet or note that it names is not in the ledger."""
        with told(self.path), transaction(self.connection):
            return self.add_note(note)[0]

    def add(self, packet: Packet, artifacts: Iterable[bytes], *, partial: bool) -> tuple[str, bool]:
        """Within a transaction: add a packet; its id, and whether it is new."""
        given = {digest(content): content for content in artifacts}
        named = {artifact.sha256: artifact for artifact in packet.artifacts or ()}
        for sha256, content in given.items():
            if sha256 not in named:
                raise InputError(f"a content of {len(content)} bytes was given that the packet does not name; its SHA-256 is {sha256}")
            if len(content) != named[sha256].size:
                raise InputError(f"artifact {named[sha256].name!r} has {len(content)} bytes, but its packet says {named[sha256].size}")
            if len(content) > LARGEST_ARTIFACT:
                raise InputError(
                    f"artifact {named[sha256].name!r} is larger than {LARGEST_ARTIFACT >> 20} MiB; keep it elsewhere, by its hash"
                )
            self.connection.execute("INSERT INTO artifacts (sha256, content) VALUES (?, ?) ON CONFLICT DO NOTHING", (sha256, content))
        if not partial:
            for sha256, artifact in named.items():
                if sha256 not in given and not self._one("SELECT 1 FROM artifacts WHERE sha256 = ?", sha256):
                    raise InputError(f"the content of artifact {artifact.name!r} is missing; give it, or append with partial=True")
        name, data = sealed(packet)
        row = summary(0, packet, name)
        seq = self._log("packet", row.id, data)
        if seq is None:
            return row.id, False
        self.connection.execute("INSERT INTO packets VALUES (?,?,?,?,?,?,?,?,?,?)", (seq, *row[1:]))
        self.connection.executemany("INSERT INTO tags VALUES (?, ?)", [(tag, seq) for tag in row.tags])
        return row.id, True

    def add_note(self, note: Note) -> tuple[str, bool]:
        """Within a transaction: add a note; its id, and whether it is new."""
        for kind, names in (("packet", note.packets), ("note", (note.replaces,) if note.replaces else ())):
            for name in names:
                if not self._one("SELECT 1 FROM log WHERE id = ? AND kind = ?", name, kind):
                    raise InputError(f"the note names the {kind} {name}, which is not in the ledger {self.path}")
        name = note_id(note)
        return name, self._log("note", name, seal_note(note)) is not None

    def _log(self, kind: str, name: str, data: bytes) -> int | None:
        """The new entry's place, or None if it is there already."""
        if self._one("SELECT 1 FROM log WHERE id = ?", name):
            return None
        seq, chain = self._one("SELECT seq, chain FROM log ORDER BY seq DESC LIMIT 1") or (0, START)
        self.connection.execute("INSERT INTO log VALUES (?, ?, ?, ?)", (seq + 1, kind, name, link(chain, kind, name)))
        self.connection.execute("INSERT INTO documents VALUES (?, ?)", (seq + 1, data))
        return int(seq) + 1

    def _one(self, query: str, *values: object) -> Any:
        return self.connection.execute(query, values).fetchone()

    # Reading

    def __len__(self) -> int:
        """How many packets."""
        with told(self.path):
            return int(self._one("SELECT count(*) FROM packets")[0])

    def artifact_count(self) -> int:
        """How many artifacts' contents."""
        with told(self.path):
            return int(self._one("SELECT count(*) FROM artifacts")[0])

    def head(self) -> tuple[int, str]:
        """How many entries, and the chain over them. Who published it can show later that none was removed or changed."""
        with told(self.path):
            return self._one("SELECT seq, chain FROM log ORDER BY seq DESC LIMIT 1") or (0, START)

    def sealed(self, name: str) -> bytes:
        """The stored bytes of a packet or note, by its id or a beginning of it (8 digits at least) that no other shares.

        Raises InputError if there is none, or several.
        """
        if len(name) < 8 or not set(name) <= set("0123456789abcdef"):
            raise InputError(f"{name!r} is no id; give at least its first 8 hexadecimal digits")
        with told(self.path):
            query = "SELECT content FROM log JOIN documents USING (seq) WHERE id >= ? AND id <= ? LIMIT 2"
            found = self.connection.execute(query, (name, name + "g")).fetchall()
        if len(found) != 1:
            raise InputError(f"the ledger {self.path} has {'several entries' if found else 'no entry'} whose id begins with {name}")
        return bytes(found[0][0])

    def get(self, name: str) -> Packet:
        """A packet, by its id or a beginning of it; its bytes are checked. Raises InputError as `sealed` does."""
        return unseal(self.sealed(name), name if len(name) == 64 else None, f"packet {name}")

    def has_artifact(self, sha256: str) -> bool:
        """Whether the content of that hash is here."""
        with told(self.path):
            return self._one("SELECT 1 FROM artifacts WHERE sha256 = ?", sha256) is not None

    def artifact(self, sha256: str) -> bytes:
        """An artifact's content, checked. Raises InputError if it isn't there or is damaged."""
        with told(self.path):
            found = self._one("SELECT content FROM artifacts WHERE sha256 = ?", sha256)
        if found is None:
            raise InputError(f"the ledger {self.path} has no artifact {sha256}")
        if digest(found[0]) != sha256:
            raise InputError(f"artifact {sha256} in the ledger {self.path} was changed")
        return bytes(found[0])

    def find(
        self,
        *,
        status: str | None = None,
        failure: str | None = None,
        candidate: str | None = None,
        task: str | None = None,
        device: str | None = None,
        since: str | None = None,
        until: str | None = None,
        tags: Iterable[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Summary]:
        """Packets that meet all that is given, the newest first.

        candidate: its name, or its id (64 digits). since, until: moments as packets write them (from since, up to but without until);
        a beginning such as 2026-11 will do. Raises InputError for an unknown status.
        """
        where, values = _conditions(status, failure, candidate, task, device, since, until, tuple(tags))
        query = f"SELECT {COLUMNS} FROM packets {where} ORDER BY created DESC, packets.seq DESC LIMIT ? OFFSET ?"
        with told(self.path):
            return list(map(Summary._make, self.connection.execute(query, (*values, -1 if limit is None else limit, offset))))

    def failures(self, *, candidate: str | None = None, task: str | None = None, device: str | None = None) -> dict[str, int]:
        """How many packets failed in each class, the most frequent first."""
        where, values = _conditions("fail", None, candidate, task, device, None, None, ())
        query = f"SELECT failure, count(*) AS n FROM packets {where} GROUP BY failure ORDER BY n DESC, failure"
        with told(self.path):
            return dict(self.connection.execute(query, values))

    def notes(self, kind: Literal["fact", "dead-end"] | None = None, *, packet: str | None = None) -> list[Note]:
        """Notes in the order in which they were added; of one kind, or those that rest on one packet (its whole id)."""
        with told(self.path):
            rows = self.connection.execute("SELECT id, content FROM log JOIN documents USING (seq) WHERE kind = 'note' ORDER BY seq")
            found = [parse_note(content, f"note {name}") for name, content in rows]
        return [note for note in found if kind in (None, note.kind) and (packet is None or packet in note.packets)]

    def entries(self) -> Iterator[tuple[int, str, str, str, bytes]]:
        """Every entry in order: its place, kind, id, chain and sealed bytes. They are not checked here."""
        rows = self.connection.execute("SELECT seq, kind, id, chain, content FROM log LEFT JOIN documents USING (seq) ORDER BY seq")
        try:
            yield from rows
        except sqlite3.DatabaseError as error:
            raise InputError(f"the ledger {self.path} is damaged: {error}") from None

    def verify(self) -> list[str]:
        """Hash everything again; a sentence for each thing that is not what it was, so nothing if all is well."""
        return list(problems(self.connection))


def _conditions(
    status: str | None,
    failure: str | None,
    candidate: str | None,
    task: str | None,
    device: str | None,
    since: str | None,
    until: str | None,
    tags: tuple[str, ...],
) -> tuple[str, list[str]]:
    """The WHERE clause of a query, and its values."""
    if status is not None and status not in STATUSES:
        raise InputError(f"there is no status {status!r}; the statuses are {', '.join(STATUSES)}")
    whole = candidate is not None and len(candidate) == 64
    given = {
        "status = ?": status,
        "failure = ?": failure,
        "candidate_id = ?" if whole else "candidate = ?": candidate,
        "task = ?": task,
        "device = ?": device,
        "created >= ?": since,
        "created < ?": until,
    }
    parts = [part for part, value in given.items() if value is not None]
    values = [value for value in given.values() if value is not None]
    for tag in tags:
        parts.append("packets.seq IN (SELECT seq FROM tags WHERE tag = ?)")
        values.append(tag)
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), values
