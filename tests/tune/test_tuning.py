"""What tuning found, as text and back; damage is told."""

from __future__ import annotations

import json

import pytest

from mosaic.errors import InputError
from mosaic.stitch.recipe import Choice, Recipe
from mosaic.tune.tuning import FORMAT, Trial, Tuned, Tuning, from_json

SLOW = Recipe(
    (Choice((("block_M", 64), ("threads", 128)), 1, "register", (), ("FullRow",)), Choice((("block_M", 64),), coarse=(2, 1))), 128
)
FAST = Recipe(SLOW.choices, 256, specialized=False, swizzled=True, resident=2)
TUNING = Tuning(
    "a card",
    (
        Tuned((("a", "b"), ("c",)), (Trial(SLOW, 2e-6, (3e-6, 4e-6, 9e-6)), Trial(FAST, 3e-6, (2e-6,), confirmed=True)), FAST, apart=True),
        Tuned((("d",),), (Trial(SLOW, 2e-6, (), "it never ended"),), SLOW),
    ),
)


def test_text_keeps_all_of_it() -> None:
    assert from_json(TUNING.to_json()) == TUNING


def test_seconds_are_the_median_of_what_was_taken() -> None:
    joined, alone = TUNING.launches
    assert joined.trials[0].seconds == 4e-6
    assert joined.seconds == 2e-6
    assert alone.seconds == float("inf")


def _changed(**fields: object) -> str:
    return json.dumps({**json.loads(TUNING.to_json()), **fields})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "damaged"),
        (TUNING.to_json()[:-40], "damaged"),
        ("[]", "damaged"),
        (_changed(format="other"), f"not {FORMAT} 1"),
        (_changed(version=2), "of format mosaic-tuning 2"),
        (_changed(launches=[{"nodes": [["a"]]}]), "damaged"),
        (TUNING.to_json().replace('"register"', '"elsewhere"'), "damaged"),
        (TUNING.to_json().replace('"FullRow"', '"FullHouse"'), "damaged"),
    ],
)
def test_damage_is_told_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_json(text, "tuning.json")
