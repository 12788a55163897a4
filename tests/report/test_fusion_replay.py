"""A fusion compared with its packet: what is the same is reproduced, what is claimed and is not is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from mosaic.errors import InputError, VerificationError
from mosaic.evidence.collection import Found
from mosaic.evidence.packet import Packet, from_document
from mosaic.harness.timing import Paired
from mosaic.report import fusion_replay
from mosaic.report.facts import Facts
from mosaic.report.fusion_files import GRAPH, TUNING, WEIGHTS, collect_files, needed_files
from mosaic.report.fusion_packet import Recipe, Run, failed_fusion, fusion_packet
from mosaic.targets.target import find
from mosaic.tune.tuning import Trial, Tuned, Tuning
from tests.evidence.samples import passed
from tests.report.conftest import layers

RECIPE = Recipe("layers.py", "register", ("mosaic", "replay", "layers.json"), {"batch": 2})


def found(packet: Packet, contents: Mapping[str, bytes] | None = None) -> Found:
    return Found("x.json", packet, dict(contents or {}).get)


@pytest.fixture(scope="module")
def packet(fused: Facts) -> Packet:
    return fusion_packet(fused, RECIPE, collect_files(fused), Run())


def outcomes(packet: Packet, facts: Facts) -> dict[str, str]:
    return {part.claim.partition(":")[0]: part.outcome for part in fusion_replay.compare(found(packet), facts, collect_files(facts))}


def test_the_same_again(packet: Packet, fused: Facts) -> None:
    assert fusion_replay.is_fusion(packet)
    assert not fusion_replay.is_fusion(passed())
    assert set(outcomes(packet, fused).values()) == {"reproduced"}
    assert set(outcomes(packet, fused)) == {"kernels", "bytes between kernels", "sources", "correctness", "statistics", "speed"}


def changed(packet: Packet, *path: Any, value: Any) -> Packet:
    document: Any = packet.model_dump(mode="json", exclude_unset=True)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return from_document(document)


def test_false_claims_are_found(packet: Packet, fused: Facts) -> None:
    assert outcomes(changed(packet, "fusion", "kernels", "before", "value", value=9), fused)["kernels"] == "not reproduced"
    assert (
        outcomes(changed(packet, "fusion", "bytes_between", "after", "value", value=-1), fused)["bytes between kernels"] == "not reproduced"
    )
    (case,) = packet.document()["performance"]["baselines"][0]["speedup"]
    faster = changed(packet, "performance", "baselines", 0, "speedup", case, "value", value=7.5)
    assert outcomes(faster, fused)["statistics"] == "not reproduced"


def test_other_times_and_none(packet: Packet, fused: Facts) -> None:
    slower = replace(fused, times=Paired((2.0, 2.0, 2.0), (1.0, 1.1, 1.0), "a clock"))
    assert outcomes(packet, slower)["speed"] == "not reproduced"
    assert outcomes(packet, replace(fused, times=None))["speed"] == "not replayed"


def test_a_refusal_again(fused: Facts) -> None:
    graph = layers(1)
    failed = failed_fusion(graph, find("cpu"), RECIPE, needed_files(graph), VerificationError("wrong"))
    assert fusion_replay.compare_failure(failed, VerificationError("wrong"))[0].outcome == "reproduced"
    assert fusion_replay.compare_failure(failed, None)[0].outcome == "not reproduced"


def test_the_graph_comes_out_of_the_packet_alone(packet: Packet, fused: Facts) -> None:
    files = fusion_replay.files_of(found(packet))
    graph = fusion_replay.graph_of(found(packet), files)
    for name, content in fused.fused.graph.constants.items():
        mine = graph.constants[name]
        assert mine is not None
        assert content is not None
        assert mine.equal(content)
    assert fusion_replay.code_of(files) == {}
    assert fusion_replay.recipe_of(packet, "x") == ("layers.py", {"batch": 2}, "register")


def test_contents_that_are_nowhere(packet: Packet) -> None:
    for missing in (GRAPH, WEIGHTS):
        files = {name: content for name, content in fusion_replay.files_of(found(packet)).items() if name != missing}
        with pytest.raises(InputError, match=f"names {missing}"):
            fusion_replay.graph_of(found(packet), files)


def test_the_targets_cores_are_the_packets(packet: Packet) -> None:
    cpu = find("cpu")
    many = fusion_replay.target_of(changed(packet, "environment", "engine", "processors", value=64), "x")
    assert many.processors == 64
    assert many.vector_rate == pytest.approx(cpu.vector_rate / cpu.processors * 64)
    slow = fusion_replay.target_of(changed(packet, "environment", "engine", "bandwidth", value=1e9), "x")
    assert slow.bandwidth == 1e9
    for value in ("fast", 0, True, -3.0):
        with pytest.raises(InputError, match="says a bandwidth that is none"):
            fusion_replay.target_of(changed(packet, "environment", "engine", "bandwidth", value=value), "x")
    for value in ("many", 0, True, -3):
        with pytest.raises(InputError, match="for which target"):
            fusion_replay.target_of(changed(packet, "environment", "engine", "processors", value=value), "x")
    with pytest.raises(InputError, match="how it was fused"):
        fusion_replay.recipe_of(changed(packet, "fusion", "prefer", value="disk"), "x")


def test_a_tuning_comes_out_of_the_packet(packet: Packet, fused: Facts) -> None:
    assert fusion_replay.tuning_of(found(packet), {}) is None
    taken = fused.fused.plan.launches[0].groups[0]
    tuning = Tuning("a processor", (Tuned((taken.nodes,), (Trial(taken.recipe, 1e-6, (2e-6,)),), taken.recipe),))
    tuned = replace(fused, fused=replace(fused.fused, tuning=tuning))
    files = collect_files(tuned)
    made = fusion_packet(tuned, RECIPE, files, Run())
    assert TUNING in files.needed
    again = found(made, {artifact.sha256: files.contents[artifact.name] for artifact in made.artifacts or ()})
    assert fusion_replay.tuning_of(again, fusion_replay.files_of(again)) == tuning
    with pytest.raises(InputError, match=r"names tuning\.json but its content is not there"):
        fusion_replay.tuning_of(again, {})
    with pytest.raises(InputError, match=r"tuning\.json of x\.json is damaged"):
        fusion_replay.tuning_of(again, {TUNING: b"{"})
