"""The truth about a model: the embeddings that the original gives, by Hugging Face's own code and tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from mosaic.errors import InputError, ToolMissingError
from mosaic.models.checkpoint import find_folder
from mosaic.models.encode import MAX_LENGTH, check_sentences


def reference_embeddings(
    sentences: Sequence[str], max_length: int = MAX_LENGTH, *, dtype: str = "float64", package_dir: str | Path | None = None
) -> torch.Tensor:
    """The sentences' embeddings, `dtype` ("float64" or "float32") [sentences, 384], each of length 1.

    Every sentence goes through alone, so that none is padded; one of more than `max_length` tokens is cut off. Mean over the tokens, then
    division by the length. Runs on the CPU and needs no network.
    Raises InputError for no sentences, something that is no string, another dtype, or files that are no model; ToolMissingError if
    the package transformers, or the model, is not installed.
    """
    try:
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415  (optional, and takes seconds)
    except ImportError as error:
        raise ToolMissingError('the package transformers is not installed; add it with: pip install "transformers>=5"') from error
    check_sentences(sentences)
    if dtype not in ("float64", "float32"):
        raise InputError(f"dtype is {dtype!r}, but the reference is float64 or float32")
    folder = find_folder(package_dir)
    try:
        with _quiet():
            model: Any = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the package raises whatever its many parts raise
        raise InputError(f"transformers cannot read the model in {folder}: {str(error).partition(chr(10))[0]}") from error
    model.eval()
    embeddings = []
    with torch.no_grad():
        for sentence in sentences:
            tokens = tokenizer(sentence, truncation=True, max_length=max_length, return_tensors="pt")
            embeddings.append(model(**tokens).last_hidden_state[0].mean(0))
    return functional.normalize(torch.stack(embeddings), dim=1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's progress bars, which would stand between what a command prints."""
    from transformers.utils import logging  # noqa: PLC0415

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
