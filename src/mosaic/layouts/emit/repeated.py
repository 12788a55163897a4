"""A stage for tiles that no swizzle of the whole covers: each block of registers on its own, if all of them are one small linear map.

Three warps of 24 columns beside each other are no power of two, and a block of 32 columns lies in two warps. But both sides hold the tile
in blocks of 16 x 8, each spread over all lanes of one warp, in the same way up to an exclusive or. An access of a warp touches one block,
so that a swizzle without conflicts of one block, repeated, has none anywhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from mosaic.layouts.emit.blocks import split
from mosaic.layouts.emit.places import Places
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LinearMap

Offsets = Callable[[LinearMap, LinearMap], dict[int, int]]
"""From two layouts of one block, (register, lane) to element, where each of its elements lies in the stage."""


@dataclass(frozen=True)
class Repeats:
    """`offset` of each element, in a stage of `size` elements; the groups of registers that hold a block, on both sides."""

    offset: dict[int, int]
    size: int
    source: tuple[tuple[int, ...], ...]
    target: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Side:
    groups: tuple[tuple[int, ...], ...]
    inner: LinearMap


def find_repeats(source: Places, target: Places, offsets: Offsets) -> Repeats | None:
    """The largest blocks that do, each placed by `offsets`; None if there are none, or threads take no part in a layout."""
    if any(None in row for places in (source, target) for row in places.elements):
        return None
    for sizes in _shapes(source.extents):
        cut = split(source.extents, sizes)
        elements = math.prod(sizes)
        mine = _side(source, cut, elements)
        theirs = None if mine is None else _side(target, cut, elements)
        if mine is not None and theirs is not None:
            inner = offsets(mine.inner, theirs.inner)
            offset = {element: block * elements + inner[within] for element, (block, within) in enumerate(cut)}
            return Repeats(offset, len(cut), mine.groups, theirs.groups)
    return None


def _shapes(extents: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Blocks that divide the tile into powers of two, the largest ones first; at least a word of elements in each."""
    powers = [[1 << bit for bit in range((extent & -extent).bit_length())] for extent in extents]
    yield from sorted(itertools.product(*powers), key=lambda sizes: (-math.prod(sizes), sizes))


def _side(places: Places, cut: Sequence[tuple[int, int]], elements: int) -> _Side | None:
    """How a layout holds blocks; None if a block is not held by whole warps, in one way."""
    size = places.warp_size
    if cut[_of(places, 0, 0)][0] != cut[_of(places, 0, size - 1)][0]:
        return None
    groups: dict[int, list[int]] = {}
    for register in range(places.registers):
        groups.setdefault(cut[_of(places, register, 0)][0], []).append(register)
    first = next(iter(groups.values()))
    base: list[list[int]] | None = None
    for registers, warp in itertools.product(groups.values(), range(places.warps)):
        if len(registers) != len(first):
            return None
        held = [[cut[_of(places, register, thread)] for thread in range(warp * size, warp * size + size)] for register in registers]
        if len({block for row in held for block, _ in row}) != 1:
            return None
        moved = [[within ^ held[0][0][1] for _, within in row] for row in held]
        base = base or moved
        if moved != base:
            return None
    assert base is not None
    if len({within for row in base for within in row}) != elements:
        return None
    table = torch.tensor(base).unsqueeze(-1)
    found = Layout.from_table((("register", len(first)), ("lane", size)), (("element", elements),), table)
    return _Side(tuple(tuple(group) for group in groups.values()), found.linear) if found.is_linear else None


def _of(places: Places, register: int, thread: int) -> int:
    element = places.elements[register][thread]
    assert element is not None
    return element
