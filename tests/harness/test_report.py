"""What a report says."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from mosaic.errors import VerificationError
from mosaic.harness.report import Finding, Report, Skipped


def finding(**changes: Any) -> Finding:
    return Finding(**{"distribution": "normal", "trial": 0, "output": "y", "ratio": 0.4, "looseness": 1e-3, **changes})


def report(*findings: Finding) -> Report:
    return Report(graph="g", seed="7", trials=1, findings=findings, explanations={"y": "float16: why"})


def test_status() -> None:
    assert report(finding()).status == "pass"
    assert report(finding(), finding(failure="nan", message="y is nan")).status == "fail"
    assert report(finding(looseness=0.5), finding(unchecked=0.9)).status == "inconclusive"
    assert report(finding(looseness=0.5), finding()).status == "pass"
    assert report(finding(), finding(output="z", looseness=math.inf)).status == "inconclusive"
    assert report().status == "inconclusive"


def test_the_first_failure_is_raised() -> None:
    report(finding()).raise_if_failed()
    with pytest.raises(VerificationError, match=r"mismatch on 'normal' inputs \(seed 7, trial 0\): y\[1\] is 3"):
        report(finding(failure="mismatch", message="y[1] is 3")).raise_if_failed()
    with pytest.raises(VerificationError, match="too loose"):
        report(finding(looseness=1.0)).raise_if_failed()


def test_the_summary_shows_the_worst_of_each_distribution() -> None:
    whole = Report(
        graph="g", seed="7", trials=2,
        findings=(finding(ratio=0.2), finding(ratio=0.9, trial=1), finding(distribution="tiny", failure="nan", message="y[0] is nan")),
        skipped=(Skipped(distribution="infinite", trial=0, reason="NaN"),), explanations={"y": "float16: why"},
    )  # fmt: skip
    text = whole.summary()
    assert text.splitlines()[0] == "g: fail (3 comparisons, largest error 0.9 of what is allowed)"
    assert "normal    y ok" in text
    assert "0.9 of the bound" in text
    assert "0.2 of the bound" not in text
    assert "failed: tiny: y[0] is nan" in text
    assert "left out: infinite: NaN" in text
    assert "bound of y: float16: why" in text


def test_a_report_survives_json() -> None:
    whole = report(finding(ratio=math.inf, got=math.nan, wanted=1.0, worst=(1, 2), failure="nan"))
    again = Report.model_validate_json(whole.model_dump_json())
    assert again.findings[0].ratio == math.inf
    assert again.findings[0].worst == (1, 2)
    assert math.isnan(float(str(again.findings[0].got)))


def test_it_is_frozen_and_knows_its_fields() -> None:
    with pytest.raises(ValidationError):
        finding().ratio = 0.0
    with pytest.raises(ValidationError):
        finding(failure="bad luck")
    with pytest.raises(ValidationError):
        Finding(distribution="x", trial=0, output="y", mood=1)  # type: ignore[call-arg]
