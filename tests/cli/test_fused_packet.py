"""The keeper of a fusion's packet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mosaic.cli.demo import Quality
from mosaic.cli.fused_packet import Keeper
from mosaic.errors import TargetError
from mosaic.evidence.collection import find
from mosaic.evidence.packet import FailPacket, PassPacket
from mosaic.pipeline import fuse
from mosaic.report.facts import collect
from mosaic.report.fusion_packet import Recipe
from mosaic.targets.target import find as find_target
from tests.report.conftest import layers

RECIPE = Recipe("layers.py", "shared", ("mosaic", "replay", "x.zip"))


def test_a_fusion_is_kept_with_its_files(tmp_path: Path) -> None:
    keeper = Keeper(RECIPE, tmp_path / "x.zip", None, more={"extra": {"a": 1}})
    keeper.begin(find_target("cpu"))
    kept = keeper.keep(collect(fuse(layers(1), "cpu")), None, None, {"planning": 1.0})
    found = find(str(tmp_path / "x.zip"))
    assert isinstance(found.packet, PassPacket)
    assert kept.places == (str(tmp_path / "x.zip"),)
    assert found.packet.__pydantic_extra__["extra"] == {"a": 1}
    assert found.packet.environment.before == keeper.before
    assert len(found.contents()) == len(found.packet.artifacts or ())


def test_wrong_embeddings_fail(tmp_path: Path) -> None:
    quality: Any = Quality(2, 1, 2, 16, (3, 9), 0.5, 0, (0.5, 0.9999999), 0.1, 0, "float16")
    Keeper(RECIPE, tmp_path / "x.zip", None).keep(collect(fuse(layers(1), "cpu")), None, quality, {})
    packet = find(str(tmp_path / "x.zip")).packet
    assert isinstance(packet, FailPacket)
    assert "cosine" in packet.failure.message
    fusion: Any = packet.__pydantic_extra__["fusion"]
    assert fusion["embeddings"]["least_cosine"] == 0.5


def test_a_refusal_is_kept_and_raised(tmp_path: Path) -> None:
    keeper = Keeper(RECIPE, tmp_path / "x.json", None)
    with pytest.raises(TargetError, match="too many"), keeper.failures(layers(1), find_target("sm_80")):
        raise TargetError("too many registers")
    packet = find(str(tmp_path / "x.json")).packet
    assert isinstance(packet, FailPacket)
    assert (packet.failure.kind, packet.candidate.target.architecture) == ("compile_error", "sm_80")
