"""Recipes of a group that are worth timing: those that the plan's search found legal, and neighbours of the best so far.

first       the cheapest by the cost model, and some that it thinks dearer: it is what is in doubt
neighbours  one tunable, warp policy or memory of a handover changed, or the warps that only load taken away
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mosaic.errors import MosaicError
from mosaic.graph.graph import Node
from mosaic.graph.kernel import Value
from mosaic.layouts.fragments import POLICIES
from mosaic.stitch.cost import fits
from mosaic.stitch.group import Searcher
from mosaic.stitch.inline import Scope
from mosaic.stitch.products import read_products
from mosaic.stitch.recipe import Choice, Group, Recipe
from mosaic.tiles.verify import defects

DEARER: Final = 3.0
"""Times the plan's own cost beyond which the cost model is believed."""

NEAR: Final = 1.5
"""The same of a recipe that differs in one thing: most that cost more no longer fit what stands around them."""

RESIDENTS: Final = (2, 3, 4)
"""Blocks of one processor, between which it changes where one waits."""

SCOPES: Final[tuple[Scope, ...]] = ("shared", "register")


def first(searcher: Searcher, group: Group, count: int) -> list[Recipe]:
    """At most `count` recipes to begin with, the group's own first: two of three by cost, the rest spread over what costs more."""
    nodes = [searcher.graph.node(name) for name in group.nodes]
    searcher.search(nodes)  # from the author's tiles too, not only from those that fit its parts
    found = searcher.tried.get(searcher.structure(nodes), {})
    best = min(found.values(), default=0.0)
    ranked = sorted((recipe for recipe, seconds in found.items() if seconds <= DEARER * best), key=lambda recipe: found[recipe])
    asked = [_as_decided(recipe, group.recipe) for recipe in ranked]
    near = max(1, 2 * count // 3)
    far = asked[near:]
    step = max(1, len(far) // max(1, count - near))
    return list(dict.fromkeys([group.recipe, *asked[:near], *far[::step]]))[:count]


def _as_decided(recipe: Recipe, like: Recipe) -> Recipe:
    """A recipe as the search leaves it, with the layout plan's decisions about another of the same nodes."""
    pairs = zip(recipe.choices, like.choices, strict=True)
    choices = tuple(replace(mine, scope=theirs.scope, policies=theirs.policies) for mine, theirs in pairs)
    return replace(recipe, choices=choices, swizzled=like.swizzled)


def neighbours(searcher: Searcher, group: Group, *, gpu: bool) -> Iterator[Recipe]:
    """Recipes that differ from the group's in one thing, each once; whether they can be built is not looked at."""
    recipe = group.recipe
    nodes = [searcher.graph.node(name) for name in group.nodes]
    if gpu:
        # A specialised kernel deals out all registers that there are to one block.
        yield from (replace(recipe, specialized=False, resident=blocks) for blocks in RESIDENTS if blocks != recipe.resident)
        yield replace(recipe, specialized=not recipe.specialized, resident=0)
        yield replace(recipe, swizzled=not recipe.swizzled)
    # Products first: there is most to gain.
    order = sorted(range(len(nodes)), key=lambda number: not searcher.has_product(nodes[number]))
    for number in order:
        node, choice = nodes[number], recipe.choices[number]
        for changed in _changed(searcher, node, choice, sink=number == len(nodes) - 1, gpu=gpu):
            choices = (*recipe.choices[:number], changed, *recipe.choices[number + 1 :])
            yield replace(recipe, choices=choices)


def _changed(searcher: Searcher, node: Node, choice: Choice, *, sink: bool, gpu: bool) -> Iterator[Choice]:
    assert node.kernel is not None and node.binding is not None
    now = dict(choice.tunables)
    for name, values in node.kernel.tunables.items():
        if name == "threads" and gpu:
            continue  # all of a group's nodes have the same
        for value in values:
            changed: dict[str, Value] = {**now, name: value}
            if value != now.get(name) and node.kernel.is_valid(node.binding, changed):
                yield replace(choice, tunables=tuple(sorted(changed.items())))
    if not gpu:
        return
    if not sink:
        yield from (replace(choice, scope=scope) for scope in SCOPES if scope != choice.scope)
    products = read_products(searcher.library.program(node, now))
    if products:
        policies = choice.policies or tuple(product.policy for product in products)
        for number in range(len(products)):
            for policy in POLICIES:
                if policy != policies[number]:
                    yield replace(choice, policies=(*policies[:number], policy, *policies[number + 1 :]))


def build(searcher: Searcher, group: Group, recipe: Recipe, limit: float = DEARER) -> Group | None:
    """A group of the same nodes by another recipe; None if it can't be built, does not fit, is unsound, or costs `limit` times as much."""
    try:
        built = searcher.build([searcher.graph.node(name) for name in group.nodes], recipe)
        if built.cost.seconds > limit * group.cost.seconds or fits(built.program, searcher.device):
            return None
        if next(defects(built.program), None) is not None:
            return None
    except MosaicError:
        return None
    return built
