"""The ledger's file is made once, whoever comes first, and nothing else is taken for it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic.errors import InputError
from mosaic.evidence.database import TABLES, connect, transaction
from mosaic.evidence.ledger import Ledger


def test_files_that_are_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 10)
    sqlite3.connect(tmp_path / "other").execute("CREATE TABLE x (y)")
    with Ledger(tmp_path / "later") as later:
        later.connection.execute("PRAGMA user_version = 99")
    for name, message in [
        ("text", "is not a ledger"),
        ("other", "is a database, but not a ledger"),
        ("later", "has layout 99; this release knows layout 1"),
        ("absent/ledger", "there is no folder"),
        (".", "it is a folder; name a file"),
    ]:
        with pytest.raises(InputError, match=message):
            Ledger(tmp_path / name)
    with pytest.raises(InputError, match="there is no ledger"):
        Ledger(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()


def test_several_processes_may_make_it_at_once(tmp_path: Path) -> None:
    script = "import sys; from mosaic.evidence.ledger import Ledger; Ledger(sys.argv[1]).close()"
    source = Path(__file__).parents[2] / "src"
    command = [sys.executable, "-c", script, str(tmp_path / "ledger.db")]
    makers = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(source)}) for _ in range(4)]
    assert [maker.wait(timeout=60) for maker in makers] == [0] * 4
    with Ledger(tmp_path / "ledger.db", create=False) as ledger:
        assert ledger.verify() == []


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "ledger.db", create=True)
    row = "INSERT INTO artifacts VALUES (1, 'x', x'00')"
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), transaction(connection):
        connection.executemany("INSERT INTO artifacts VALUES (?, 'x', x'00')", [(1,), (2,)])
    assert connection.execute("SELECT count(*) FROM artifacts").fetchone() == (0,)
    with transaction(connection):
        connection.execute(row)
    assert connection.execute("SELECT count(*) FROM artifacts").fetchone() == (1,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_the_tables_are_those_that_are_protected(tmp_path: Path) -> None:
    connection = connect(tmp_path / "ledger.db", create=True)
    assert {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} == set(TABLES)
    connection.close()
