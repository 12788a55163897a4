"""Layouts as coloured tiles, as SVG: of a fragment the thread by colour and the register as a number; of a shared buffer the bank
by colour and the offset as a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from mosaic.layouts.read import LayoutTable
from mosaic.report.markup import Markup, tag
from mosaic.tiles.program import element_bytes

ROWS: Final = 16
COLUMNS: Final = 32
CELL_WIDTH: Final = 25
CELL_HEIGHT: Final = 16
BANKS: Final = 32
"""Banks of shared memory on NVIDIA's and AMD's GPUs, each 4 bytes wide."""


def tile(layout: LayoutTable) -> Markup:
    """The first rows and columns of a layout as a picture."""
    owner, place = corner(layout)
    rows, columns = owner.shape
    cells: dict[int, list[str]] = {}
    for i, line in enumerate(owner.tolist()):
        for j, value in enumerate(line):
            cells.setdefault(value, []).append(f"M{j * CELL_WIDTH} {i * CELL_HEIGHT}h{CELL_WIDTH}v{CELL_HEIGHT}h-{CELL_WIDTH}z")
    shades = [tag("path", d="".join(paths), style=colour(value)) for value, paths in cells.items()]
    numbers = [
        tag("text", [tag("tspan", value, x=j * CELL_WIDTH + CELL_WIDTH // 2) for j, value in enumerate(line)], y=i * CELL_HEIGHT + 11.5)
        for i, line in enumerate(place.tolist())
    ]
    width, height = columns * CELL_WIDTH, rows * CELL_HEIGHT
    label = f"Layout of {layout.buffer}: {layout.expression}"
    return tag(
        "svg", shades, numbers, viewBox=f"0 0 {width} {height}", width=width, height=height, class_="tile", role="img", aria_label=label
    )


def corner(layout: LayoutTable) -> tuple[torch.Tensor, torch.Tensor]:
    """For the first rows and columns: who owns each element (the thread, or the bank), and its place (register, or offset).

    A buffer of one dim is one row; of more than two, the first of what is in front is shown (of a pipelined buffer its first version).
    """
    if layout.thread is not None and layout.register is not None:
        owner, place = layout.thread[..., 0], layout.register
    else:
        assert layout.offset is not None
        place = layout.offset
        owner = place * element_bytes(layout.dtype) // 4 % BANKS
    if owner.ndim == 1:
        owner, place = owner.unsqueeze(0), place.unsqueeze(0)
    while owner.ndim > 2:
        owner, place = owner[0], place[0]
    return owner[:ROWS, :COLUMNS], place[:ROWS, :COLUMNS]


def colour(owner: int) -> str:
    """The colour of a thread: a hue by its place among 32, so in its warp, and a shade by its warp; or of a bank."""
    return f"--h:{round(owner % 32 * 360 / 32)};--s:{owner // 32 % 4}"


def caption(layout: LayoutTable) -> str:
    """What the picture shows, in words."""
    shape = ", ".join(map(str, layout.shape))
    rows, columns = corner(layout)[0].shape
    part = (
        ""
        if (rows, columns) == layout.shape or (rows == 1 and (columns,) == layout.shape)
        else f"; its first {rows} by {columns} are shown"
    )
    if layout.thread is None:
        kind = "row by row" if layout.is_row_major else "swizzled"
        return f"{layout.dtype}[{shape}], shared, {kind}: offset as a number, its bank by colour{part}"
    holders = sorted(set(layout.thread.reshape(-1, layout.replicas)[0].tolist()))
    held = ""
    if layout.replicas > 1:
        held = f"; each element is held by {layout.replicas} threads, the first by {listed(holders)}, of which one is shown"
    threads = torch.unique(layout.thread)
    span = f"threads {int(threads.min())} to {int(threads.max())}"
    return (
        f"{layout.dtype}[{shape}], fragment over {span}, {layout.size} registers each: register as a number, thread by colour{part}{held}"
    )


def listed(numbers: Sequence[int]) -> str:
    """`0, 1, 2, 3` or `0, 1, 2, … 31`."""
    return ", ".join(map(str, numbers)) if len(numbers) <= 5 else f"{numbers[0]}, {numbers[1]}, {numbers[2]}, … {numbers[-1]}"


def legend(layout: LayoutTable) -> Markup:
    """The owners that occur in the picture, with their colours."""
    owners = torch.unique(corner(layout)[0]).tolist()
    what = "thread" if layout.kind == "fragment" else "bank"
    shown = owners if len(owners) <= 64 else owners[:64]
    swatches = [tag("i", owner, style=colour(owner)) for owner in shown]
    return tag("div", tag("span", f"{what}s "), swatches, " …" if len(shown) < len(owners) else None, class_="legend")
