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
    mine, theirs = _registers(source, sizes), _registers(target, sizes)
    if mine is None or theirs is None or not set(theirs) <= set(mine):
        return None
    blocks = []
    for number, registers in sorted(theirs.items()):
        from_map, to_map = _linear(source, mine[number], sizes), _linear(target, registers, sizes)
        if from_map is None or to_map is None:
            return None
        blocks.append(Block(tuple(mine[number]), tuple(registers), from_map, to_map, _elements(number, source.extents, sizes)))
    return blocks


def _split(element: int, extents: Sequence[int], sizes: Sequence[int]) -> tuple[int, int]:
    """The number of an element's block, and its row-major number within."""
    block = inner = 0
    coordinates = []
    for extent in reversed(extents):
        element, coordinate = divmod(element, extent)
        coordinates.append(coordinate)
    for coordinate, extent, size in zip(reversed(coordinates), extents, sizes, strict=True):
        block = block * (extent // size) + coordinate // size
        inner = inner * size + coordinate % size
    return block, inner


def _elements(block: int, extents: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    found = [(inner, element) for element in range(math.prod(extents)) for at, inner in [_split(element, extents, sizes)] if at == block]
    return tuple(element for _, element in sorted(found))


def _registers(places: Places, sizes: Sequence[int]) -> dict[int, list[int]] | None:
    """The registers of each block; None if one belongs to several."""
    found: dict[int, list[int]] = {}
    for register, row in enumerate(places.elements):
        blocks = {_split(element, places.extents, sizes)[0] for element in set(row) if element is not None}
        if len(blocks) != 1:
            return None
        found.setdefault(blocks.pop(), []).append(register)
    return found


def _linear(places: Places, registers: list[int], sizes: Sequence[int]) -> LinearMap | None:
    lanes = places.lanes
    rows = []
    for register in registers:
        row = [element for element in places.elements[register] if element is not None]
        rows.append([_split(element, places.extents, sizes)[1] for element in row])
    table = torch.tensor(rows).reshape(len(registers), places.warps, lanes).permute(0, 2, 1).unsqueeze(-1)
    inputs = (("register", len(registers)), ("lane", lanes), ("warp", places.warps))
    found = Layout.from_table(inputs, (("element", math.prod(sizes)),), table)
    return found.linear if found.is_linear else None
