"""Profiles: three levels, each with its own artifact, and a sentence where there is none."""

from __future__ import annotations

import json

import pytest
import torch

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.harness.profile import Profile, emitted_code, framework


def test_what_pytorch_saw() -> None:
    a = torch.randn(64, 64)
    found = framework(lambda: torch.softmax(a @ a, -1), calls=4)
    rows = {row["name"]: row for row in found.rows}
    assert rows["aten::mm"]["calls"] == 4
    assert rows["aten::_softmax"]["host_us"] > 0
    assert all("device_us" not in row for row in found.rows)
    assert [row["host_us"] for row in found.rows] == sorted((row["host_us"] for row in found.rows), reverse=True)


def test_each_level_is_an_artifact_of_its_own() -> None:
    a = torch.ones(4)
    levels = [
        framework(lambda: a + a),
        Profile("runtime", "ncu", ({"kernel": "k", "time": 1e-5},)),
        emitted_code({"registers": 32, "families": {"HMMA": 4}}, "nvdisasm 13.0"),
    ]
    found = [profile.artifact("mine") for profile in levels]
    for profile, pair in zip(levels, found, strict=True):
        assert pair is not None
        artifact, content = pair
        assert (artifact.level, artifact.name) == (profile.level, f"mine.{profile.level}.json")
        assert (artifact.sha256, artifact.size) == (digest(content), len(content))
        document = json.loads(content)
        assert (document["level"], document["rows"]) == (profile.level, [dict(row) for row in profile.rows])
        assert canonical(document) + b"\n" == content
    assert [pair[0].kind for pair in found if pair is not None] == ["trace", "counters", "other"]


def test_a_level_that_is_missing_has_no_artifact() -> None:
    assert Profile("runtime", "ncu", (), "there is no ncu").artifact("mine") is None


def test_what_cannot_be_profiled() -> None:
    with pytest.raises(InputError, match="at least 1 call"):
        framework(lambda: None, calls=0)
    with pytest.raises(InputError, match="JSON cannot hold"):
        emitted_code({"registers": float("nan")}, "nvdisasm")
    with pytest.raises(ZeroDivisionError):
        framework(lambda: 1 // 0)


@pytest.mark.gpu
def test_kernels_on_a_gpu() -> None:
    a = torch.randn(256, 256, device="cuda")
    found = framework(lambda: a @ a, device="cuda")
    assert any(row["device_us"] > 0 for row in found.rows)
    assert found.rows[0]["device_us"] == max(row["device_us"] for row in found.rows)
