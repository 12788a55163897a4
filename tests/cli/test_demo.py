"""The main job: batches and padding, what is compared, when it fails; and the whole of it on the real model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.cli.demo import RANKED, SETTINGS, Quality, batches, compare
from mosaic.errors import VerificationError
from mosaic.graph.graph import Graph
from mosaic.models.encode import encode
from mosaic.models.reference import reference_embeddings
from mosaic.models.sentences import SENTENCES

FIVE = SENTENCES[:5]


def stand_in(batch: int, length: int, dtype: str = "float16") -> Graph:
    """A graph with the model's inputs and output shapes; it computes nothing of use."""
    from mosaic import kernels

    kernels.load()
    graph = Graph("stand_in")
    ids = graph.input("input_ids", (batch, length), "int32")
    graph.input("attention_mask", (batch, length), "int32")
    table = graph.constant("table", torch.zeros(30522, 384, dtype=getattr(torch, dtype)))
    graph.output(graph.call("embedding", graph.view(ids, (batch * length,)), table, name="rows"))
    return graph


def test_the_last_batch_is_filled_up() -> None:
    found = batches(stand_in(2, 64), FIVE)
    assert [tuple(batch["input_ids"].shape) for batch in found] == [(2, 64)] * 3
    ids = torch.cat([batch["input_ids"] for batch in found])
    assert torch.equal(ids[:5], encode(FIVE, length=64)["input_ids"])
    assert torch.equal(ids[5], ids[0])


def test_what_is_longer_than_the_graph_is_cut() -> None:
    (batch,) = batches(stand_in(5, 8), FIVE)
    assert batch["attention_mask"].sum(1).tolist() == [min(8, n) for n in encode(FIVE)["attention_mask"].sum(1).tolist()]


def test_the_longest_sentence_fits_by_default() -> None:
    mask = encode(SENTENCES, max_length=4096)["attention_mask"]
    assert mask.shape[1] <= SETTINGS["sequence"]
    assert mask.sum(1).max() > 128, "longer than a block of attention"
    assert len(SENTENCES) % SETTINGS["batch"] == 0


@pytest.fixture(scope="module")
def original() -> torch.Tensor:
    return reference_embeddings(FIVE, max_length=64)


def test_the_original_against_itself(original: torch.Tensor) -> None:
    graph = stand_in(2, 64)
    found = compare(graph, FIVE, batches(graph, FIVE), original)
    assert found.least_cosine == pytest.approx(1.0)
    assert (found.largest_error, found.changed, found.close, found.cut) == (0.0, 0, 5, 0)
    assert (found.sentences, found.batches, found.batch, found.length) == (5, 3, 2, 64)
    assert found.tokens == (3, 20)
    assert 0.5 < found.padding < 1
    found.raise_if_wrong()


def test_what_differs_is_seen(original: torch.Tensor) -> None:
    graph = stand_in(2, 64)
    wrong = original.clone()
    wrong[1] = wrong[4]
    found = compare(graph, FIVE, batches(graph, FIVE), wrong)
    assert found.close == 4
    assert found.changed > 0
    assert found.largest_error == pytest.approx(float((wrong - original).abs().max()))
    with pytest.raises(
        VerificationError, match=r"^an embedding's cosine with the original model's is 0\.\d{6}, but must be at least 0\.9999$"
    ):
        found.raise_if_wrong()


QUALITY = Quality(
    sentences=2, batches=1, batch=2, length=8, tokens=(3, 9), padding=0.25, cut=1,
    cosines=(0.99995, 1.0), largest_error=1e-3, changed=0, dtype="float16",
)  # fmt: skip


def test_when_it_fails() -> None:
    QUALITY.raise_if_wrong()
    with pytest.raises(VerificationError, match=f"the {RANKED} nearest sentences of 1 sentences"):
        replace(QUALITY, changed=1).raise_if_wrong()
    with pytest.raises(VerificationError, match=r"is 0\.999800, but must be at least 0\.9999"):
        replace(QUALITY, cosines=(0.9998, 1.0)).raise_if_wrong()
    with pytest.raises(VerificationError, match="is nan"):
        replace(QUALITY, cosines=(float("nan"), 1.0)).raise_if_wrong()
    # bfloat16 has 8 bits: less is promised.
    replace(QUALITY, cosines=(0.9998, 1.0), changed=1, dtype="bfloat16").raise_if_wrong()


def test_what_is_told() -> None:
    (_, count, what), (_, error, _), (_, cosine, close), (_, ranking, _) = QUALITY.figures()
    assert (count, error, cosine, ranking) == ("2", "1.00e-03", "0.9999500", "unchanged")
    assert what == "of 3 to 9 tokens, in 1 batches of 2 by 8, 25% of that padding; 1 longer than 8 cut off, also for the original"
    assert close == "2 of 2 are at least 0.9999"
    assert json.loads(json.dumps(QUALITY.to_dict()))["rankings_changed"] == 0


def test_the_whole_of_it(tmp_path: Path) -> None:
    """On short inputs, where most sentences are cut off, and without verification, which other tests do on smaller graphs."""
    report = tmp_path / "minilm.html"
    arguments = [
        "minilm",
        "--target",
        "cpu",
        "--set",
        "batch=2,sequence=32",
        "--no-check",
        "--rounds",
        "2",
        "--report",
        str(report),
        "--json",
    ]
    result = CliRunner().invoke(app, ["fuse", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["kernels"]["before"] == 114
    assert found["kernels"]["after"] <= 114 // 3
    assert found["bytes_between"]["after"] <= found["bytes_between"]["before"] // 2
    embeddings = found["embeddings"]
    assert (embeddings["sentences"], embeddings["cosines_from_0.9999"], embeddings["rankings_changed"]) == (26, 26, 0)
    assert embeddings["largest_error"] < 2e-3
    text = report.read_text(encoding="utf-8")
    assert "26 of 26 are at least 0.9999" in text
    assert "Every layer" in text
