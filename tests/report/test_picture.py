"""The picture of the graph: well formed, complete, and true to the plan."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from mosaic.report.facts import Facts
from mosaic.report.picture import cut, flows, picture


def drawn(facts: Facts, *, collapsed: bool = True) -> ET.Element:
    return ET.fromstring(picture(facts, collapsed=collapsed))


def texts(element: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in element.iter("text")]


def classes(element: ET.Element, kind: str) -> list[str]:
    return [found.get("class", "") for found in element.iter(kind)]


def test_before_and_after(fused: Facts) -> None:
    found = drawn(fused)
    said = texts(found)
    assert "before: 4 kernels" in said
    assert "after: 1 kernels" in said
    for node in fused.fused.graph.nodes:
        assert node.name in said
        assert node.kernel is None or node.kernel.name in said
    # Four kernels and a view on the left, one launch on the right.
    assert classes(found, "rect").count("node") == 4
    assert classes(found, "rect").count("node view") == 1
    assert classes(found, "rect").count("launch") == 1
    assert [link.get("href") for link in found.iter("a")] == ["#kernel-0"]


def test_edges_have_the_colour_of_what_happened(fused: Facts, apart: Facts) -> None:
    assert sorted(c for c in classes(drawn(fused), "path") if c.startswith("edge")) == ["edge shared"] * 3 + ["edge view"]
    before = [c for c in classes(drawn(apart, collapsed=False), "path") if c.startswith("edge")]
    # Between nodes on the left: 18 splits and 4 views; between launches on the right: 15 neighbours, and 3 residuals that pass others by.
    assert before.count("edge view") == 4
    assert before.count("edge split") == 18 + 15 + 3


def test_what_passes_through_memory(fused: Facts, apart: Facts) -> None:
    assert flows(fused) == []
    found = {(flow.source, flow.target): flow for flow in flows(apart)}
    assert set(found) == {(i, i + 1) for i in range(15)} | {(3, 7), (7, 11), (11, 15)}
    assert found[3, 4].tensors == ("layer0.residual",)
    assert found[3, 4].bytes == 64 * 64 * 2


def test_layers_that_repeat_are_drawn_once(apart: Facts) -> None:
    whole, collapsed = drawn(apart, collapsed=False), drawn(apart)
    assert classes(whole, "rect").count("launch") == 16
    assert classes(collapsed, "rect").count("launch") == 4
    assert texts(collapsed).count("12 launches of 12 kernels") == 2
    assert "layer1.product" not in texts(collapsed)
    assert "layer1.product" in texts(whole)
    assert float(collapsed.get("height", 0)) < float(whole.get("height", 0)) / 2


def test_handovers_stand_beside_the_edges_that_they_were(fused: Facts) -> None:
    handed = [text for text in drawn(fused).iter("text") if text.get("class", "").startswith("right")]
    assert len(handed) == 3
    assert all("shared" in "".join(text.itertext()) for text in handed)
    heights = [float(text.get("y", 0)) for text in handed]
    assert heights == sorted(heights)


@pytest.mark.parametrize("name", ["fused", "apart", "for_gpu"])
def test_everything_is_within_the_frame(name: str, request: pytest.FixtureRequest) -> None:
    facts: Facts = request.getfixturevalue(name)
    found = drawn(facts, collapsed=False)
    left, top, width, height = map(float, found.get("viewBox", "").split())
    for box in found.iter("rect"):
        x, y, w, h = (float(box.get(key, 0)) for key in ("x", "y", "width", "height"))
        assert left <= x
        assert x + w <= left + width
        assert top <= y
        assert y + h <= top + height


def test_long_names_are_cut_in_the_middle() -> None:
    assert cut("short", 100) == "short"
    shortened = cut("a_very_long_name_of_a_launch_with_many_nodes", 100)
    assert len(shortened) * 6.7 <= 100
    assert shortened.startswith("a_very")
    assert shortened.endswith("nodes"[-4:])
    assert "…" in shortened
