"""A packet, or several side by side, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mosaic.evidence.packet import Packet
from mosaic.report.comparison import comparison_sheets
from mosaic.report.packet_sheets import Sheet, headline, sheets, verdict


def packet_text(packet: Packet) -> str:
    """One packet: status and figures, then every table."""
    said = verdict(packet) or f"It does what {packet.candidate.task} asks."
    figures = Sheet("figures", "Figures", ("figure", "value", "remark"), tuple(headline(packet)))
    top = f"# {plain(packet.candidate.name)}: {packet.status}\n\n{plain(said)}\n"
    return "\n".join([top, *(_section(sheet) for sheet in (figures, *sheets(packet)))])


def comparison_text(packets: Sequence[Packet]) -> str:
    """Two packets or more."""
    return "\n".join([f"# {len(packets)} packets side by side\n", *(_section(sheet) for sheet in comparison_sheets(packets))])


def _section(sheet: Sheet) -> str:
    rule = ["---:" if i in sheet.numeric else "---" for i in range(len(sheet.head))]
    lines = [_row(map(plain, sheet.head)), _row(rule), *(_row(map(plain, row)) for row in sheet.rows)]
    text = f"{plain(sheet.text)}\n\n" if sheet.text else ""
    return f"## {plain(sheet.title)}\n\n{text}" + "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """Text as it is: nothing in it is taken for Markdown or HTML, and it stays on its line."""
    escaped = "".join(f"\\{char}" if char in "\\`*_[]<>|#~$" else char for char in " ".join(text.split()))
    return escaped.replace("&", "&amp;")
