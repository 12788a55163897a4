"""Text and tags as HTML and SVG. What is no `Markup` is text, and is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Number = int | float


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | int | float | Iterable["str | Markup"] | None


def tag(name: str, /, *children: Child, **attributes: str | Number | bool | None) -> Markup:
    """An element. Attributes: a trailing `_` is dropped (`class_`), other `_` become `-`; None and False leave one out, True is bare."""
    opening = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    inside = join(*children)
    return Markup(f"<{name}{opening}/>" if not inside and name in _EMPTY else f"<{name}{opening}>{inside}</{name}>")


_EMPTY = frozenset(("rect", "path", "line", "circle", "br", "meta", "input"))


def _attribute(key: str, value: str | Number | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{escape(number(value) if isinstance(value, (int, float)) else value)}"'


def join(*children: Child) -> Markup:
    """Children one after the other."""
    return Markup("".join(_text(child) for child in children))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(child)
    if isinstance(child, (int, float)):
        return number(child)
    return "".join(_text(each) for each in child)


def number(value: Number) -> str:
    """A coordinate: at most one decimal."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def table(head: Sequence[Child], rows: Iterable[Sequence[Child] | Markup], *, class_: str = "", numeric: Sequence[int] = ()) -> Markup:
    """A table; a row is its cells, or a `tr` made already. Columns in `numeric` are aligned to the right."""
    top = tag("tr", [tag("th", cell, class_="n" if i in numeric else None) for i, cell in enumerate(head)])
    body = [row if isinstance(row, Markup) else row_of(row, numeric=numeric) for row in rows]
    return tag("div", tag("table", tag("thead", top), tag("tbody", body), class_=class_ or None), class_="scroll")


def row_of(cells: Sequence[Child], *, numeric: Sequence[int] = (), **attributes: str) -> Markup:
    """One row of a table."""
    return tag("tr", [tag("td", cell, class_="n" if i in numeric else None) for i, cell in enumerate(cells)], **attributes)


def size(count: float) -> str:
    """Bytes in a few digits: `768 B`, `24.6 kB`, `140 MB` (powers of ten)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
