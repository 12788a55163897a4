"""Recipes are keys: equal where the same program comes of them."""

from __future__ import annotations

from dataclasses import replace

from mosaic.stitch.recipe import Choice, Recipe


def test_what_makes_recipes_differ() -> None:
    plain = Choice((("block_M", 64),))
    recipe = Recipe((plain, plain), 128)
    assert recipe == Recipe((Choice((("block_M", 64),)), plain), 128)
    assert hash(recipe) == hash(replace(recipe))
    others = [replace(plain, scope="register"), replace(plain, depth=1), replace(plain, coarse=(2,)), replace(plain, policies=("Square",))]
    assert len({Recipe((other, plain), 128) for other in [plain, *others]}) == 5
