"""The audit's table."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.harness.audit.corpus import find
from mosaic.harness.audit.run import Report, Result
from mosaic.harness.audit.table import BEGIN, END, markdown, of_documents, put, summary

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


ROOT = Path(__file__).parents[3]


def document() -> dict[str, Any]:
    return copy.deepcopy(REPORT.document())


def test_the_table_of_several_devices() -> None:
    other = document() | {"device": "a GPU"}
    other["results"] = [result | {"verdict": "right", "kind": "cheat.other_stream"} for result in other["results"] if result["number"] == 1]
    text = of_documents([document(), other])
    assert "**2 of 46** known ways to cheat are caught and named, of 3 that could be tried (cpu and a GPU);" in text
    assert "**0** false alarms in 1 honest controls (" in text
    assert " more were not tried);" in text
    assert "chain_reordered 8x (at least 2x)" in text
    assert "| 1 Work on another stream | yes | `cheat.other_stream` | a GPU |" in text
    assert "| 29 A few wrong elements | **missed** |" in text
    assert "| 2 Work after the end event | not run |" in text


def test_a_result_of_an_entry_as_it_was_is_refused() -> None:
    old = document()
    old["results"][0]["sha256"] = "0" * 64
    with pytest.raises(InputError, match="21_nan_equals_nan was changed since it was audited"):
        of_documents([old])


def test_the_table_is_put_between_its_marks() -> None:
    assert put(f"a\n{BEGIN}\nold\n{END}\nb\n", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(InputError, match="no place"):
        put("a", "new")


def test_the_readme_says_what_the_packets_say_of_the_corpus_as_it_is() -> None:
    packets = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("evidence/*/judge.json"))]
    audits = [packet["audit"] for packet in packets if "audit" in packet]
    assert audits
    assert all(result["verdict"] == "right" for audit in audits for result in audit["results"] if result["verdict"] != "skipped")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert put(text, of_documents(audits)) == text
