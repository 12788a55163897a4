"""Conversions by tables, carried out thread by thread."""

from __future__ import annotations

import re

import pytest
import torch

from mosaic.layouts.bridge import EMPTY
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.tabled import renaming, same_places, tabled

BLOCKED = torch.arange(64).reshape(32, 2).T  # two neighbours a thread
STRIDED = torch.arange(64).reshape(2, 32)
SWAPPED = STRIDED.flip(0)


def tables(text: str) -> list[list[list[int]]]:
    """The tables in the text, each [registers][threads]."""
    found = re.findall(r"\[\d+\]\[\d+\] = \{(.*)\};", text)
    return [[[int(value.rstrip("u")) for value in row.split(", ")] for row in re.findall(r"\{([^{}]*)\}", body)] for body in found]


def carried_out(text: str, source: torch.Tensor) -> torch.Tensor:
    """What the target's registers hold once the tables were followed: elements are their own numbers."""
    write, read = tables(text)
    nowhere = 0xFFFFFFFF
    memory = {at: int(source[r, t]) for r, row in enumerate(write) for t, at in enumerate(row) if at != nowhere}
    return torch.tensor([[memory[at] if at != nowhere else EMPTY for at in row] for row in read])


def test_what_is_the_same_or_only_renamed_needs_no_memory() -> None:
    assert same_places(STRIDED, STRIDED)
    assert not same_places(STRIDED, SWAPPED)
    assert renaming(STRIDED, SWAPPED) == (1, 0)
    found = tabled(STRIDED, SWAPPED, name="f", element_bytes=4)
    assert (found.kind, found.shared_bytes, found.registers) == ("permute", 0, (1, 0))
    assert "target[0] = Target(source[1]);" in found.text
    assert tabled(STRIDED, STRIDED, name="f", element_bytes=4).kind == "identity"


@pytest.mark.parametrize("holes", [False, True])
def test_through_memory_every_place_gets_its_element(holes: bool) -> None:
    target = BLOCKED.clone()
    if holes:
        target[1, 5:] = EMPTY
    found = tabled(STRIDED, target, name="f", element_bytes=2)
    assert (found.kind, found.shared_bytes) == ("shared", 128)
    assert torch.equal(carried_out(found.text, STRIDED), target)
    # A barrier before the stage is written, one before it is read, one before it is used again.
    assert found.text.count("__syncthreads();") == 3


def test_replicated_elements_are_written_once() -> None:
    source = torch.arange(16).repeat(4).reshape(1, 64)
    found = tabled(source, torch.arange(16).repeat_interleave(4).reshape(1, 64), name="f", element_bytes=4)
    written = [at for row in tables(found.text)[0] for at in row if at != 0xFFFFFFFF]
    assert sorted(written) == list(range(16))


def test_an_element_that_is_not_there_is_an_error() -> None:
    with pytest.raises(LayoutError, match="does not hold"):
        tabled(STRIDED, STRIDED + 1, name="f", element_bytes=4)
