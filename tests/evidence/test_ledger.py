"""The ledger keeps what it acknowledged, whoever is killed; it finds things; and it tells of every change."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.packet import packet_id, seal
from mosaic.evidence.summary import START, link
from tests.evidence import samples

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def test_append_and_get(ledger: Ledger) -> None:
    packet = samples.failed()
    name = ledger.append(packet, [samples.LOG])
    assert name == packet_id(packet)
    assert ledger.get(name) == ledger.get(name[:8]) == packet
    assert ledger.sealed(name) == seal(packet)
    assert ledger.artifact(digest(samples.LOG)) == samples.LOG
    assert ledger.append(packet) == name  # again: nothing new
    assert len(ledger) == 1
    assert ledger.head() == (1, link(START, "packet", name))
    assert ledger.verify() == []


def test_artifacts_come_with_their_packet(ledger: Ledger) -> None:
    with pytest.raises(InputError, match=r"the content of artifact 'compile.log' is missing"):
        ledger.append(samples.failed())
    with pytest.raises(InputError, match="a content of 5 bytes was given that the packet does not name"):
        ledger.append(samples.passed(), [b"other"])
    assert (len(ledger), ledger.head()) == (0, (0, START))
    assert not ledger.has_artifact(digest(b"other"))
    ledger.append(samples.failed(), partial=True)
    with pytest.raises(InputError, match="has no artifact"):
        ledger.artifact(digest(samples.LOG))
    assert ledger.verify() == []


def test_several_are_added_or_none(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="is missing"):
        ledger.extend([(samples.passed(), ()), (samples.failed(), ())])
    assert len(ledger) == 0
    assert len(samples.fill(ledger)) == len(ledger) == 6


def test_find(ledger: Ledger) -> None:
    samples.fill(ledger)
    ledger.append(samples.passed("another", "NVIDIA H100", minute=70))
    everything = ledger.find()
    assert [row.created for row in everything] == sorted((row.created for row in everything), reverse=True)
    assert len(everything) == 7
    assert [row.status for row in ledger.find(status="inconclusive")] == ["inconclusive"] * 2
    (other,) = ledger.find(candidate="another")
    assert ledger.find(candidate=other.candidate_id) == ledger.find(device="NVIDIA H100") == ledger.find(tags=["minute-70"]) == [other]
    assert other.tags == ("nightly", "minute-70")
    assert len(ledger.find(tags=["nightly"])) == 7
    assert ledger.find(tags=["nightly", "minute-3"]) == ledger.find(status="skipped")
    assert [row.failure for row in ledger.find(failure="mismatch")] == ["mismatch"]
    assert len(ledger.find(since="2026-11-05T00:01", until="2026-11-05T00:04")) == 3
    assert ledger.find(task="none") == ledger.find(since="2027") == ledger.find(candidate="' OR 1=1 --") == []
    assert ledger.find(limit=2, offset=1) == everything[1:3]
    with pytest.raises(InputError, match="there is no status 'failed'; the statuses are pass, fail"):
        ledger.find(status="failed")


def test_histogram_of_failures(ledger: Ledger) -> None:
    for minute, kind in enumerate(["nan", "cheat.forged_result", "nan", "mismatch", "nan", "mismatch"]):
        ledger.append(samples.failed(kind, minute), [samples.LOG])
    ledger.append(samples.passed())
    assert list(ledger.failures().items()) == [("nan", 3), ("mismatch", 2), ("cheat.forged_result", 1)]
    assert ledger.failures(device="NVIDIA H100") == {}


def test_ids_that_are_none(ledger: Ledger) -> None:
    samples.fill(ledger)
    for name, message in [("12", "is no id"), ("x" * 64, "is no id"), ("0" * 64, "has no entry whose id begins with 0000")]:
        with pytest.raises(InputError, match=message):
            ledger.get(name)


@pytest.mark.parametrize("table", ["log", "packets", "tags", "documents", "artifacts"])
def test_rows_are_only_added(ledger: Ledger, table: str) -> None:
    samples.fill(ledger)
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET seq = seq + 100"):
        with pytest.raises(sqlite3.IntegrityError, match="only added"):
            ledger.connection.execute(statement)
    assert ledger.verify() == []


# Writers that are killed


def run_writers(folder: Path, *, writers: int, appends: int, lives: tuple[float, float], seed: int) -> int:
    """Let each writer append its packets, killing it after a random time until it is done; how many kills there were."""
    generator = random.Random(seed)
    each = appends // writers
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    running: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
    kills, done = 0, set[int]()

    def start(writer: int) -> None:
        acknowledged = folder / f"{writer}.txt"
        first = acknowledged.read_text().count("\n") if acknowledged.exists() else 0
        if first >= each:
            done.add(writer)
            return
        numbers = (str(writer), str(first), str(each - first))
        command = [sys.executable, "-m", "tests.evidence.writer", str(folder / "ledger.db"), str(acknowledged), *numbers]
        process = subprocess.Popen(command, env=environment, cwd=ROOT)
        running[writer] = process, time.monotonic() + generator.uniform(*lives)

    for writer in range(writers):
        start(writer)
    while len(done) < writers:
        time.sleep(0.01)
        for writer, (process, until) in list(running.items()):
            if process.poll() is None and time.monotonic() > until:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            if process.poll() is not None:
                assert process.returncode in (0, -signal.SIGKILL)
                del running[writer]
                start(writer)
    return kills


def check_nothing_lost(folder: Path, *, writers: int, appends: int) -> None:
    with Ledger(folder / "ledger.db", create=False) as ledger:
        assert ledger.verify() == []
        # A packet whose acknowledgement was killed is appended again, and is the same packet.
        assert len(ledger) == appends // writers * writers
        for writer in range(writers):
            lines = (folder / f"{writer}.txt").read_text().splitlines()
            assert [int(line.split()[0]) for line in lines] == list(range(appends // writers))
            stored = {row.id for row in ledger.find(tags=[f"writer-{writer}"])}
            assert stored == {line.split()[1] for line in lines}
            assert all(ledger.has_artifact(line.split()[2]) for line in lines)


def test_killed_writers_lose_nothing(tmp_path: Path) -> None:
    kills = run_writers(tmp_path, writers=4, appends=120, lives=(0.6, 2.5), seed=1)
    assert kills > 0
    check_nothing_lost(tmp_path, writers=4, appends=120)


@pytest.mark.fuzz
def test_ten_thousand_appends_from_killed_writers(tmp_path: Path) -> None:
    kills = run_writers(tmp_path, writers=4, appends=10_000, lives=(0.6, 6.0), seed=2)
    print(f"{kills} kills")
    assert kills >= 20
    check_nothing_lost(tmp_path, writers=4, appends=10_000)


# Size


def crowd(ledger: Ledger, count: int) -> None:
    """Many packets that differ in what is searched. Built from one, as making each anew would take most of the time."""
    bases = [samples.passed(), samples.failed(), samples.passed("another", "NVIDIA H100"), samples.skipped()]

    def packets() -> Any:
        for number in range(count):
            moment = f"2026-{1 + number % 12:02}-{1 + number // 12 % 28:02}T00:00:00.{number % 10**6:06}Z"
            yield bases[number % 4].model_copy(update={"created": moment, "tags": ("nightly", f"night-{number % 1000}")}), ()

    ledger.extend(packets(), partial=True)


def check_speed(ledger: Ledger, count: int, limit: float) -> None:
    """Every query within `limit` seconds, listing all packets included."""
    queries: list[dict[str, Any]] = [
        {},
        {"status": "fail"},
        {"candidate": "another", "status": "pass"},
        {"device": "NVIDIA H200", "since": "2026-06", "until": "2026-07"},
        {"tags": ["night-7"]},
        {"tags": ["nightly"], "limit": 100},
        {"failure": "mismatch", "limit": 50, "offset": 100},
    ]
    times = {}
    for query in queries:
        begin = time.perf_counter()
        found = ledger.find(**query)
        times[str(query)] = time.perf_counter() - begin
        assert found
    assert len(ledger.find()) == count
    begin = time.perf_counter()
    assert ledger.failures() == {"mismatch": count // 4}
    times["failures"] = time.perf_counter() - begin
    print({query: round(seconds, 4) for query, seconds in times.items()})
    assert max(times.values()) < limit


def test_many_packets_stay_usable(ledger: Ledger) -> None:
    crowd(ledger, 800)
    check_speed(ledger, 800, 0.25)


@pytest.mark.fuzz
def test_a_hundred_thousand_packets_are_listed_and_filtered_within_a_second(ledger: Ledger) -> None:
    crowd(ledger, 100_000)
    check_speed(ledger, 100_000, 1.0)


def test_a_second_connection_sees_what_the_first_wrote(ledger: Ledger) -> None:
    with Ledger(ledger.path) as other:
        name = ledger.append(samples.passed())
        assert other.get(name) == samples.passed()
        other.append(samples.skipped())
    assert len(ledger) == 2
