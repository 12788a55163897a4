"""Tables of packets for the terminal."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from mosaic.cli.packet_tables import BAR, histogram, listing, sheet_table
from mosaic.evidence.summary import summary
from mosaic.report.packet_sheets import Sheet, sheets
from tests.evidence.samples import all_packets, failed


def text_of(table: Any) -> str:
    out = Console(file=StringIO(), width=200)
    out.print(table)
    file = out.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_a_line_for_each_packet() -> None:
    text = text_of(listing([(f"l.db#{i}", summary(i, packet)) for i, packet in enumerate(all_packets().values())]))
    assert "6 packets" in text
    for packet in all_packets().values():
        assert packet.status in text
    assert "mismatch" in text


def test_markup_of_packets_is_text() -> None:
    assert "[red]x[/red]" in text_of(sheet_table(Sheet("s", "title", ("a", "b"), (("[red]x[/red]", "pass"),))))
    for sheet in sheets(failed()):
        assert sheet.title in text_of(sheet_table(sheet))


def test_bars_are_in_proportion() -> None:
    text = text_of(histogram({"mismatch": 40, "timeout": 10, "crash": 1}))
    assert "51 failed packets" in text
    assert [line.count("█") for line in text.splitlines() if "█" in line] == [BAR, BAR // 4, 1]
