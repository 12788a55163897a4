"""Which recipes are worth timing: legal ones, the plan's own first, and neighbours that differ in one thing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from mosaic.stitch.plan import Planner
from mosaic.stitch.recipe import Group
from mosaic.targets.target import Target, find
from mosaic.tune.shortlist import NEAR, build, first, neighbours
from tests.stitch.graphs import linear

HOPPER, CPU = find("sm_90a"), find("cpu")


@cache
def planned(target: str) -> tuple[Planner, Group]:
    planner = Planner(linear(2048, 512), find(target))
    (launch,) = planner.plan().launches
    return planner, launch.groups[0]


@pytest.mark.parametrize("target", [HOPPER, CPU], ids=lambda target: target.name)
def test_the_shortlist_begins_with_the_plans_own_and_all_can_be_built(target: Target) -> None:
    planner, group = planned(target.name)
    found = first(planner.searcher, group, 8)
    assert found[0] == group.recipe
    assert len(set(found)) == len(found) == 8
    built = [build(planner.searcher, group, recipe) for recipe in found]
    assert all(made is not None and made.nodes == group.nodes and made.recipe == recipe for made, recipe in zip(built, found, strict=True))


def test_a_shortlist_holds_dearer_ones_too() -> None:
    planner, group = planned("sm_90a")
    costs = [made.cost.seconds for recipe in first(planner.searcher, group, 9) if (made := build(planner.searcher, group, recipe))]
    assert max(costs) > 1.2 * min(costs)


def test_neighbours_differ_in_one_thing() -> None:
    planner, group = planned("sm_90a")
    found = list(neighbours(planner.searcher, group, gpu=True))
    assert len(set(found)) == len(found)
    assert {recipe.resident for recipe in found} >= {2, 3, 4}
    assert {recipe.swizzled for recipe in found} == {True, False}
    for recipe in found:
        changed = [mine != own for mine, own in zip(recipe.choices, group.recipe.choices, strict=True)]
        whole = replace(recipe, choices=group.recipe.choices) != group.recipe
        assert sum(changed) + whole == 1


def test_a_processors_neighbours_are_of_tunables_alone() -> None:
    planner, group = planned("cpu")
    for recipe in neighbours(planner.searcher, group, gpu=False):
        assert (recipe.specialized, recipe.swizzled, recipe.resident) == (
            group.recipe.specialized,
            group.recipe.swizzled,
            group.recipe.resident,
        )
        assert [choice.scope for choice in recipe.choices] == [choice.scope for choice in group.recipe.choices]


def test_what_is_too_dear_or_does_not_fit_is_not_built() -> None:
    planner, group = planned("sm_90a")
    assert build(planner.searcher, group, group.recipe, NEAR) is not None
    assert build(planner.searcher, group, group.recipe, 0.5) is None
    small = Planner(linear(2048, 512), replace(HOPPER, shared_per_block=4096))
    small.searcher.device = replace(HOPPER, shared_per_block=2048)
    assert build(small.searcher, group, group.recipe) is None
