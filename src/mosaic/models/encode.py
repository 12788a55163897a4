"""Sentences as a model takes them: token ids, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch

from mosaic.errors import InputError, ToolMissingError
from mosaic.models.checkpoint import find_folder

MAX_LENGTH: Final = 256
"""Tokens after which the original model cuts a sentence off, `max_seq_length` in its `sentence_bert_config.json`."""


def encode(
    sentences: Sequence[str], max_length: int = MAX_LENGTH, *, length: int | None = None, package_dir: str | Path | None = None
) -> dict[str, torch.Tensor]:
    """Tokenize sentences, each between a [CLS] and a [SEP] token, and pad them to a common length.

    A sentence of more than `max_length` tokens, those two included, is cut off (its [SEP] stays). All are padded to `length` tokens,
    by default as many as the longest has. Positions are not given: they are 0, 1, 2, ... in every sentence.

    Returns the inputs of the graph `minilm(len(sentences), length)`: `input_ids` and `attention_mask`, both int32 [sentences, length],
    the mask 1 for tokens and 0 for padding.
    Raises InputError for no sentences, something that is no string, or a sentence longer than `length`; ToolMissingError if the
    package tokenizers, or the model, is not installed.
    """
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415  (optional: only those who run a model need it)
    except ImportError as error:
        raise ToolMissingError("the package tokenizers is not installed; add it with: pip install tokenizers") from error
    check_sentences(sentences)
    if max_length < 3:
        raise InputError(f"max_length is {max_length}, but must be at least 3: [CLS], one token and [SEP]")
    path = find_folder(package_dir) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
        padding = tokenizer.token_to_id("[PAD]")
    except Exception as error:  # the package raises plain Exception for a file that it cannot read
        raise InputError(f"cannot read the tokenizer in {path}: {str(error).partition(chr(10))[0]}") from error
    if padding is None:
        raise InputError(f"{path} has no token [PAD]; use the files of a BERT sentence encoder such as all-MiniLM-L6-v2")
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    # One by one: in batches the package starts threads, and then warns at every later fork (of a compiler, for example).
    tokens = [tokenizer.encode(sentence).ids for sentence in sentences]
    longest = max(range(len(tokens)), key=lambda index: len(tokens[index]))
    width = len(tokens[longest]) if length is None else length
    if len(tokens[longest]) > width:
        raise InputError(
            f"sentence {longest} has {len(tokens[longest])} tokens, more than the length {width}; max_length={width} would cut it off"
        )
    ids = torch.full((len(tokens), width), padding, dtype=torch.int32)
    mask = torch.zeros((len(tokens), width), dtype=torch.int32)
    for row, numbers in enumerate(tokens):
        ids[row, : len(numbers)] = torch.tensor(numbers, dtype=torch.int32)
        mask[row, : len(numbers)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def check_sentences(sentences: Sequence[str]) -> None:
    """Raise InputError unless there is at least one sentence and all are strings."""
    if isinstance(sentences, str):
        raise InputError("sentences is one string; give a list of them")
    if not sentences:
        raise InputError("there are no sentences; give at least one")
    for index, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise InputError(f"sentence {index} is a {type(sentence).__name__}, but must be a string")
