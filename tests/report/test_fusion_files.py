"""The files of a fusion's packet: all that it takes to fuse it again."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from mosaic.cli.load import load_graph
from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.report import fusion_files
from mosaic.report.facts import Facts
from mosaic.report.fusion_files import GRAPH, KERNELS, WEIGHTS, Files, collect_files, inline, needed_files
from tests.cli.files import GRAPH as USERS
from tests.report.conftest import layers


def test_what_a_fusion_needs_and_what_it_made(fused: Facts) -> None:
    files = collect_files(fused)
    assert files.needed == (GRAPH, WEIGHTS)
    assert set(files.contents) == {GRAPH, WEIGHTS, "report.json", *(f"launches/{i:03}.c" for i in range(len(fused.kernels)))}
    assert files.contents["launches/000.c"].decode() == fused.kernels[0].lowered.source
    for artifact in files.artifacts:
        content = files.contents[artifact.name]
        assert (artifact.sha256, artifact.size) == (digest(content), len(content))
    assert {artifact.kind for artifact in files.artifacts} == {"task", "other", "source", "report"}
    assert set(collect_files(fused, weights=False).contents) == set(files.contents) - {WEIGHTS}


def test_constants_come_back(fused: Facts) -> None:
    graph = fused.fused.graph
    found = load(needed_files(graph).contents[WEIGHTS])
    assert set(found) == set(graph.constants)
    for name, tensor in found.items():
        wanted = graph.constants[name]
        assert wanted is not None
        assert torch.equal(tensor, wanted)


def test_small_ones_are_in_the_packet(fused: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    files = collect_files(fused)
    bundle = files.bundle
    assert bundle is not None
    assert bundle["encoding"] == {WEIGHTS: "base64"}
    assert base64.b64decode(bundle["files"][WEIGHTS]) == files.contents[WEIGHTS]
    assert inline(bundle, "x") == {digest(files.contents[name]): files.contents[name] for name in files.needed}
    monkeypatch.setattr(fusion_files, "INLINE", 100)
    assert files.bundle is None


@pytest.mark.parametrize(
    "bundle", [3, {}, {"files": {"a": 1}}, {"files": {"a": "!"}, "encoding": {"a": "base64"}}, {"files": [], "encoding": 1}]
)
def test_bundles_that_are_none(bundle: object) -> None:
    with pytest.raises(InputError, match="bundle that cannot be read"):
        inline(bundle, "x.json")


def test_kernels_of_the_user_come_along(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(USERS.replace("users_scale", "scale_of_files_test"), encoding="utf-8")
    files = needed_files(load_graph(path))
    assert files.contents[f"{KERNELS}own.py"] == path.read_bytes()
    assert needed_files(layers(1)).needed == (GRAPH, WEIGHTS)


def test_a_graph_without_contents_has_no_weights() -> None:
    from mosaic.graph.serialize import from_json, to_json

    assert needed_files(from_json(to_json(layers(1)))).needed == (GRAPH,)
    assert Files({}, ()).artifacts == ()
