from __future__ import annotations

import json
from typing import Any

import pytest

from mosaic.evidence.packet import Packet, from_document
from mosaic.harness.reward import RIGHT, reward

FIGURE = {"label": "derived", "unit": "1", "how": "x"}


def packet(speedup: float | None = None, *, low: float | None = None, roof: float | None = None, **changes: Any) -> Packet:
    document: dict[str, Any] = {
        "format": "mosaic-packet", "version": 1, "created": "2026-11-05T09:30:00.000000Z", "status": "pass",
        "candidate": {
            "name": "c", "task": "t", "source": {"language": "c", "entry": "k", "files": [{"path": "k.c", "sha256": "0" * 64}]},
            "target": {"kind": "cpu", "architecture": "x"}, "dtypes": ["float32"],
            "cases": [{"name": "a", "set": "given", "tensors": [{"name": "y", "dtype": "float32", "shape": [1], "role": "output"}]}],
        },
        "environment": {"device": {"kind": "cpu", "name": "x", "count": 1}, "system": "s", "libraries": {}, "replay": {"command": ["x"]}},
        "validation": {"method": "m", "outcome": "pass", "checks": [
            {"case": "a", "output": "y", "distribution": "normal", "trial": 0, "outcome": "pass"}]},
    }  # fmt: skip
    timing = {
        "case": "a", "clock": "host", "launch": "call", "samples": {"label": "measured", "unit": "s", "values": [1.0]},
        "median": {"label": "measured", "unit": "s", "value": 1.0},
    }  # fmt: skip
    if speedup is not None:
        figure = {**FIGURE, "value": speedup, **({"interval": [low, 2 * speedup]} if low is not None else {})}
        method = {"timer": "t", "warm_up": 1, "cache": "warm", "synchronisation": "s", "interleaved": True, "verified": True}
        baseline = {"reference": {"name": "b", "version": "1"}, "timings": [timing], "speedup": {"a": figure}}
        document["performance"] = {"method": method, "timings": [timing], "baselines": [baseline]}
        if roof is not None:
            seconds = {"label": "derived", "unit": "s", "value": roof, "how": "x"}
            document["performance"]["roofs"] = [{"case": "a", "time": seconds, "limit": "memory", "fraction": {**FIGURE, "value": roof}}]
    return from_document(json.loads(json.dumps({**document, **changes})))


def test_what_is_wrong_gets_nothing() -> None:
    failed = packet().document()
    failed.pop("validation")
    assert reward(from_document(json.loads(json.dumps({**failed, "status": "fail", "failure": {"kind": "crash", "message": "x"}})))) == 0


def test_what_is_right_gets_something_and_speed_the_rest() -> None:
    values = [reward(packet()), reward(packet(0.5)), reward(packet(1.0)), reward(packet(3.0)), reward(packet(10.0)), reward(packet(1e6))]
    assert values == sorted(values)
    assert values[0] == RIGHT
    assert values[-1] == values[-2] == pytest.approx(1.0)
    assert values[2] == pytest.approx(RIGHT + 0.45)


def test_the_low_end_of_the_interval_counts() -> None:
    assert reward(packet(3.0, low=1.0)) == pytest.approx(reward(packet(1.0)))


def test_the_roof_counts_half() -> None:
    assert reward(packet(1.0, roof=1.0)) == pytest.approx(RIGHT + 0.9 * 0.75)
    assert reward(packet(1.0, roof=0.25)) < reward(packet(1.0, roof=0.5))


def test_noise_gains_nothing() -> None:
    assert reward(packet(3.0, status="inconclusive", reason="noise")) == pytest.approx(reward(packet(1.0)))


def test_a_cheat_gets_nothing() -> None:
    security = {"threat_model": "t", "sandbox": "s", "side_effects": "n", "isolation": "i", "profiler_access": False, "verdict": "cheat"}
    assert reward(packet(3.0, security=security)) == 0
