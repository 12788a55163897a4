"""Tiles that are no power of two, as several that are: 96 columns are three times 32, each converted for itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.steps import Pack, Step, Unpack, UnpackWord
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LinearMap


@dataclass(frozen=True)
class Block:
    """A part of the tile: the registers that hold it on both sides (in order), how, and which elements of the tile its own are."""

    source_registers: tuple[int, ...]
    target_registers: tuple[int, ...]
    source: LinearMap
    target: LinearMap
    elements: tuple[int, ...]

    def place(self, steps: Sequence[Step], slots: int) -> list[Step]:
        """Steps between the block's registers as steps between the tile's."""
        placed: list[Step] = []
        for step in steps:
            match step:
                case Pack(word, registers):
                    placed.append(Pack(word, tuple(None if at is None else self.source_registers[at] for at in registers)))
                case Unpack(register, part):
                    placed.append(Unpack(self.target_registers[register], part))
                case UnpackWord(register, word):
                    group = self.target_registers[register : register + slots]
                    if group == tuple(range(group[0], group[0] + slots)):
                        placed.append(UnpackWord(group[0], word))
                    else:
                        placed += [Unpack(at, (word, slot)) for slot, at in enumerate(group)]
                case _:
                    placed.append(step)
        return placed


def find_blocks(source: Places, target: Places) -> list[Block] | None:
    """The tile cut along each dim into as many equal parts as its extent has odd factors; the whole tile if both layouts are linear.

    None if some register holds elements of several blocks, or a block's layout is not linear.
    """
    if source.linear is not None and target.linear is not None:
        whole = range(math.prod(source.extents))
        return [Block(tuple(range(source.registers)), tuple(range(target.registers)), source.linear, target.linear, tuple(whole))]
    sizes = [extent & -extent for extent in source.extents]
    if math.prod(sizes) == math.prod(source.extents):
        return None
    cut = split(source.extents, sizes)
    mine, theirs = _registers(source, cut), _registers(target, cut)
    if mine is None or theirs is None or not set(theirs) <= set(mine):
        return None
    elements: dict[int, dict[int, int]] = {}
    for element, (number, inner) in enumerate(cut):
        elements.setdefault(number, {})[inner] = element
    blocks = []
    for number, registers in sorted(theirs.items()):
        from_map, to_map = (_linear(*side, cut, math.prod(sizes)) for side in ((source, mine[number]), (target, registers)))
        if from_map is None or to_map is None:
            return None
        own = tuple(elements[number][inner] for inner in range(math.prod(sizes)))
        blocks.append(Block(tuple(mine[number]), tuple(registers), from_map, to_map, own))
    return blocks


Split = list[tuple[int, int]]
"""For each element of the tile: the number of its block, and its own row-major number within."""


def split(extents: Sequence[int], sizes: Sequence[int]) -> Split:
    """The tile cut into blocks of these sizes, which divide its extents."""
    found = [(0, 0)]
    for extent, size in zip(extents, sizes, strict=True):
        found = [
            (block * (extent // size) + index // size, inner * size + index % size) for block, inner in found for index in range(extent)
        ]
    return found


def _registers(places: Places, cut: Split) -> dict[int, list[int]] | None:
    """The registers of each block; None if one belongs to several."""
    found: dict[int, list[int]] = {}
    for register, row in enumerate(places.elements):
        blocks = {cut[element][0] for element in set(row) if element is not None}
        if len(blocks) != 1:
            return None
        found.setdefault(blocks.pop(), []).append(register)
    return found


def _linear(places: Places, registers: list[int], cut: Split, size: int) -> LinearMap | None:
    lanes = places.lanes
    rows = []
    for register in registers:
        rows.append([cut[element][1] for element in places.elements[register] if element is not None])
    table = torch.tensor(rows).reshape(len(registers), places.warps, lanes).permute(0, 2, 1).unsqueeze(-1)
    inputs = (("register", len(registers)), ("lane", lanes), ("warp", places.warps))
    found = Layout.from_table(inputs, (("element", size),), table)
    return found.linear if found.is_linear else None
