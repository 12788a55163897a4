"""Causes: every one can be met, and none is named that does not fit what is there."""

from __future__ import annotations

import pytest

from mosaic.targets.causes import CAUSES, Cause, likely_causes
from mosaic.targets.intent import GROUPS, LIMITS


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.symptom)
def test_every_cause_can_be_met(cause: Cause) -> None:
    kind, _, what = cause.symptom.partition(" ")
    assert what in {"missing": GROUPS, "forbidden": GROUPS, "limit": LIMITS}[kind]
    families = {name.replace("*", "_x"): 1 for name in cause.beside[:1]}
    assert cause.text in likely_causes(cause.symptom, families, cause.targets[0] if cause.targets else "sm_90a")


@pytest.mark.parametrize("cause", [c for c in CAUSES if c.beside], ids=lambda cause: cause.symptom)
def test_none_is_named_without_what_goes_with_it(cause: Cause) -> None:
    assert cause.text not in likely_causes(cause.symptom, {"NOP": 1}, "sm_90a")


def test_what_is_there_tells_causes_apart() -> None:
    on_warps, on_vectors = (likely_causes("missing wgmma", {family: 9}, "sm_90a") for family in ("HMMA", "FFMA"))
    assert not set(on_warps) & set(on_vectors)
    assert any("64 rows" in text for text in on_warps)
    assert any("vector units" in text for text in on_vectors)
    (removed,) = likely_causes("missing wgmma", {"STG": 1}, "sm_90a")
    assert "not used" in removed


def test_a_target_without_its_suffix() -> None:
    assert any("only sm_90a" in text for text in likely_causes("missing wgmma", {"HMMA": 1}, "sm_90"))
    assert not any("only sm_90a" in text for text in likely_causes("missing wgmma", {"HMMA": 1}, "sm_90a"))


def test_sentences_can_follow_each_other() -> None:
    for cause in CAUSES:
        assert not cause.text.endswith(".")
        assert cause.text[0].islower() or cause.text.startswith("__")
