"""The page of a packet: one file, well formed, with everything in it, nothing from outside, and nothing taken for markup."""

from __future__ import annotations

import pytest

from mosaic.evidence.packet import from_document
from mosaic.report.packet_page import comparison_page, packet_page
from mosaic.report.packet_sheets import sheets
from tests.evidence.samples import all_packets, failed, passed
from tests.report.test_page import structure

EVIL = "<img src=x onerror=alert(1)>\"'&"


@pytest.mark.parametrize("name", all_packets())
def test_one_page_with_everything(name: str) -> None:
    packet = all_packets()[name]
    text = packet_page(packet)
    page = structure(text)
    assert page.fetched == []
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "<script" not in text
    for sheet in sheets(packet):
        assert sheet.title in page.text
        assert all(cell in page.text for row in sheet.rows for cell in row)
    assert ("<svg" in text) == (name in ("pass", "noisy"))


def test_nothing_in_a_packet_is_taken_for_markup() -> None:
    def spoiled(value: object) -> object:
        if isinstance(value, dict):
            return {key: EVIL if key in ("message", "how", "task", "method", "statement") else spoiled(item) for key, item in value.items()}
        return [spoiled(item) for item in value] if isinstance(value, (list, tuple)) else value

    document = spoiled(failed().document())
    assert isinstance(document, dict)
    document["validation"]["method"] = EVIL
    packet = from_document(document | {"odd": {EVIL: EVIL}})
    page = packet_page(packet)
    assert "<img" not in page
    assert structure(page).fetched == []
    assert structure(page).text.count(EVIL) > 5
    both = comparison_page([packet, passed()])
    assert "<img" not in both
    structure(both)


def test_a_comparison_has_all_samples_in_one_picture() -> None:
    first, second = passed(), passed(seconds=(1e-5, 1.1e-5))
    text = comparison_page([first, second, failed()])
    page = structure(text)
    assert text.count("<svg") == 1
    assert text.count('class="median"') == 4
    assert len(page.ids) == len(set(page.ids))
    assert "Figures of packet 3 against the first" in page.text
