"""Tiles cut into blocks of powers of two."""

from __future__ import annotations

import pytest

from mosaic.layouts.atoms import mma, relabel, tile, wgmma
from mosaic.layouts.emit.blocks import find_blocks
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.steps import Barrier, Pack, Unpack, UnpackWord
from mosaic.layouts.layout import Layout
from tests.layouts.emit.family import TO_A, convert, nvidia_cases, random_table


def places(source: Layout, target: Layout) -> tuple[Places, Places]:
    return Places.of(source, 32), Places.of(target, 32)


@pytest.mark.parametrize("columns", [96, 160, 192, 224])
def test_every_element_is_in_one_block_at_its_place(columns: int) -> None:
    atom = wgmma("float8", columns)
    source, target = places(relabel(atom.c, TO_A), tile(atom.operand("a"), {"k": columns // 32}))
    blocks = find_blocks(source, target)
    assert blocks is not None
    assert len(blocks) == columns // (columns & -columns)
    assert sorted(element for block in blocks for element in block.elements) == list(range(64 * columns))
    for block in blocks:
        for layout, registers, found in ((source, block.source_registers, block.source), (target, block.target_registers, block.target)):
            for at, register in enumerate(registers):
                for thread in (0, 7, 127):
                    inner = found(register=at, lane=thread % 32, warp=thread // 32)["element"]
                    assert block.elements[inner] == layout.elements[register][thread]


def test_blocks_of_96_columns_are_shuffled_like_one_of_32() -> None:
    shuffles = {}
    for columns in (32, 96):
        atom = wgmma("float8", columns)
        function, _ = convert(relabel(atom.c, TO_A), tile(atom.operand("a"), {"k": columns // 32}), ("float32", "float8_e4m3fn"))
        shuffles[columns] = function.instructions["shuffle"]
    assert shuffles[96] == 3 * shuffles[32]


def test_linear_layouts_are_one_block() -> None:
    half = mma("float16", 16)
    source, target = places(half.c, half.c)
    blocks = find_blocks(source, target)
    assert blocks is not None
    assert [block.source_registers for block in blocks] == [(0, 1, 2, 3)]


def test_what_has_no_blocks() -> None:
    source, target = places(random_table(4, 32, 3, 1, within=True), random_table(4, 32, 3, 2, within=True))
    assert find_blocks(source, target) is None
    three, other, *_ = nvidia_cases()["three_warps"]
    assert find_blocks(*places(three, other)) is None


def test_steps_are_renumbered() -> None:
    atom = wgmma("float8", 96)
    blocks = find_blocks(*places(relabel(atom.c, TO_A), tile(atom.operand("a"), {"k": 3})))
    assert blocks is not None
    block = blocks[1]
    first = block.target_registers[0]
    steps = block.place([Pack(0, (0, None, 1, 2)), Barrier(), Unpack(2, (0, 1)), UnpackWord(0, 0)], 4)
    mine = block.source_registers
    assert steps == [Pack(0, (mine[0], None, mine[1], mine[2])), Barrier(), Unpack(first + 2, (0, 1)), UnpackWord(first, 0)]
