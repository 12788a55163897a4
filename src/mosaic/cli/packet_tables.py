"""What the verbs about packets print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mosaic.evidence.summary import Summary
    from mosaic.report.packet_sheets import Sheet

STYLES: Final = {"pass": "green", "fail": "bold red", "error": "red", "inconclusive": "yellow", "skipped": "dim"}
BAR: Final = 40
"""Characters of a histogram's longest bar."""


def listing(rows: Sequence[tuple[str, Summary]]) -> Table:
    """Packets by where they are, a line each."""
    table = Table(title=f"{len(rows)} packet{'s' if len(rows) != 1 else ''}", title_justify="left")
    for column in ("id", "made", "status", "failure", "candidate", "task", "device", "in"):
        table.add_column(column, overflow="fold")
    for place, each in rows:
        made = each.created[:19].replace("T", " ")
        cells = (each.failure or "", each.candidate, each.task, each.device, place.partition("#")[0])
        table.add_row(each.id[:12], made, styled(each.status), *map(Text, cells))
    return table


def sheet_table(sheet: Sheet) -> Table:
    """A table of the report, for the terminal."""
    table = Table(title=sheet.title, title_justify="left", caption=sheet.text or None, caption_justify="left", show_header=any(sheet.head))
    for index, column in enumerate(sheet.head):
        table.add_column(Text(column), justify="right" if index in sheet.numeric else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(styled(cell) for cell in row))
    return table


def histogram(counts: Mapping[str, int]) -> Table:
    """Failure classes with their counts and bars."""
    table = Table(title=f"{sum(counts.values())} failed packets by class", title_justify="left", show_header=False)
    most = max(counts.values(), default=1)
    for name, count in counts.items():
        table.add_row(Text(name), Text(f"{count:,}", justify="right"), Text("█" * max(1, round(BAR * count / most)), style="red"))
    return table


def styled(word: str) -> Text:
    return Text(word, style=STYLES.get(word, ""))
