"""HTML: escaped where it is text, whole where it is markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from mosaic.report.markup import Markup, join, number, row_of, size, table, tag

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))


@given(TEXT, TEXT)
def test_text_and_attributes_come_back_as_they_were(text: str, value: str) -> None:
    element = ET.fromstring(tag("p", text, title=value))
    assert (element.text or "") == text
    assert element.get("title") == value


def test_attributes() -> None:
    assert tag("td", "x", class_="n", data_how="split") == '<td class="n" data-how="split">x</td>'
    assert tag("input", checked=True, disabled=False, value=None) == "<input checked/>"
    assert tag("rect", x=1.25, y=2.0, width=3) == '<rect x="1.2" y="2" width="3"/>'


def test_children() -> None:
    assert tag("p", "a < b", Markup("<b>c</b>"), [1, tag("i", "&")], None, "") == "<p>a &lt; b<b>c</b>1<i>&amp;</i></p>"  # type: ignore[list-item]
    assert join("<", tag("br")) == "&lt;<br/>"
    assert tag("div") == "<div></div>"


def test_numbers() -> None:
    assert [number(value) for value in (3, 3.0, 3.14159, -0.5)] == ["3", "3", "3.1", "-0.5"]


def test_tables() -> None:
    made = table(("name", "count"), [("a", 1), row_of(("b", 2), numeric=(1,), data_how="x")], numeric=(1,))
    rows = ET.fromstring(made).findall(".//tbody/tr")
    assert [[cell.text for cell in row] for row in rows] == [["a", "1"], ["b", "2"]]
    assert [row[1].get("class") for row in rows] == ["n", "n"]
    assert rows[1].get("data-how") == "x"


def test_sizes() -> None:
    assert [size(count) for count in (0, 999, 1000, 24_576, 139_987_968, 5e9, 5e12)] == [
        "0 B", "999 B", "1 kB", "24.6 kB", "140 MB", "5 GB", "5e+03 GB",
    ]  # fmt: skip
