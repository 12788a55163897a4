"""Where the boxes of a graph stand: a band for each launch, in the order in which they run; in it the launch's nodes, row by row.

The same bands serve the picture before (each node a box) and after (each launch a box), so that they stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.graph.graph import Graph, Node
from mosaic.report.repeats import Stretch

WIDTH: Final = 150
KERNEL_HEIGHT: Final = 34
VIEW_HEIGHT: Final = 18
COLUMN_GAP: Final = 14
ROW_GAP: Final = 22
BAND_GAP: Final = 20
BAND_PADDING: Final = 12
LEAST_BAND: Final = 76


@dataclass(frozen=True)
class Box:
    """One node, or a stretch of launches that is not drawn. `row` counts the rows of the whole picture from the top."""

    name: str
    x: float
    y: float
    width: float
    height: float
    row: int

    @property
    def center(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(frozen=True)
class Band:
    """What one launch computes. Of a stretch that is not drawn: `hidden` launches, from position `launch` on, in one box."""

    launch: int
    y: float
    height: float
    boxes: tuple[Box, ...]
    hidden: int = 0


@dataclass(frozen=True)
class Placing:
    """All bands. box_of gives each node's box; nodes of a hidden stretch share one. row_ends: the bottom of each row."""

    bands: tuple[Band, ...]
    box_of: Mapping[str, Box]
    band_of: Mapping[int, Band]
    width: float
    height: float


def place(graph: Graph, launches: Sequence[Sequence[str]], hidden: Sequence[Stretch] = ()) -> Placing:
    """Place the nodes of `launches` (in the order in which they run); of a stretch in `hidden` only the first copy is drawn."""
    members = _members(graph, launches)
    before = {node.name: [p.name for t in node.inputs if (p := graph.producer(t)) is not None] for node in graph.nodes}
    rows = {position: _rows(nodes, before) for position, nodes in enumerate(members)}
    width = max((_row_width(row) for band in rows.values() for row in band), default=WIDTH)
    bands: list[Band] = []
    box_of: dict[str, Box] = {}
    band_of: dict[int, Band] = {}
    y, row, position = 0.0, 0, 0
    while position < len(members):
        skipped = next((s for s in hidden if s.start + s.length == position), None)
        if skipped is not None:
            count = skipped.stop - position
            box = Box("", BAND_PADDING, y, width, LEAST_BAND, row)
            band = Band(position, y, LEAST_BAND, (box,), count)
            box_of |= {node.name: box for nodes in members[position : skipped.stop] for node in nodes}
            band_of |= dict.fromkeys(range(position, skipped.stop), band)
            row, position = row + 1, skipped.stop
        else:
            band = _band(position, rows[position], width, y, row)
            box_of |= {box.name: box for box in band.boxes}
            band_of[position] = band
            row, position = row + len(rows[position]), position + 1
        bands.append(band)
        y += band.height + BAND_GAP
    return Placing(tuple(bands), box_of, band_of, width + 2 * BAND_PADDING, max(0.0, y - BAND_GAP))


def _members(graph: Graph, launches: Sequence[Sequence[str]]) -> list[list[Node]]:
    """The nodes of each launch, and the views: with what makes the tensor they show, or with the first that reads them."""
    launch_of = {name: position for position, names in enumerate(launches) for name in names}
    for node in graph.nodes:
        producer = graph.producer(node.inputs[0]) if node.is_view else None
        if producer is not None and producer.name in launch_of:
            launch_of[node.name] = launch_of[producer.name]
    for node in reversed(graph.nodes):
        if node.name not in launch_of:
            users = [launch_of[user.name] for user in graph.consumers(node.outputs[0])]
            launch_of[node.name] = min(users, default=0)
    members: list[list[Node]] = [[] for _ in launches]
    for node in graph.nodes:
        members[launch_of[node.name]].append(node)
    return members


def _rows(nodes: Sequence[Node], before: Mapping[str, Sequence[str]]) -> list[list[Node]]:
    """Nodes by the longest way to them within the band; in each row in the order of what they read."""
    rank: dict[str, int] = {}
    for node in nodes:
        rank[node.name] = 1 + max((rank[name] for name in before[node.name] if name in rank), default=-1)
    rows: list[list[Node]] = [[] for _ in range(1 + max(rank.values(), default=-1))]
    for node in nodes:
        rows[rank[node.name]].append(node)
    place_of: dict[str, float] = {}
    for row in rows:
        middle = {n.name: [place_of[name] for name in before[n.name] if name in place_of] for n in row}
        row.sort(key=lambda n: sum(middle[n.name]) / len(middle[n.name]) if middle[n.name] else float("inf"))
        place_of |= {node.name: i - (len(row) - 1) / 2 for i, node in enumerate(row)}
    return rows


def _row_width(row: Sequence[Node]) -> float:
    return len(row) * (WIDTH + COLUMN_GAP) - COLUMN_GAP


def _band(position: int, rows: Sequence[Sequence[Node]], width: float, y: float, first_row: int) -> Band:
    boxes: list[Box] = []
    top = y + BAND_PADDING
    for number, row in enumerate(rows):
        height = VIEW_HEIGHT if all(node.is_view for node in row) else KERNEL_HEIGHT
        x = BAND_PADDING + (width - _row_width(row)) / 2
        for node in row:
            own = VIEW_HEIGHT if node.is_view else KERNEL_HEIGHT
            boxes.append(Box(node.name, x, top + (height - own) / 2, WIDTH, own, first_row + number))
            x += WIDTH + COLUMN_GAP
        top += height + ROW_GAP
    return Band(position, y, max(LEAST_BAND, top - ROW_GAP + BAND_PADDING - y), tuple(boxes))
