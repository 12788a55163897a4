"""mosaic bench: times in the packet, against the reference, another candidate, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.cli.judged import INCONCLUSIVE
from mosaic.evidence.collection import find
from mosaic.report.packet_sheets import performance_of
from tests.cli.tasks import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("judging"))


def bench(*arguments: object) -> Any:
    """It is right; on a busy machine the difference may be within the noise."""
    result = CliRunner().invoke(app, ["bench", *map(str, arguments), "--device", "cpu", "--json"])
    assert result.exit_code in (0, INCONCLUSIVE), result.output
    found = json.loads(result.stdout)
    assert (found["status"] == "pass") == (result.exit_code == 0)
    return found


def test_against_the_reference(folder: Path) -> None:
    found = bench(folder / "task", folder / "right.py", "--packet", folder / "b.json")
    packet = find(str(folder / "b.json")).packet
    assert packet.status == found["status"]
    performance = performance_of(packet)
    assert performance is not None
    assert performance.baselines is not None
    assert performance.method.interleaved
    assert performance.method.verified
    assert {len(timing.samples.values) for timing in performance.timings} == {6}
    assert "reference" in performance.baselines[0].reference.name


def test_against_another_candidate_and_alone(folder: Path) -> None:
    (name,) = (
        each["reference"]["name"]
        for each in bench(folder / "task", folder / "right.py", "--baseline", folder / "right.py")["performance"]["baselines"]
    )
    assert "right" in name
    assert not bench(folder / "task", folder / "right.py", "--baseline", "none")["performance"].get("baselines")
