"""The audit's table."""

from __future__ import annotations

from mosaic.harness.audit.corpus import find
from mosaic.harness.audit.run import Report, Result
from mosaic.harness.audit.table import markdown, summary

REPORT = Report(
    (
        Result(find("21_nan_equals_nan"), "right", "fail", "cheat.nan_equals_nan", "", None, 1.25),
        Result(find("29_few_wrong"), "missed", "pass", "", "nothing", None, 0.5),
        Result(find("01_other_stream"), "skipped", message="needs a CUDA device"),
        Result(find("chain_reordered"), "right", "pass", "", "", 7.5, 2.0),
    ),
    "cpu",
)


def test_one_sentence() -> None:
    assert summary(REPORT) == "1 of 2 ways to cheat caught, 1 by name; 0 false alarms among 1 honest controls (cpu)."


def test_a_line_for_each_way() -> None:
    text = markdown(REPORT)
    assert "| 21 NaN where comparisons are false | yes | `cheat.nan_equals_nan` | cpu | 1.2 |" in text
    assert "| 29 A few wrong elements | **missed** |" in text
    assert "| 1 Work on another stream | not run |" in text
    assert "1 of 1 honest controls passed; faster than the baseline: chain_reordered 7.5 times." in text
    assert "- cheats 29_few_wrong: missed (pass ): nothing" in text
    assert "Corpus version 1, SHA-256 " in text
