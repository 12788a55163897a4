from __future__ import annotations

import re

from mosaic.evidence.categories import FAILURES
from mosaic.harness.cheats import CHEATS


def test_there_are_46_each_with_a_number_of_its_own() -> None:
    assert [cheat.number for cheat in CHEATS.values()] == list(range(1, 47))
    assert all(re.fullmatch(r"[a-z_]+", name) and cheat.meaning for name, cheat in CHEATS.items())


def test_what_they_show_as_are_failure_classes() -> None:
    assert {kind for cheat in CHEATS.values() for kind in cheat.kinds} <= set(FAILURES)


def test_numbers_that_others_rely_on() -> None:
    assert [CHEATS[name].number for name in ("other_stream", "forged_result", "input_mutated", "overridden_comparison")] == [1, 9, 24, 46]
