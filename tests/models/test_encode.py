from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.errors import InputError, ToolMissingError
from mosaic.models.checkpoint import find_folder
from mosaic.models.encode import encode
from mosaic.models.sentences import SENTENCES

CLS, SEP, PAD = 101, 102, 0


@pytest.mark.parametrize("max_length", [256, 64, 3])
def test_tokens_are_those_of_the_original_tokenizer(max_length: int) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(find_folder(), local_files_only=True)
    sentences = [*SENTENCES, "", "naïve façade — ¿qué?", "深層学習", "🙂", "a" * 300, "x " * 600]
    expected = tokenizer(sentences, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    found = encode(sentences, max_length)
    assert found["input_ids"].dtype == found["attention_mask"].dtype == torch.int32
    assert torch.equal(found["input_ids"], expected["input_ids"].int())
    assert torch.equal(found["attention_mask"], expected["attention_mask"].int())


def test_padding_to_a_given_length() -> None:
    found = encode(["Bread", ""], length=6)
    assert found["input_ids"].tolist() == [[CLS, 7852, SEP, PAD, PAD, PAD], [CLS, SEP, PAD, PAD, PAD, PAD]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]]


def test_a_sentence_that_is_cut_off_keeps_its_end_token() -> None:
    found = encode(["one two three four five"], 5)
    assert found["input_ids"][0, [0, -1]].tolist() == [CLS, SEP]
    assert found["attention_mask"].tolist() == [[1] * 5]


@pytest.mark.parametrize(
    ("sentences", "options", "message"),
    [
        ([], {}, "there are no sentences"),
        ("Bread", {}, "sentences is one string; give a list of them"),
        (["Bread", 3], {}, "sentence 1 is a int, but must be a string"),
        (["Bread"], {"max_length": 2}, "max_length is 2, but must be at least 3"),
        (
            ["Bread", "more of it than fits"],
            {"length": 4},
            "sentence 1 has 7 tokens, more than the length 4; max_length=4 would cut it off",
        ),
    ],
)
def test_bad_input(sentences: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(sentences, **options)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ToolMissingError, match="tokenizers is not installed; add it with: pip install tokenizers"):
        encode(["Bread"])


def test_a_tokenizer_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot read the tokenizer in .*tokenizer\.json"):
        encode(["Bread"], package_dir=tmp_path)
    (tmp_path / "tokenizer.json").write_text((find_folder() / "tokenizer.json").read_text()[:5000])
    with pytest.raises(InputError, match=r"cannot read the tokenizer in .*tokenizer\.json"):
        encode(["Bread"], package_dir=tmp_path)
