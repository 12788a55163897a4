"""Boxes: none overlap, what is read stands above, hidden copies share a box."""

from __future__ import annotations

import itertools

import pytest

from mosaic.report.facts import Facts
from mosaic.report.picture import repeated
from mosaic.report.placing import Box, Placing, place
from mosaic.report.repeats import Stretch


def placed(facts: Facts, *, hidden: list[Stretch] | None = None) -> Placing:
    return place(facts.fused.graph, [launch.nodes for launch in facts.fused.plan.launches], hidden or [])


def apart_from(one: Box, other: Box) -> bool:
    beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    return beside or one.bottom <= other.y or other.bottom <= one.y


@pytest.mark.parametrize("name", ["fused", "apart"])
def test_every_node_has_a_box_within_the_picture_and_none_overlap(name: str, request: pytest.FixtureRequest) -> None:
    facts: Facts = request.getfixturevalue(name)
    found = placed(facts)
    assert set(found.box_of) == {node.name for node in facts.fused.graph.nodes}
    for one, other in itertools.combinations(found.box_of.values(), 2):
        assert apart_from(one, other), (one, other)
    for box in found.box_of.values():
        assert box.x >= 0
        assert box.x + box.width <= found.width
        assert box.y >= 0
        assert box.bottom <= found.height


@pytest.mark.parametrize("name", ["fused", "apart"])
def test_edges_lead_down(name: str, request: pytest.FixtureRequest) -> None:
    facts: Facts = request.getfixturevalue(name)
    found = placed(facts)
    for edge in facts.fused.plan.edges:
        source, target = found.box_of[edge.producer], found.box_of[edge.consumer]
        assert source.row < target.row
        assert source.bottom < target.y


def test_bands_hold_their_nodes_in_the_order_of_launches(apart: Facts) -> None:
    found = placed(apart)
    assert [band.launch for band in found.bands] == list(range(16))
    for band in found.bands:
        for box in band.boxes:
            assert band.y <= box.y
            assert box.bottom <= band.y + band.height
    # A view stands with what makes the tensor that it shows.
    assert {box.name for box in found.bands[3].boxes} == {"layer0.residual", "layer0.view"}


def test_hidden_copies_share_a_box(apart: Facts) -> None:
    hidden = repeated(apart)
    assert hidden == [Stretch(0, 4, 4)]
    found = placed(apart, hidden=hidden)
    assert [band.hidden for band in found.bands] == [0, 0, 0, 0, 12]
    assert found.box_of["layer1.product"] is found.box_of["layer3.view"]
    assert found.box_of["layer0.product"] is not found.box_of["layer1.product"]
    assert found.band_of[15] is found.bands[4]
    assert found.height < placed(apart).height
