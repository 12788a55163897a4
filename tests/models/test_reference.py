from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.errors import InputError, ToolMissingError
from mosaic.models.encode import encode
from mosaic.models.reference import reference_embeddings
from mosaic.models.sentences import SENTENCES


def test_embeddings_are_the_models_own_in_a_padded_batch(reference: torch.Tensor, original: Any) -> None:
    some = [3, 6, 8, 13]
    inputs = encode([SENTENCES[index] for index in some])
    with torch.no_grad():
        hidden = original(**inputs).last_hidden_state
    weight = inputs["attention_mask"].unsqueeze(-1).double()
    mean = (hidden * weight).sum(1) / weight.sum(1)
    assert (mean / mean.norm(dim=1, keepdim=True) - reference[some]).abs().max() < 1e-12


def test_no_network_and_no_progress_bar(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], reference: torch.Tensor
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    single = reference_embeddings([SENTENCES[0]], dtype="float32")
    assert single.dtype == torch.float32
    assert (single.double() - reference[:1]).abs().max() < 1e-6
    assert capfd.readouterr() == ("", "")


def test_long_sentences_are_cut_off() -> None:
    short, long = reference_embeddings(["one two three", "one two three four five"], max_length=5)
    assert torch.equal(short, long)


@pytest.mark.parametrize(
    ("sentences", "options", "message"),
    [([], {}, "no sentences"), ("Bread", {}, "one string"), (["Bread"], {"dtype": "float16"}, "the reference is float64 or float32")],
)
def test_bad_input(sentences: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reference_embeddings(sentences, **options)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ToolMissingError, match='transformers is not installed; add it with: pip install "transformers>=5"'):
        reference_embeddings(["Bread"])


def test_a_model_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="transformers cannot read the model in"):
        reference_embeddings(["Bread"], package_dir=tmp_path)
