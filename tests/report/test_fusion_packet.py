"""The packet of a fusion says what was done and no more than was seen."""

from __future__ import annotations

from typing import Any

import pytest

from mosaic.errors import TargetError, ToolMissingError, VerificationError
from mosaic.evidence.packet import ErrorPacket, FailPacket, InconclusivePacket, Packet, PassPacket, parse, seal
from mosaic.harness.timing import Paired
from mosaic.report.facts import Facts, collect
from mosaic.report.fusion_files import collect_files, needed_files
from mosaic.report.fusion_packet import Recipe, Run, failed_fusion, fusion_packet, name_of
from mosaic.targets.target import find
from tests.report.conftest import layers

RECIPE = Recipe("layers.py", "shared", ("mosaic", "replay", "layers.json"))


def packet_of(facts: Facts, **more: Any) -> Packet:
    return fusion_packet(facts, RECIPE, collect_files(facts), Run(**more))


def test_a_verified_and_timed_fusion_passes(fused: Facts) -> None:
    packet = packet_of(fused, noise=Paired((1.0, 1.0, 1.0), (1.01, 1.02, 1.0), "a clock"), seconds={"planning": 1.5})
    assert isinstance(packet, PassPacket)
    assert parse(seal(packet)) == packet
    findings = sum(len(kernel.report.findings) for kernel in fused.kernels if kernel.report is not None)
    assert len(packet.validation.checks) == findings
    assert packet.performance is not None
    assert packet.performance.timings[0].samples.values == (1.0, 1.1, 1.0)
    assert packet.performance.baselines is not None
    (speedup,) = packet.performance.baselines[0].speedup.values()
    assert fused.times is not None
    assert (speedup.value, speedup.interval) == (fused.times.ratio, fused.times.interval)
    assert packet.performance.noise is not None
    assert 0 < packet.performance.noise.value < 0.03
    fusion: Any = packet.__pydantic_extra__["fusion"]
    assert (fusion["kernels"]["before"]["value"], fusion["kernels"]["after"]["value"]) == (fused.kernels_before, fused.kernels_after)
    assert fusion["bytes_between"]["after"]["value"] == fused.bytes_after
    assert fusion["seconds"]["planning"]["value"] == 1.5
    assert packet.environment.device.kind == "cpu"
    assert packet.candidate.parents is not None
    assert {parent.name for parent in packet.candidate.parents} == {f"kernel {n}" for n in ("bias", "gelu_erf", "gemm_nt", "residual_add")}


def test_what_was_not_seen_is_not_said(apart: Facts, for_gpu: Facts, fused: Facts) -> None:
    for facts in (apart, for_gpu):
        packet = packet_of(facts)
        assert isinstance(packet, InconclusivePacket)
        assert packet.validation is None
        assert "not verified" in packet.reason
    unclear = packet_of(collect(fused.fused, Paired((1.0, 2.0), (2.0, 1.0), "a clock")))
    assert isinstance(unclear, InconclusivePacket)
    assert "noise" in unclear.reason
    assert unclear.performance is not None


def test_wrong_as_a_whole(fused: Facts) -> None:
    packet = packet_of(fused, wrong="an embedding is wrong")
    assert isinstance(packet, FailPacket)
    assert (packet.failure.kind, packet.failure.message) == ("mismatch", "an embedding is wrong")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (VerificationError("y is wrong"), "fail", "mismatch"),
        (TargetError("no registers\nleft"), "fail", "compile_error"),
        (ToolMissingError("no gcc"), "error", None),
    ],
)
def test_refused_ones_have_a_packet_too(error: Exception, status: str, kind: str | None) -> None:
    graph = layers(1)
    assert isinstance(error, (VerificationError, TargetError))
    packet = failed_fusion(graph, find("cpu"), RECIPE, needed_files(graph), error)
    assert packet.status == status
    assert parse(seal(packet)) == packet
    if isinstance(packet, FailPacket):
        assert (packet.failure.kind, packet.validation) == (kind, None)
    else:
        assert isinstance(packet, ErrorPacket)


def test_long_names_are_cut_but_told_apart() -> None:
    first, second = name_of("a" * 300), name_of("a" * 299 + "b")
    assert len(first) <= 200
    assert first != second
    assert name_of("short") == "short"
