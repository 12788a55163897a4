"""The graph before and after, side by side, as SVG: on the left each node a box, on the right each launch.

Boxes have the colour of their kernel, edges that of what happens on them; what is drawn is where `placing` put it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.report.facts import Facts, KernelFact
from mosaic.report.markup import Markup, join, size, tag
from mosaic.report.placing import BAND_GAP, ROW_GAP, Band, Box, Placing, place
from mosaic.report.repeats import Stretch, stretches
from mosaic.stitch.plan import Launch
from mosaic.stitch.recipe import Move

LANE: Final = 9
BETWEEN: Final = 46
AFTER_WIDTH: Final = 400
TOP: Final = 34
CHARACTER: Final = 6.7
"""Width of a character at the font size of 11, about: for cutting text to boxes."""


@dataclass(frozen=True)
class Flow:
    """Tensors that one launch writes to device memory and another reads."""

    source: int
    target: int
    tensors: tuple[str, ...]
    bytes: int


def picture(facts: Facts, *, collapsed: bool = True, tips: bool = True) -> Markup:
    """The graph before and after. If `collapsed`, of layers that repeat only the first is drawn.

    The tips of arrows are shared by all pictures of a page: only the first has to define them (`tips`).
    """
    hidden = repeated(facts) if collapsed else []
    placing = place(facts.fused.graph, [launch.nodes for launch in facts.fused.plan.launches], hidden)
    kernel_of = {position: number for number, kernel in enumerate(facts.kernels) for position in kernel.launches}
    lanes = _Lanes(placing.width + 4)
    edges = _edges(facts, placing, lanes)
    start = placing.width + LANE * lanes.count + BETWEEN
    flows, flow_lanes = _flows(facts, placing, start)
    width = start + AFTER_WIDTH + LANE * flow_lanes + 12
    left = [_band_before(facts, band, placing, kernel_of) for band in placing.bands]
    right = [_band_after(facts, band, placing, start, kernel_of) for band in placing.bands]
    heads = [
        tag("text", f"before: {facts.kernels_before} kernels", x=placing.width / 2, y=-14, class_="head"),
        tag("text", f"after: {facts.kernels_after} kernels", x=start + AFTER_WIDTH / 2, y=-14, class_="head"),
    ]
    box = f"0 {-TOP} {width:.0f} {placing.height + TOP + 4:.0f}"
    return tag(
        "svg", _TIPS if tips else None, heads, left, edges, right, flows,
        viewBox=box, width=round(width), height=round(placing.height + TOP + 4), class_="graph", role="img",
        aria_label=f"The graph {facts.fused.graph.name} before and after fusion",
    )  # fmt: skip


def repeated(facts: Facts) -> list[Stretch]:
    """The stretches of launches that recur, as the layers of a model do."""
    kernel_of = {position: number for number, kernel in enumerate(facts.kernels) for position in kernel.launches}
    return stretches([kernel_of[position] for position in range(len(kernel_of))])


_TIPS: Final = tag(
    "defs",
    [
        tag(
            "marker", tag("path", d="M0 0 8 4 0 8z", class_=f"tip {how}"),
            id=f"tip-{how}", viewBox="0 0 8 8", refX="7", refY="4", markerWidth="6", markerHeight="6", orient="auto",
        )
        for how in ("shared", "register", "split", "view")
    ],
)  # fmt: skip


def cut(text: str, width: float) -> str:
    """The text, with its middle left out if it is too wide."""
    fits = int(width / CHARACTER)
    if len(text) <= fits:
        return text
    half = (fits - 1) // 2
    return f"{text[: fits - 1 - half]}…{text[-half:]}"


def hue(number: int) -> int:
    """A colour for each kernel: steps of the golden angle keep neighbours apart."""
    return round(205 + 137.508 * number) % 360


# Before


def _band_before(facts: Facts, band: Band, placing: Placing, kernel_of: Mapping[int, int]) -> Markup:
    if band.hidden:
        return _placeholder(facts, band, band.boxes[0].x, band.boxes[0].width)
    style = f"--h:{hue(kernel_of[band.launch])}"
    back = tag("rect", x=2, y=band.y, width=placing.width - 4, height=band.height, rx=8, class_="band")
    return tag("g", back, [_node(facts, box) for box in band.boxes], style=style)


def _node(facts: Facts, box: Box) -> Markup:
    node = facts.fused.graph.node(box.name)
    made = ", ".join(f"{name} {facts.fused.graph.tensors[name].spec}" for name in node.outputs)
    if node.kernel is None:
        text = tag("text", cut(node.name, box.width - 8), x=box.center, y=box.y + 12.5, class_="view")
        return tag("g", _rect(box, "node view"), text, tag("title", f"view: {made}"))
    name = tag("text", cut(node.name, box.width - 8), x=box.center, y=box.y + 14)
    kernel = tag("text", cut(node.kernel.name, box.width - 8), x=box.center, y=box.y + 27, class_="dim")
    return tag("g", _rect(box, "node"), name, kernel, tag("title", f"{node.name}: kernel {node.kernel.name}, makes {made}"))


def _rect(box: Box, class_: str) -> Markup:
    return tag("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=5, class_=class_)


def _placeholder(facts: Facts, band: Band, x: float, width: float) -> Markup:
    launches = facts.fused.plan.launches[band.launch : band.launch + band.hidden]
    nodes = sum(len(launch.nodes) for launch in launches)
    middle = band.y + band.height / 2
    return tag(
        "g",
        tag("rect", x=x, y=band.y, width=width, height=band.height, rx=8, class_="hidden"),
        tag("text", "and the same again:", x=x + width / 2, y=middle - 5, class_="dim"),
        tag("text", f"{band.hidden} launches of {nodes} kernels", x=x + width / 2, y=middle + 12),
    )


class _Lanes:
    """Vertical lanes beside the boxes, for edges that pass rows by. Those of one tensor share a lane."""

    def __init__(self, x: float) -> None:
        self.x = x
        self._busy: list[list[tuple[int, int]]] = []

    @property
    def count(self) -> int:
        return len(self._busy)

    def take(self, first: int, last: int) -> float:
        """The x of a lane that is free from row `first` to row `last`."""
        for number, spans in enumerate(self._busy):
            if all(last <= begin or first >= end for begin, end in spans):
                spans.append((first, last))
                return self.x + LANE * number
        self._busy.append([(first, last)])
        return self.x + LANE * (len(self._busy) - 1)


def _edges(facts: Facts, placing: Placing, lanes: _Lanes) -> list[Markup]:
    """The edges between nodes; those from one box to another that look alike are drawn once."""
    drawn: dict[tuple[str, Box, Box], list[str]] = {}
    furthest: dict[Box, int] = {}
    for edge in facts.fused.plan.edges:
        source, target = placing.box_of[edge.producer], placing.box_of[edge.consumer]
        if source is target:
            continue
        text = f"{edge.tensor}, {size(edge.bytes)}, {edge.how}: {edge.reason}"
        drawn.setdefault((edge.how, source, target), []).append(text)
        if target.row != source.row + 1:
            furthest[source] = max(furthest.get(source, 0), target.row)
    lane_of = {box: lanes.take(box.row, row) for box, row in sorted(furthest.items(), key=lambda item: item[0].row)}
    found = []
    for (how, source, target), texts in drawn.items():
        near = target.row == source.row + 1
        path = _straight(source, target) if near else _around(source, target, lane_of[source])
        shown = texts if len(texts) <= 4 else [*texts[:3], f"and {len(texts) - 3} more"]
        found.append(tag("path", tag("title", "\n".join(shown)), d=path, class_=f"edge {how}", marker_end=f"url(#tip-{how})"))
    return found


def _straight(source: Box, target: Box) -> str:
    middle = round((source.bottom + target.y) / 2)
    begin, end = round(source.center), round(target.center)
    return f"M{begin} {source.bottom:.0f}C{begin} {middle} {end} {middle} {end} {target.y:.0f}"


def _around(source: Box, target: Box, lane: float) -> str:
    """Out below the source, along the lane, and in above the target, with rounded corners."""
    out, in_ = round(source.center) + 8, round(target.center) + 8
    leave, enter = source.bottom + ROW_GAP * 0.4, target.y - ROW_GAP * 0.45
    down = f"M{out} {source.bottom:.0f}V{leave - 5:.0f}q0 5 5 5"
    along = f"H{lane - 5:.0f}q5 0 5 5V{enter - 5:.0f}q0 5 -5 5"
    return f"{down}{along}H{in_ + 5}q-5 0 -5 5V{target.y:.0f}"


# After


def _band_after(facts: Facts, band: Band, placing: Placing, x: float, kernel_of: Mapping[int, int]) -> Markup:
    if band.hidden:
        return _placeholder(facts, band, x, AFTER_WIDTH)
    number = kernel_of[band.launch]
    launch = facts.fused.plan.launches[band.launch]
    lines = [
        tag("tspan", cut(line, AFTER_WIDTH - 20), x=x + 10, dy=15, class_=None if i else "strong")
        for i, line in enumerate(_lines(facts.kernels[number]))
    ]
    box = tag("rect", x=x, y=band.y, width=AFTER_WIDTH, height=band.height, rx=8, class_="launch")
    text = tag("text", lines, y=band.y + 4, class_="left")
    drawn = tag("g", box, text, _handovers(launch, placing, x), tag("title", ", ".join(launch.nodes)), style=f"--h:{hue(number)}")
    return tag("a", drawn, href=f"#kernel-{number}")


def _handovers(launch: Launch, placing: Placing, x: float) -> list[Markup]:
    """What is handed over within a launch, each beside the edge that it was."""
    by_height: dict[float, list[Move]] = {}
    for group in launch.groups:
        for move in group.moves:
            by_height.setdefault(placing.box_of[move.producer].bottom + ROW_GAP / 2 + 4, []).append(move)
    return [
        tag("text", _handover(moves), x=x + AFTER_WIDTH - 10, y=y, class_=f"right {moves[0].scope}")
        for y, moves in sorted(by_height.items())
    ]


def _handover(moves: Sequence[Move]) -> list[str | Markup]:
    several = f"{len(moves)} times " if len(moves) > 1 else ""
    kept = ", written too" if any(move.kept for move in moves) else ""
    names = ", ".join(tensor for move in moves for tensor in move.tensors)
    return [f"{several}{size(moves[0].stage_bytes)} {moves[0].scope}{kept}", tag("title", f"{names}: bytes a block")]


def _lines(kernel: KernelFact) -> list[str]:
    """What a launch's box says."""
    kept = {tensor for move in kernel.moves for tensor in move.tensors if tensor not in move.kept}
    threads = f" of {kernel.threads} threads" if kernel.threads is not None else ""
    nodes = f"{len(kernel.launch.nodes)} kernels in one" if len(kernel.launch.nodes) > 1 else "1 kernel, alone"
    lines = [kernel.label, f"{nodes}; {kernel.launch.program.blocks:,} blocks{threads}", f"{size(kernel.on_chip_bytes)} of tiles a block"]
    if kept:
        lines.append(f"{len(kept)} tensor{'s' if len(kept) > 1 else ''} never leave{'' if len(kept) > 1 else 's'} the chip")
    if len(kernel.launch.groups) > 1:
        lines.append(f"{len(kernel.launch.groups)} grids side by side")
    return lines


def flows(facts: Facts) -> list[Flow]:
    """What launches hand to each other through device memory."""
    graph, names = facts.fused.graph, dict(facts.fused.plan.labels)
    maker: dict[str, int] = {}
    found: dict[tuple[int, int], dict[str, int]] = {}
    for position, launch in enumerate(facts.fused.plan.launches):
        touched = [(graph.root(names[p.name]), p.mode) for p in launch.program.params if p.name in names]
        for root, mode in touched:
            if mode == "read" and root.name in maker:
                found.setdefault((maker[root.name], position), {})[root.name] = root.bytes
        maker |= {root.name: position for root, mode in touched if mode != "read"}
    return [Flow(source, target, tuple(sent), sum(sent.values())) for (source, target), sent in found.items()]


def _flows(facts: Facts, placing: Placing, x: float) -> tuple[list[Markup], int]:
    """The edges between launches, and how many lanes they take."""
    between: dict[tuple[int, int], list[Flow]] = {}
    number_of = {id(band): number for number, band in enumerate(placing.bands)}
    for flow in flows(facts):
        pair = number_of[id(placing.band_of[flow.source])], number_of[id(placing.band_of[flow.target])]
        if pair[0] != pair[1]:
            between.setdefault(pair, []).append(flow)
    lanes = _Lanes(x + AFTER_WIDTH + 10)
    drawn = [_flow(placing.bands[a], placing.bands[b], parts, x, lanes, near=b == a + 1) for (a, b), parts in sorted(between.items())]
    return drawn, lanes.count


def _flow(source: Band, target: Band, parts: Sequence[Flow], x: float, lanes: _Lanes, *, near: bool) -> Markup:
    tensors = list(dict.fromkeys(tensor for flow in parts for tensor in flow.tensors))
    shown = tensors if len(tensors) <= 6 else [*tensors[:5], f"and {len(tensors) - 5} more"]
    total = size(sum(flow.bytes for flow in parts))
    title = tag("title", f"through device memory, {total}: {', '.join(shown)}")
    bottom = source.y + source.height
    if near:
        middle = x + AFTER_WIDTH / 2
        path = tag("path", title, d=f"M{middle:.0f} {bottom:.0f}V{target.y:.0f}", class_="edge split", marker_end="url(#tip-split)")
        return join(path, tag("text", total, x=middle + 8, y=bottom + BAND_GAP / 2 + 4, class_="left dim"))
    lane, edge = lanes.take(round(bottom), round(target.y)), round(x + AFTER_WIDTH)
    leave, enter = bottom - 12, target.y + 12
    around = f"M{edge} {leave:.0f}H{lane - 5:.0f}q5 0 5 5V{enter - 5:.0f}q0 5 -5 5H{edge}"
    return tag("path", title, d=around, class_="edge split", marker_end="url(#tip-split)")
