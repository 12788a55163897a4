"""One self-contained page about a fusion: no other files, no network."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import tilelang
import torch

from mosaic.report import sections
from mosaic.report.facts import Facts
from mosaic.report.inferred import inferred
from mosaic.report.markup import Child, Markup, join, tag
from mosaic.report.picture import picture, repeated
from mosaic.version import __version__

LEGEND = ("shared", "register", "split", "view")


def page(facts: Facts, more: Sequence[tuple[str, str, str]] = ()) -> str:
    """The page as HTML; `more` are figures beside those of the facts: a name, a value and a remark each."""
    fused = facts.fused
    title = f"{fused.graph.name}, fused for {fused.target.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(_resource("page.css"))),
    )
    body = tag("body", tag("main", _parts(facts, title, more)), tag("script", Markup(_resource("page.js"))))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _parts(facts: Facts, title: str, more: Sequence[tuple[str, str, str]]) -> Markup:
    kernels = [sections.kernel(number, kernel, inferred(kernel)) for number, kernel in enumerate(facts.kernels)]
    return join(
        tag("header", tag("h1", title), tag("p", _subtitle(facts))),
        sections.figures((*facts.figures(), *more)),
        _section("graph", "The graph before and after", _graph(facts)),
        _section("bytes", "Bytes between kernels", sections.moved(facts)),
        _section("edges", "What happened on each edge, and why", sections.edges(facts)),
        _section("verification", "Verification", sections.verification(facts)),
        _section("refused", "Refused on the way", sections.refused(facts)),
        _section("kernels", "The kernels", tag("p", _KERNELS), kernels),
        tag("footer", f"Written by Mosaic {__version__} with TileLang {tilelang.__version__} and PyTorch {torch.__version__}."),
    )


_KERNELS = (
    "Each kernel that was compiled, in the order of its first launch: which nodes it computes, with which tunables, what was stitched "
    "into what, and how its tiles lie in threads, registers and shared memory."
)
_PICTURE = (
    "Left: a box for each kernel of the graph, in the colour of the launch that computes it now. Right: what is launched, and what still "
    "passes through device memory."
)


def _subtitle(facts: Facts) -> str:
    device = facts.fused.target.device
    return f"{facts.kernels_before} kernels that know nothing of each other became {facts.kernels_after}. Target: {device}."


def _section(name: str, title: str, *content: Child) -> Markup:
    return tag("section", tag("h2", tag("a", title, href=f"#{name}")), *content, id=name)


def _graph(facts: Facts) -> Markup:
    legend = tag("p", [tag("span", tag("i", class_=how), f"{how}: {sections.HOW[how]}") for how in sections.HOW], class_="key")
    text = tag("p", _PICTURE)
    drawn = tag("div", picture(facts), class_="scroll picture")
    if not repeated(facts):
        return join(text, legend, drawn)
    whole = tag("details", tag("summary", "Every layer"), tag("div", picture(facts, collapsed=False, tips=False), class_="scroll picture"))
    return join(text, legend, drawn, whole)


def _resource(name: str) -> str:
    return files("mosaic.report").joinpath(name).read_text(encoding="utf-8")
