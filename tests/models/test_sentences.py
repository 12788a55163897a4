from __future__ import annotations

import pytest
import torch

from mosaic.errors import InputError
from mosaic.models.encode import MAX_LENGTH, encode
from mosaic.models.sentences import GROUPS, SENTENCES, nearest


def test_sentences_are_of_many_lengths_and_none_is_cut_off() -> None:
    lengths = encode(SENTENCES, 512)["attention_mask"].sum(1)
    assert len(SENTENCES) == len(set(SENTENCES)) >= 24
    assert lengths.min() == 3
    assert (lengths > 64).sum() >= 3
    assert (lengths > 128).sum() >= 2
    assert 200 < lengths.max() <= MAX_LENGTH
    assert any(not sentence.isascii() for sentence in SENTENCES)


def test_the_nearest_to_each_is_of_its_group(reference: torch.Tensor) -> None:
    group = torch.tensor([number for number, members in enumerate(GROUPS) for _ in members])
    assert torch.equal(group[nearest(reference)[:, 0]], group)


def test_nearest_by_hand() -> None:
    rows = torch.tensor([[1.0, 0.0], [4.0, 4.0], [0.0, 2.0], [-1.0, 0.1]])
    assert nearest(rows, 3).tolist() == [[1, 2, 3], [0, 2, 3], [1, 3, 0], [2, 1, 0]]
    assert nearest(rows.half(), 1).tolist() == [[1], [0], [1], [2]]


@pytest.mark.parametrize(("shape", "count"), [((3, 2), 3), ((3, 2), 0), ((1, 2), 1), ((3,), 1)])
def test_nothing_to_rank(shape: tuple[int, ...], count: int) -> None:
    with pytest.raises(InputError, match="cannot rank"):
        nearest(torch.ones(shape), count)
