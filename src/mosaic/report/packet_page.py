"""One self-contained page about a packet, or about several side by side: no other files, no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from mosaic.evidence.packet import Packet, packet_id
from mosaic.report.comparison import comparison_sheets, shared_series
from mosaic.report.markup import Child, Markup, join, table, tag
from mosaic.report.packet_sheets import Sheet, headline, performance_of, series, sheets, verdict
from mosaic.report.plots import plot
from mosaic.version import __version__

_PLOTS = (
    "Above, the share of samples up to a time. Below, every sample as a dot, the first at the top; the median as a line, its interval as a "
    "band, and in grey the noise floor around it: how far two timings of the same program differ. Triangles at the edge are samples "
    "further out."
)


def packet_page(packet: Packet) -> str:
    """The page of one packet, as HTML."""
    noise = getattr(performance_of(packet), "noise", None)
    drawn = [
        (f"{case}, {clock}", plot([(name, t.samples.values, t.median.interval) for name, t in each], unit, noise.value if noise else None))
        for (case, clock, unit), each in series(packet).items()
    ]
    parts = [(sheet.name, _section(sheet, _plots(drawn) if sheet.name == "times" else None)) for sheet in sheets(packet)]
    return _page(
        f"{packet.candidate.name}: {packet.status}",
        tag("p", verdict(packet) or f"It does what {packet.candidate.task} asks.", class_="sentence"),
        f"Packet {packet_id(packet)}, made {packet.created} on {packet.environment.device.name}.",
        join(_figures(headline(packet)), [part for _, part in parts]),
    )


def comparison_page(packets: Sequence[Packet]) -> str:
    """The page of two packets or more: figures side by side, with the first as what the others are compared with."""
    drawn = [
        (f"{case}, {clock}", plot([(name, t.samples.values, t.median.interval) for name, t in each], unit))
        for (case, clock, unit), each in shared_series(packets).items()
    ]
    found = comparison_sheets(packets)
    names = " and ".join(dict.fromkeys(packet.candidate.name for packet in packets))
    return _page(
        f"{len(packets)} packets side by side: {names}",
        tag("p", "Times are comparable only where the environments are alike in what matters to them.", class_="sentence"),
        "",
        join([_section(sheet) for sheet in found[:1]], _plots(drawn) if drawn else None, [_section(sheet) for sheet in found[1:]]),
    )


def _page(title: str, sentence: Markup, subtitle: str, content: Markup) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(_resource("page.css") + _resource("packet.css"))),
    )
    top = tag("header", tag("h1", title), sentence, tag("p", subtitle) if subtitle else None)
    body = tag("body", tag("main", top, content, tag("footer", f"Written by Mosaic {__version__}.")))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _figures(found: Sequence[tuple[str, str, str]]) -> Markup:
    def value(name: str, text: str) -> Markup:
        return tag("b", text, class_=f"word {text}" if name == "status" else None)

    return tag(
        "div", [tag("div", value(name, text), tag("span", name), tag("small", remark), class_="figure") for name, text, remark in found],
        class_="figures",
    )  # fmt: skip


def _section(sheet: Sheet, before: Child = None) -> Markup:
    outcome = sheet.head.index("result") if "result" in sheet.head else -1
    rows = [[tag("b", cell, class_=cell) if i == outcome else _cell(sheet, cell) for i, cell in enumerate(row)] for row in sheet.rows]
    shown = table(sheet.head if any(sheet.head) else ["" for _ in sheet.head], rows, numeric=sheet.numeric)
    title = tag("h2", tag("a", sheet.title, href=f"#{sheet.name}"))
    return tag("section", title, tag("p", sheet.text) if sheet.text else None, before, shown, id=sheet.name)


def _cell(sheet: Sheet, cell: str) -> Child:
    return tag("code", cell) if sheet.name == "replay" and " " in cell else cell


def _plots(drawn: Sequence[tuple[str, Markup]]) -> Markup:
    return join(tag("p", _PLOTS), [tag("div", tag("h4", title), picture, class_="plots") for title, picture in drawn])


def _resource(name: str) -> str:
    return files("mosaic.report").joinpath(name).read_text(encoding="utf-8")
