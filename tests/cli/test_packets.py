"""mosaic packets: list, show, compare, verify, failures, add, export; and one sentence for what is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import InputError
from mosaic.evidence import archive
from mosaic.evidence.collection import find
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.packet import packet_id, parse
from mosaic.report.packet_sheets import performance_of
from mosaic.report.statistics import recomputed
from tests.evidence.samples import LOG, all_packets, failed, fill, passed

COMMITTED: Final = Path(__file__).parents[2] / "evidence"


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["packets", *map(str, arguments)])
    assert result.exit_code == code, result.output
    if code:
        assert result.stderr.count("\n") == 1, result.stderr
    return result


def lists(*arguments: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("list", *arguments, "--json").stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger with a packet of each status, an archive of the failed one, and another that passed."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        fill(ledger)
    archive.write(tmp_path / "failed.zip", failed(), [LOG])
    archive.write(tmp_path / "passed.json", passed("other", minute=59))
    return tmp_path


def test_listing_and_filters(folder: Path) -> None:
    everything = lists(folder)
    assert len(everything) == len(all_packets()) + 2
    made = [row["created"] for row in everything]
    assert made == sorted(made, reverse=True)
    assert everything[0]["candidate"] == "other"
    assert {row["status"] for row in lists(folder, "--status", "fail")} == {"fail"}
    assert len(lists(folder, "--failure", "mismatch")) == 2
    assert len(lists(folder, "--candidate", "other")) == len(lists(folder, "--tag", "minute-59")) == 1
    assert lists(folder, "--task", "none") == lists(folder, "--device", "none") == lists(folder, "--tag", "nightly", "--tag", "none") == []
    assert len(lists(folder, "--limit", "2")) == 2
    assert "There are more than these 2" in run("list", folder, "--limit", "2").stdout
    assert len(lists(folder, "--limit", "0")) == len(everything)


def test_listing_by_when(folder: Path) -> None:
    assert len(lists(folder, "--made", "2026-11-05T00:01")) == 2
    assert len(lists(folder, "--made", "2026-11-05T00:05..")) == 2
    assert len(lists(folder, "--made", "..2026-11-05T00:01")) == 1
    assert len(lists(folder, "--made", "2026-11-05T00:02..2026-11-05T00:04")) == 2
    assert lists(folder, "--made", "2025") == []


def test_showing(folder: Path) -> None:
    assert "rows_times_two" in run("show", folder / "failed.zip").stdout
    name = packet_id(passed())
    document = run("show", f"{folder / 'ledger.db'}#{name[:12]}", "--json").stdout
    assert parse(document) == passed()
    result = run("show", folder / "passed.json", "--html", folder / "p.html", "--markdown", folder / "p.md")
    assert f"page: {folder / 'p.html'}" in result.stdout
    assert (folder / "p.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (folder / "p.md").read_text(encoding="utf-8").startswith("# other: pass")


def test_comparing(folder: Path) -> None:
    both = (folder / "passed.json", folder / "failed.zip")
    result = run("compare", *both, "--html", folder / "c.html", "--markdown", folder / "c.md")
    assert "Side by side" in result.stdout
    assert (folder / "c.html").is_file()
    assert (folder / "c.md").is_file()
    (found,) = json.loads(run("compare", *both, "--json").stdout)
    assert found["statuses"] == ["pass", "fail"]
    assert found["same_task"]
    run("compare", folder / "passed.json", code=InputError.exit_code)


def test_verifying(folder: Path) -> None:
    assert json.loads(run("verify", folder, "--json").stdout) == {"packets": 8, "artifacts": 2, "problems": []}
    path = folder / "passed.json"
    data = path.read_bytes()
    for place in (40, len(data) // 2, len(data) - 9):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        result = run("verify", folder, code=InputError.exit_code)
        assert str(path) in result.stderr
        assert "7 packets and 2 artifacts" in result.stdout
    path.write_bytes(data[:-50])
    run("list", folder, code=InputError.exit_code)
    found = CliRunner().invoke(app, ["packets", "verify", str(folder), "--json"])
    assert (found.exit_code, len(json.loads(found.stdout)["problems"])) == (InputError.exit_code, 1)


def test_counting_failures(folder: Path) -> None:
    with Ledger(folder / "ledger.db") as ledger:
        ledger.extend((failed("timeout", minute=minute), [LOG]) for minute in (10, 11, 12))
    assert json.loads(run("failures", folder, "--json").stdout) == {"timeout": 3, "mismatch": 2}
    assert json.loads(run("failures", folder, "--device", "none", "--json").stdout) == {}
    assert "5 failed packets" in run("failures", folder).stdout
    assert run("failures", folder, "--device", "none").stdout == "No packet failed.\n"


def test_adding_and_exporting(folder: Path) -> None:
    ledger = folder / "new.db"
    found = json.loads(run("add", ledger, folder / "failed.zip", folder / "passed.json", folder / "ledger.db", "--json").stdout)
    assert (len(found["packets"]), found["new"]) == (8, 7)
    assert "of which 0 are new" in run("add", ledger, folder / "passed.json").stdout
    assert json.loads(run("export", ledger, folder / "out", "--json").stdout)["entries"] == 7
    assert len(lists(folder / "out")) == 7
    assert "7 entries and 1 artifacts" in run("export", ledger, folder / "again").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "nowhere"), "there is no file or folder"),
        (("list", "ledger.db", "--status", "good"), "there is no status 'good'"),
        (("show", "ledger.db"), "names several packets"),
        (("show", "ledger.db#00000000"), "no entry whose id begins with"),
        (("show", "passed.json", "--html", "nowhere/x.html"), "there is no folder"),
        (("export", "nowhere.db", "x"), "there is no ledger"),
        (("export", "ledger.db", "."), "it exists"),
    ],
)
def test_bad_arguments_are_a_sentence(arguments: tuple[str, ...], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert said in run(*arguments, code=InputError.exit_code).stderr


def test_the_committed_packets_are_what_they_were() -> None:
    found = json.loads(run("verify", COMMITTED, "--json").stdout)
    assert found["packets"] == len(lists(COMMITTED)) >= 3
    assert found["problems"] == []
    timed = {file: performance for file in COMMITTED.rglob("*.json") if (performance := performance_of(find(str(file)).packet)) is not None}
    assert len(timed) >= 3
    for file, performance in timed.items():
        assert all(claim.same for claim in recomputed(performance)), file
