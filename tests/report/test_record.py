"""The JSON document: complete, and nothing in it that JSON cannot hold."""

from __future__ import annotations

import json

from mosaic.report.facts import Facts
from mosaic.report.record import record


def test_a_fused_graph(fused: Facts) -> None:
    found = json.loads(json.dumps(record(fused), allow_nan=False))
    assert (found["graph"], found["target"]["name"]) == ("layers", "cpu")
    assert found["kernels"] == {"before": 4, "after": 1}
    assert found["bytes_between"] == {"before": 49152, "after": 0}
    assert found["verification"]["status"] == "pass"
    assert found["timing"]["verdict"] == "faster"
    assert found["timing"]["fused"] == [1.0, 1.1, 1.0]
    (kernel,) = found["compiled"]
    assert kernel["nodes"] == ["layer0.product", "layer0.bias", "layer0.gelu", "layer0.residual"]
    assert {move["producer"] for move in kernel["moves"]} == {"layer0.product", "layer0.bias", "layer0.gelu"}
    assert set(kernel["tunables"]) == set(kernel["nodes"])
    assert kernel["verification"]["findings"]
    assert found["refused"] == []


def test_without_verification_and_timing(apart: Facts) -> None:
    found = json.loads(json.dumps(record(apart), allow_nan=False))
    assert found["timing"] is None
    assert found["verification"] == {"status": "unchecked", "on": None}
    assert [kernel["launches"] for kernel in found["compiled"]] == [4, 4, 4, 4]
    assert len(found["launches"]) == 16


def test_edges_grouped_or_each(apart: Facts) -> None:
    assert sum(edge["times"] for edge in record(apart)["edges"]) == len(record(apart, every_edge=True)["edges"]) == 22


def test_a_gpu(for_gpu: Facts) -> None:
    (kernel,) = record(for_gpu)["compiled"]
    assert kernel["threads"] > 0
    assert kernel["shared_bytes"] > 0
