"""What is shown of a layout plan: rows that merge layers, pictures that agree with the layouts, a page that stands alone."""

from __future__ import annotations

import re

import pytest
import torch

from mosaic.layouts.banks import NVIDIA, access_cost
from mosaic.layouts.fragments import WarpGrid
from mosaic.layouts.layout import Layout
from mosaic.layouts.places import Place
from mosaic.layouts.plan import plan_layouts
from mosaic.report.layouts import edge_rows, explained, fragment_table, page, pictures, product_rows, record, stage_table
from tests.layouts.samples import AMPERE, HOPPER, attention, feed_forward, layers


def test_layers_are_one_row() -> None:
    plan = plan_layouts(layers(AMPERE, 4))
    rows = edge_rows(plan)
    assert [(row.edge, row.times) for row in rows[:2]] == [("layer{0..3}.up -> bias", 4), ("layer{0..3}.bias -> gelu", 4)]
    assert sum(row.times for row in rows) == len(plan.choices) == len(edge_rows(plan, collapse=False))
    assert {(name, times) for name, times, *_ in product_rows(plan)} == {
        ("layer{0..3}.up", 4),
        ("layer{0..3}.scores", 4),
        ("layer{0..3}.out", 4),
    }


def test_the_record_says_what_the_plan_says() -> None:
    plan = plan_layouts(feed_forward(HOPPER))
    found = record(plan)
    assert found["target"] == "sm_90a"
    assert found["optimal"]
    assert found["seconds"] == pytest.approx(sum(found["costs"].values()))
    assert [edge["handover"] for edge in found["edges"]] == [choice.handover for choice in plan.choices]
    assert found["handovers"]["split"] == 1
    assert found["products"][0]["instruction"] == "wgmma.k16"
    explanation = explained(plan.explain("gelu -> down"))
    assert explanation["forced_by"][0]["kind"] == "legality"
    assert {option["seconds"] is None for option in explanation["memories"]} == {True, False}


@pytest.mark.parametrize(
    "place",
    [
        Place("C", 64, 32, "mma", WarpGrid(2, 2)),
        Place("C", 128, 96, "wgmma", WarpGrid(4, 1)),
        Place("C", 64, 64, "mfma", WarpGrid(2, 2)),
        Place("A", 64, 64, "mma", WarpGrid(2, 2), "float16", 16),
    ],
)
def test_a_picture_shows_every_element_where_it_is(place: Place) -> None:
    table = fragment_table(place, "tile")
    assert table is not None
    assert table.thread is not None
    assert table.register is not None
    layout = place.layout
    assert layout is not None
    lanes = dict(layout.inputs)["lane"]
    columns = {name: number for number, (name, _) in enumerate(layout.outputs)}
    values = layout.to_table()
    for row in range(0, place.rows, 7):
        for column in range(0, place.columns, 5):
            for thread in table.thread[row, column].tolist():
                where = {"register": int(table.register[row, column]), "lane": thread % lanes, "warp": thread // lanes}
                found = values[tuple(where[name] for name, _ in layout.inputs)]
                assert (int(found[columns["m"]]), int(found[columns["n"]])) == (row, column)
    assert table.replicas == (place.grid.columns if place.kind == "A" and place.grid else 1)


def test_rows_have_no_picture() -> None:
    assert fragment_table(Place("rows", 64, 64), "tile") is None


def test_a_swizzled_stage_has_other_banks() -> None:
    plain, swizzled = (stage_table(64, 64, 2, mode, "stage") for mode in (0, 128))
    assert plain.is_row_major
    assert not swizzled.is_row_major
    assert swizzled.offset is not None
    assert torch.equal(swizzled.offset.reshape(-1).sort().values, torch.arange(64 * 64))
    # Down a column of 16-byte pieces, eight lanes of a phase: one bank without a swizzle, all eight with it.
    for table, wavefronts in ((plain, 32), (swizzled, 4)):
        assert table.offset is not None
        offsets = table.offset[:32, :8]
        access = Layout.from_table((("lane", 32), ("register", 8)), (("offset", 64 * 64),), offsets.unsqueeze(-1))
        assert access_cost(access.linear, 2, NVIDIA, "read").wavefronts == wavefronts


def test_a_layout_is_drawn_once() -> None:
    drawn = pictures(plan_layouts(layers(AMPERE, 3)))
    assert len({table.expression for table in drawn}) == len(drawn) > 1


def test_the_page_stands_alone() -> None:
    text = page([plan_layouts(attention(AMPERE)), plan_layouts(feed_forward(HOPPER))])
    assert text.startswith("<!doctype html>")
    assert not re.search(r'(?:src|href)="(?!#)', text)
    assert "<svg" in text
    for part in ("sm_80", "sm_90a", "proven to be the best", "recompute: it would be computed 32 times"):
        assert part in text
