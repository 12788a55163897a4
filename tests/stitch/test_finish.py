"""What a recipe says of a whole program is in what is lowered: warps that only load, registers, swizzles."""

from __future__ import annotations

import re
from functools import cache

import pytest

from mosaic.stitch.finish import NO_SPECIALIZATION, PASS_CONFIGS, finished, unspecialized, with_residents
from mosaic.stitch.library import Library
from mosaic.stitch.recipe import Choice, Recipe
from mosaic.targets.lower import lower
from mosaic.targets.target import find
from mosaic.tiles.program import TileProgram
from tests.stitch.graphs import linear

HOPPER = find("sm_90a")
PLAIN = Recipe((Choice(()),), 128)


@cache
def product() -> TileProgram:
    graph = linear(256, 256)
    return Library(graph).program(graph.node("product"), {"block_M": 64, "block_N": 64, "block_K": 64, "threads": 128, "num_stages": 2})


def bounds(text: str) -> tuple[int, int]:
    found = re.search(r"__launch_bounds__\((\d+), (\d+)\)", text)
    assert found is not None
    return int(found[1]), int(found[2])


def test_a_recipe_that_says_nothing_changes_nothing() -> None:
    assert finished(product(), PLAIN) is product()


@pytest.mark.parametrize(("specialized", "resident"), [(True, 0), (False, 0), (False, 3)])
def test_warps_and_registers_are_as_the_recipe_says(specialized: bool, resident: int) -> None:
    made = finished(product(), Recipe(PLAIN.choices, 128, specialized, resident=resident))
    lowered = lower(made.func, HOPPER, binary=False)
    assert lowered.warp_specialized == specialized
    threads, blocks = bounds(lowered.source)
    assert (threads, blocks) == (256 if specialized else 128, resident or 1)


def test_what_a_kernel_asks_for_itself_stays() -> None:
    asked = product().func.with_attr(PASS_CONFIGS, {"tl.disable_tma_lower": True})
    assert dict(unspecialized(asked).attrs[PASS_CONFIGS]) == {"tl.disable_tma_lower": True, NO_SPECIALIZATION: True}


def test_the_body_is_the_same_below_the_bound() -> None:
    func = product().func
    assert len(with_residents(func, 2).script()) > len(func.script())
    assert [str(func.buffer_map[p].name) for p in with_residents(func, 2).params] == [str(func.buffer_map[p].name) for p in func.params]
