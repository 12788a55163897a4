"""Markdown of packets: tables that are tables, text that is text."""

from __future__ import annotations

import re

import pytest

from mosaic.report.packet_sheets import sheets
from mosaic.report.packet_text import comparison_text, packet_text, plain
from tests.evidence.samples import all_packets, failed, passed


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


@pytest.mark.parametrize("name", all_packets())
def test_every_table_is_whole(name: str) -> None:
    packet = all_packets()[name]
    text = packet_text(packet)
    for block in re.split(r"\n\n+", text):
        if block.startswith("|"):
            assert len({cells(line) for line in block.splitlines()}) == 1
    for sheet in sheets(packet):
        assert f"## {plain(sheet.title)}\n" in text


def test_text_stays_text() -> None:
    assert plain("a|b\n# <b> & [x](y) *z* `c` \\") == r"a\|b \# \<b\> &amp; \[x\](y) \*z\* \`c\` " + "\\\\"


def test_a_comparison() -> None:
    text = comparison_text([passed(), failed()])
    assert text.startswith("# 2 packets side by side\n")
    assert "| status | pass | fail |" in text
