"""The page as a whole: one file, well formed, with everything in it and nothing from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from mosaic.report.facts import Facts
from mosaic.report.page import page

VOID = {"meta", "input", "br"}


class Structure(HTMLParser):
    """Checks that tags are closed in order; collects ids, links within the page, and what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
            if name in ("src", "srcset", "data", "action"):
                self.fetched.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def structure(text: str) -> Structure:
    found = Structure()
    found.feed(text)
    found.close()
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def fused_page(fused: Facts) -> str:
    return page(fused, [("real sentences", "26", "of <3> to 237 tokens")])


@pytest.mark.parametrize("name", ["fused", "apart", "for_gpu"])
def test_it_is_well_formed_and_needs_nothing_else(name: str, request: pytest.FixtureRequest) -> None:
    text = page(request.getfixturevalue(name))
    found = structure(text)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert found.fetched == []
    assert "@import" not in text
    assert "url(" not in text.replace("url(#", "")
    assert not re.search(r"https?://", text)
    assert len(found.ids) == len(set(found.ids)), "an id names one element"


def test_links_lead_to_something_on_the_page(fused_page: str) -> None:
    found = structure(fused_page)
    assert found.links
    for link in found.links:
        assert link.startswith("#")
        assert link[1:] in found.ids


def test_it_has_all_parts(fused_page: str) -> None:
    found = structure(fused_page)
    assert {"graph", "bytes", "edges", "verification", "refused", "kernels", "kernel-0"} <= set(found.ids)
    assert "4 → 1" in found.text
    assert "of <3> to 237 tokens" in found.text
    assert "2.03 times as fast" in found.text


def test_both_modes_of_colour(fused_page: str) -> None:
    assert "prefers-color-scheme: dark" in fused_page
    assert 'content="light dark"' in fused_page


def test_colours_of_everything_drawn_are_defined(fused_page: str) -> None:
    style = fused_page[fused_page.index("<style>") : fused_page.index("</style>")]
    for used in set(re.findall(r"var\((--[a-z-]+)\)", style)) - {"--h", "--s"}:
        assert f"{used}:" in style
    dark = style[style.index("prefers-color-scheme: dark") :]
    light = style[: style.index("prefers-color-scheme: dark")]
    colours = {name for name in re.findall(r"(--[a-z-]+):", light) if name not in ("--h", "--s")}
    assert all(f"{name}:" in dark for name in colours), "each colour has its counterpart in the dark"


def test_layers_that_repeat_can_be_unfolded(apart: Facts, fused_page: str) -> None:
    assert "Every layer" in page(apart)
    assert "Every layer" not in fused_page


def test_nothing_of_the_text_ends_the_script_or_the_style(fused_page: str) -> None:
    assert fused_page.count("</script>") == 1
    assert fused_page.count("</style>") == 1
