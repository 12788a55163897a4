"""The original model, loaded once: in float64 by Hugging Face's code, and its embeddings of all sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from mosaic.models.checkpoint import find_folder
from mosaic.models.reference import reference_embeddings
from mosaic.models.sentences import SENTENCES


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Steps are so short that PyTorch's threads mostly wait for each other: on a busy machine they take five times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def reference() -> torch.Tensor:
    """float64 [sentences, 384]"""
    return reference_embeddings(SENTENCES)


@pytest.fixture(scope="session")
def original() -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(find_folder(), dtype=torch.float64, local_files_only=True).eval()
