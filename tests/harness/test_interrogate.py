"""Patterns of right and wrong calls, and the ways of cheating that they are the marks of."""

from __future__ import annotations

import pytest
import torch

from mosaic.harness.bound import Bound
from mosaic.harness.comparing import Finding
from mosaic.harness.interrogate import CALLS, _broadcasts, _is_narrower, _is_right_on_ordinary, _named, _Run, _Story
from mosaic.harness.oracle import Inputs, Question
from mosaic.harness.player import Returned
from mosaic.harness.wire import Place

WRONG = Finding("case", "y", "normal", 0, "mismatch", "off")


def story(pattern: str, *, late: str = "", observed: tuple[tuple[str, str], ...] = ()) -> _Story:
    """r: right; w: wrong; s: wrong, and what the first call gave."""
    runs = []
    for index, letter in enumerate(pattern):
        content = bytes(16 * [0 if letter == "s" else index]) + bytes(16)
        where = Place("y", "uint8", (32,), 0)
        question = Question(Inputs({}, "normal", "key", ()), {"y": Bound(torch.zeros(1), torch.zeros(1), "float32", {})})
        bad = None if letter == "r" else WRONG
        runs.append(_Run(question, Returned({"y": (where, content)}, (), (), ()), bad, 0 if letter == "s" else None))
    return _Story(runs, late, observed)


@pytest.mark.parametrize(
    ("pattern", "hints", "cheat"),
    [
        ("rrsrrrrr", [], "cached_by_pointer"),
        ("rrrsrrrr", [], "cached_by_content"),
        ("rsssssss", [], "replayed_last_call"),
        ("rsssssss", ["stale_graph_replay"], "stale_graph_replay"),
        ("rrrrwwww", [], "counted_calls"),
        ("rrrrssss", [], "counted_calls"),
        ("wsssssss", [], "import_time_work"),
        ("wsssssss", ["reproduced_seed"], "reproduced_seed"),
        ("wwwwwwww", ["reproduced_seed"], None),
        ("rrrrrrrr", ["reproduced_seed"], None),
        ("rrwrrrrr", [], None),
        ("wrrrrrrr", [], None),
    ],
)
def test_patterns(pattern: str, hints: list[str], cheat: str | None) -> None:
    assert len(pattern) == CALLS
    made = story(pattern)
    if pattern == "wsssssss":
        made.runs[0].returned.outputs["y"][0]  # the first answer is not flat
        made.runs[0] = _Run(
            made.runs[0].question, Returned({"y": (Place("y", "uint8", (32,), 0), bytes(range(32)))}, (), (), ()), WRONG, None
        )
    found = _named(made, hints)
    assert (found and found[0]) == cheat


@pytest.mark.parametrize(
    ("pattern", "right"),
    [("rrrrrrrr", True), ("rrrwrrrr", True), ("rrrsrrrr", False), ("rrwrrrrr", False), ("wwwwwwww", False), ("rrr", False)],
)
def test_one_changed_element_is_no_ordinary_number(pattern: str, right: bool) -> None:
    """It is doubled, and may be beyond what ordinary numbers reach: what is skipped for those must not be told by it."""
    assert _is_right_on_ordinary(story(pattern)) is right


@pytest.mark.parametrize(
    ("late", "observed", "cheat"),
    [("time", (("python_threads", "x"),), "python_threads"), ("time", (), "native_threads"), ("calls", (), "one_launch_for_all")],
)
def test_outputs_that_become_right(late: str, observed: tuple[tuple[str, str], ...], cheat: str) -> None:
    found = _named(story("w" * CALLS, late=late, observed=observed), [])
    assert found is not None
    assert found[0] == cheat


@pytest.mark.parametrize(
    ("found", "wanted", "said"),
    [((), (8,), True), ((1, 4), (8, 4), True), ((4,), (8, 4), True), ((8,), (8, 4), False), ((2, 8, 4), (8, 4), False)],
)
def test_shapes_that_broadcast(found: tuple[int, ...], wanted: tuple[int, ...], said: bool) -> None:
    assert _broadcasts(found, wanted) is said


@pytest.mark.parametrize(
    ("found", "wanted", "said"),
    [
        ("float16", "float32", True),
        ("float64", "float32", False),
        ("int32", "float64", False),
        ("int32", "int64", True),
        ("nonsense", "float32", False),
    ],
)
def test_dtypes_that_are_promoted(found: str, wanted: str, said: bool) -> None:
    assert _is_narrower(found, wanted) is said
