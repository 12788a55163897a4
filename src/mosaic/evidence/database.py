"""The ledger's file: one SQLite database, written ahead to a log, so that a writer killed at any moment leaves nothing torn.

    log        one row for each packet or note, in order; `chain` is the SHA-256 of the row before's chain, the kind and the id
    packets    what queries ask of a packet; taken from its document, and compared with it by `verify`
    tags       which packets have which tag
    documents  sealed bytes of packets and notes
    artifacts  contents by SHA-256

Triggers refuse every change and removal: rows are only ever added.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mosaic.errors import InputError

APPLICATION: Final = 0x4D6F7A31
"""Marks the file as a ledger (SQLite's application id)."""

LAYOUT: Final = 1
"""Of the tables (SQLite's user version)."""

PATIENCE_SECONDS: Final = 60.0
"""How long a writer waits for others."""

_TABLES: Final = """
CREATE TABLE log (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL UNIQUE, chain TEXT NOT NULL) STRICT;
CREATE TABLE packets (
  seq INTEGER PRIMARY KEY REFERENCES log, id TEXT NOT NULL, created TEXT NOT NULL, status TEXT NOT NULL, failure TEXT,
  candidate TEXT NOT NULL, candidate_id TEXT NOT NULL, task TEXT NOT NULL, device TEXT NOT NULL, tags TEXT NOT NULL
) STRICT;
CREATE TABLE tags (tag TEXT NOT NULL, seq INTEGER NOT NULL REFERENCES packets, PRIMARY KEY (tag, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE documents (seq INTEGER PRIMARY KEY REFERENCES log, content BLOB NOT NULL) STRICT;
CREATE TABLE artifacts (seq INTEGER PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE, content BLOB NOT NULL) STRICT;
CREATE INDEX packets_created ON packets (created);
CREATE INDEX packets_status ON packets (status, created);
CREATE INDEX packets_failure ON packets (failure, created) WHERE failure IS NOT NULL;
CREATE INDEX packets_candidate ON packets (candidate, created);
CREATE INDEX packets_candidate_id ON packets (candidate_id, created);
CREATE INDEX packets_task ON packets (task, created);
CREATE INDEX packets_device ON packets (device, created);
"""
TABLES: Final = ("log", "packets", "tags", "documents", "artifacts")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell SQLite's errors as sentences. Raises InputError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise InputError(f"ledger {path} is kept by another writer for more than {PATIENCE_SECONDS:g} s; try again later") from None
        if "not a database" in text:
            raise InputError(f"{path} is not a ledger; name another file") from None
        if "only added" in text:
            raise InputError(f"ledger {path}: {text}") from None
        raise InputError(f"ledger {path} cannot be used: {text}; check the file, its folder's permissions and the free space") from None


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection to the ledger at `path`; its transactions begin and end explicitly, and are on disk when they end.

    Raises InputError if it is missing (and not to be created), is something else, or is of a later layout.
    """
    if path.is_dir():
        raise InputError(f"cannot open the ledger {path}: it is a folder; name a file")
    if not path.exists() and not create:
        raise InputError(f"there is no ledger {path}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"cannot make the ledger {path}: there is no folder {path.parent}; make it first")
    with told(path):
        connection = sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA synchronous = FULL")  # an append that was acknowledged survives a power cut too
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -65536")  # KiB
    if _layout(connection, path) == 0:
        _write_ahead(connection)
        with transaction(connection):
            if _layout(connection, path) == 0:  # else another writer was first
                for statement in filter(str.strip, _TABLES.split(";")):
                    connection.execute(statement)
                for table in TABLES:
                    for verb in ("UPDATE", "DELETE"):
                        connection.execute(
                            f"CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} "
                            "BEGIN SELECT RAISE(ABORT, 'rows of a ledger are only added'); END"
                        )
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {LAYOUT}")


def _layout(connection: sqlite3.Connection, path: Path) -> int:
    """The layout of the tables; 0 if there are none yet."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == 0 and layout == 0 and tables == 0:
        return 0
    if application != APPLICATION:
        raise InputError(f"{path} is a database, but not a ledger; name another file")
    if layout != LAYOUT:
        raise InputError(f"ledger {path} has layout {layout}; this release knows layout {LAYOUT}")
    return int(layout)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log. SQLite does not wait for other connections here, so this does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One writer at a time; all that is written in it, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
