"""The page's tables: what they hold, and what they say where there is nothing."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from mosaic.report import sections
from mosaic.report.facts import Facts
from mosaic.report.inferred import Inferred, inferred
from mosaic.report.markup import Markup
from mosaic.stitch.legality import Refusal


def parsed(markup: Markup) -> ET.Element:
    # `checked` without a value is HTML and no XML.
    return ET.fromstring(f"<div>{markup.replace(' checked', '')}</div>")


def cells(element: ET.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in element.findall(".//tbody/tr")]


def test_figures() -> None:
    (card,) = parsed(sections.figures([("kernels", "4 → 1", "25% of the launches")])).iter("b")
    assert card.text == "4 → 1"


def test_edges(fused: Facts) -> None:
    found = parsed(sections.edges(fused))
    rows = cells(found)
    assert [row[:4] for row in rows] == [
        ["1", "layer0.product", "layer0.bias", "shared"],
        ["1", "layer0.bias", "layer0.gelu", "shared"],
        ["1", "layer0.gelu", "layer0.residual", "shared"],
        ["1", "layer0.residual", "layer0.view", "view"],
    ]
    assert [row.get("data-how") for row in found.iter("tr") if row.get("data-how")] == ["shared"] * 3 + ["view"]
    # The filter offers what there is, and nothing else.
    assert [box.get("value") for box in found.iter("input") if box.get("type") == "checkbox"] == ["shared", "view"]


def test_bytes_as_bars(apart: Facts, fused: Facts) -> None:
    bars = [bar.get("style") for bar in parsed(sections.moved(fused)).iter("i")]
    assert bars[:2] == ["width:100.00%", "width:0.00%"]
    texts = ["".join(row.itertext()) for row in parsed(sections.moved(apart)).iter("tr")]
    assert texts[0] == "all kernelsbefore 270 kBafter 270 kB"
    assert texts[1].startswith("layer{0..3}.product, 4 launches")
    assert len(texts) == 5


def test_verification(fused: Facts, apart: Facts) -> None:
    (row,) = cells(parsed(sections.verification(fused)))
    assert row[:3] == ["layer0.residual", "layer0: product … residual", "pass"]
    assert "rounding" in row[-1]
    assert "It was not verified." in sections.verification(apart)


@pytest.mark.parametrize(("ratio", "class_", "width"), [(0.25, "meter", "25.0%"), (1.0, "meter", "100.0%"), (7.0, "meter over", "100.0%")])
def test_an_error_as_a_bar(ratio: float, class_: str, width: str) -> None:
    bar = ET.fromstring(sections.meter(ratio))
    assert bar.get("class") == class_
    assert bar[0].get("style") == f"width:{width}"
    assert bar[1].text == f"{ratio:.3f}"


def test_shares() -> None:
    assert [sections.percent(share) for share in (0.00061, 0.25, float("inf"))] == ["0.061 %", "25 %", "unbounded"]


def test_refusals(fused: Facts) -> None:
    assert "Nothing that was planned was refused" in sections.refused(fused)
    facts = replace(fused, fused=replace(fused.fused, refused=(("a__b", Refusal("lowering", "no <layout> fits")),)))
    assert cells(parsed(sections.refused(facts))) == [["a__b", "lowering", "no <layout> fits"]]


@pytest.mark.parametrize("name", ["fused", "for_gpu"])
def test_all_about_a_kernel(name: str, request: pytest.FixtureRequest) -> None:
    facts: Facts = request.getfixturevalue(name)
    (fact,) = facts.kernels
    found = ET.fromstring(sections.kernel(0, fact, inferred(fact)))
    assert found.get("id") == "kernel-0"
    said = "".join(found.itertext())
    for node in fact.launch.nodes:
        assert node in said
    for buffer in fact.launch.program.buffers:
        assert buffer.name in said
    assert "What was stitched in" in said
    assert "Layouts on sm_90a" in said
    assert len(list(found.iter("figure"))) >= 3


def test_emitted_code(for_gpu: Facts) -> None:
    (fact,) = for_gpu.kernels
    said = "".join(ET.fromstring(sections.kernel(0, fact, Inferred(fact.lowered.target, {}))).itertext())
    assert f"{fact.threads}" in said
    if fact.lowered.emitted is not None:
        assert f"{fact.lowered.emitted.registers}, {fact.lowered.emitted.spill_bytes} bytes spilled" in said
    assert "There is no layout to show for sm_90a" in said


def test_a_kernel_alone(apart: Facts) -> None:
    fact = apart.kernels[1]
    said = "".join(ET.fromstring(sections.kernel(1, fact, Inferred(apart.fused.target, {}, "None."))).itertext())
    assert "4 launches; 1 kernel, alone" in said
    assert "What was stitched in" not in said
