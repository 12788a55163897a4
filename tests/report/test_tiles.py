"""Pictures of layouts: each cell has its owner's colour and its place's number, and the words say what is left out."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import torch
from tilelang.layout import Fragment, Layout

from mosaic.layouts.read import LayoutTable, table
from mosaic.report.tiles import CELL_HEIGHT, CELL_WIDTH, caption, colour, corner, legend, listed, tile


def fragment() -> LayoutTable:
    """8 by 64 elements: a warp a row, two registers a thread."""
    made = Fragment((8, 64), forward_thread_fn=lambda i, j: i * 32 + j // 2, forward_index_fn=lambda i, j: j % 2)
    return table("acc", made, scope="local.fragment", dtype="float32")


def shared() -> LayoutTable:
    return table("stage", Layout((2, 8, 64), lambda v, i, j: [v, i, j // 8 * 8 + (j % 8 + i) % 8]), scope="shared.dyn", dtype="float16")


def test_the_cells_of_a_fragment() -> None:
    found = ET.fromstring(tile(fragment()))
    assert (found.get("width"), found.get("height")) == (str(32 * CELL_WIDTH), str(8 * CELL_HEIGHT))
    numbers = [[cell.text for cell in row.iter("tspan")] for row in found.iter("text")]
    assert numbers == [["0", "1"] * 16] * 8
    # Each thread of the corner has one path, over the two cells that it holds.
    paths = list(found.iter("path"))
    assert len(paths) == 8 * 16
    assert all(path.get("d", "").count("M") == 2 for path in paths)
    second = next(path for path in paths if path.get("d", "").startswith(f"M{2 * CELL_WIDTH} 0h"))
    assert second.get("style") == colour(1)


def test_a_shared_buffer_is_coloured_by_bank() -> None:
    owner, place = corner(shared())
    assert place[0, :4].tolist() == [0, 1, 2, 3]
    assert place[1, :8].tolist() == [64 + (j + 1) % 8 for j in range(8)]
    # float16: two elements in a bank of four bytes, 64 elements in a row over all 32 banks.
    assert owner[0].tolist() == [j // 2 for j in range(32)]
    assert owner.shape == (8, 32)


def test_captions_say_what_is_shown() -> None:
    assert caption(fragment()) == (
        "float32[8, 64], fragment over threads 0 to 255, 2 registers each: register as a number, thread by colour; "
        "its first 8 by 32 are shown"
    )
    assert caption(shared()).startswith("float16[2, 8, 64], shared, swizzled: offset as a number, its bank by colour; its first 8 by 32")
    assert "row by row" in caption(table("x", Layout((4, 8), lambda i, j: i * 8 + j), dtype="float32"))
    assert "are shown" not in caption(table("x", Layout((4, 8), lambda i, j: i * 8 + j), dtype="float32"))


def test_replicas_are_told() -> None:
    made = Fragment((16,), forward_thread_fn=lambda i, rep: rep * 16 + i, replicate=8, forward_index_fn=lambda i: 0)
    text = caption(table("sums", made, scope="local.fragment", dtype="float32"))
    assert "each element is held by 8 threads, the first by 0, 16, 32, … 112" in text


def test_one_dim_is_one_row() -> None:
    owner, place = corner(table("sums", Layout((40,), lambda i: i), dtype="float32"))
    assert owner.shape == place.shape == (1, 32)


def test_colours_tell_lanes_and_warps_apart() -> None:
    assert len({colour(thread) for thread in range(128)}) == 128


def test_the_legend_names_every_owner() -> None:
    names = [item.text for item in ET.fromstring(legend(shared())).iter("i")]
    owners = torch.unique(corner(shared())[0]).tolist()
    assert names == [str(owner) for owner in owners]
    many = table("x", Fragment((16, 32), forward_thread_fn=lambda i, j: i * 32 + j, forward_index_fn=lambda i, j: 0), dtype="float32")
    assert legend(many).endswith(" …</div>")


def test_lists() -> None:
    assert listed([1, 2, 3]) == "1, 2, 3"
    assert listed(range(40)) == "0, 1, 2, … 39"
