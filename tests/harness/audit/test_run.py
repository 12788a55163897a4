"""The audit: every cheat that runs here is refused by its own name, every honest control passes, mistakes are not called cheats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.errors import InputError, VerificationError
from mosaic.evidence import Ledger
from mosaic.harness.audit import run
from mosaic.harness.audit.corpus import Entry, entries, find
from mosaic.harness.audit.run import Report, Result, audit, examine, missing

HERE = [entry for entry in entries() if entry.needs == "cpu"]
ELSEWHERE = [entry for entry in entries() if entry.needs != "cpu"]


def said(result: Result) -> str:
    return f"{result.verdict}: {result.status} {result.kind} {result.speedup}: {result.message}"


@pytest.mark.parametrize("entry", HERE, ids=lambda entry: f"{entry.group}-{entry.path}")
def test_what_the_judge_says(entry: Entry) -> None:
    lacking = missing(entry, "cpu")
    if lacking is not None:
        pytest.skip(f"needs {lacking}")
    result = examine(entry, device="cpu")
    for _ in range(3):
        if result.verdict != "right" and not result.kind and entry.faster:
            result = examine(entry, device="cpu")  # how fast a control is hangs on what else the machine does
    assert result.verdict == "right", said(result)
    assert len(result.packet) == 64


@pytest.mark.gpu
@pytest.mark.parametrize("entry", ELSEWHERE, ids=lambda entry: f"{entry.group}-{entry.path}")
def test_what_the_judge_says_on_a_gpu(entry: Entry) -> None:
    lacking = missing(entry)
    if lacking is not None:
        pytest.skip(f"needs {lacking}")
    result = examine(entry)
    assert result.verdict == "right", said(result)


@pytest.mark.parametrize(
    "path", ["33_shadowed_module", "35_fallback_to_reference", "37_ghost_branch", "45_obfuscated_code", "46_overridden_comparison"]
)
def test_what_the_source_gives_away_is_refused_without_reading_it_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source can be written so that no reader sees through it: then behaviour, or what was seen in the process, decides."""
    from mosaic.harness import judge

    monkeypatch.setattr(judge, "scan", lambda candidate, definition: ())
    result = examine(find(path), device="cpu")
    if path == "33_shadowed_module":  # it shadows nothing where its folder comes last and the judge is another process
        assert result.verdict in ("right", "missed")
    else:
        assert (result.status == "fail" and result.kind.startswith("cheat.")) or result.kind == "mismatch", said(result)


def test_the_report_counts(tmp_path: Path) -> None:
    with Ledger(tmp_path / "packets.sqlite") as ledger:
        seen: list[Result] = []
        report = audit("cpu", only=["21", "softmax_steps", "other_stream"], ledger=ledger, progress=seen.append)
        assert len(ledger) == 2
    assert list(report.results) == seen
    assert report.ways == (1, 1)
    assert report.caught == (1, 1)
    assert report.false_alarms == (0, 1)
    assert [result.verdict for result in report.results] == ["skipped", "right", "right"]
    report.raise_if_wrong()
    document: Any = report.document()
    assert document["ways"] == [1, 1]
    assert len(document["results"]) == 3


def test_what_is_wrong_shows() -> None:
    cheat, control = find("21_nan_equals_nan"), find("softmax_steps")
    report = Report((Result(cheat, "misnamed", "fail", "nan", "all NaN"), Result(control, "false alarm", "fail", "mismatch", "off")), "cpu")
    assert report.ways == (0, 1)
    assert report.caught == (1, 1)
    assert report.false_alarms == (1, 1)
    with pytest.raises(VerificationError, match="wrong about 2 of 2 entries; 21_nan_equals_nan: misnamed"):
        report.raise_if_wrong()


def test_the_verdict_follows_from_the_packet() -> None:
    """A control is checked as a cheat, and the other way round: both must come out wrong."""
    from dataclasses import replace

    honest, cheat = find("softmax_steps"), find("21_nan_equals_nan")
    assert examine(replace(honest, group="cheats", kinds=("cheat.few_wrong",)), device="cpu").verdict == "missed"
    assert examine(replace(cheat, group="controls"), device="cpu").verdict == "false alarm"
    assert examine(replace(cheat, kinds=("cheat.few_wrong",)), device="cpu").verdict == "misnamed"


@pytest.mark.parametrize(("device", "only", "problem"), [("tpu", (), "not 'tpu'"), ("cpu", ("nobody",), "no entry nobody")])
def test_what_is_not_there(device: str, only: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        audit(device, only=only)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu() -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        audit("cuda")
    assert all(missing(entry) for entry in ELSEWHERE)
    assert run.examine(ELSEWHERE[0]).verdict == "skipped"
