"""From a failure to its name; the whole of it is tried by tests/harness/audit, an entry at a time."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from mosaic.harness.correctness import Suite
from mosaic.harness.naming import _idles, forbidden_call, given_case, named
from mosaic.harness.workload import Case

CASES = [Case("odd", "odd", {"M": 3}), Case("given", "given", {"M": 4})]


def unasked() -> Any:
    raise AssertionError("nobody is to be interrogated")


def test_the_given_case_comes_first() -> None:
    assert given_case(CASES).name == "given"
    assert given_case(CASES[:1]).name == "odd"


@pytest.mark.parametrize(
    ("failure", "observed", "kind"),
    [
        (("mismatch", "off"), [("memory_scan", "looked")], "cheat.memory_scan"),
        (("crash", "gone"), [("nonsense", "what")], "crash"),
        (("degenerate_task", "flat"), [("memory_scan", "looked")], "degenerate_task"),
        (("timeout", "late"), [], "timeout"),
    ],
)
def test_what_was_seen_names_a_failure(failure: tuple[str, str], observed: list[tuple[str, str]], kind: str) -> None:
    oracle: Any = None
    assert named(failure, unasked, oracle, CASES, Suite(), observed, ())[0] == kind


def player(runs: list[tuple[float, float]], trace: Any = None, forbid: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(runs=[((4,), *run) for run in runs], trace=trace or {}, definition=SimpleNamespace(forbid=forbid))


@pytest.mark.parametrize(
    ("runs", "idles"),
    [
        ([(0.06, 0.001)] * 4 + [(0.002, 0.001)] * 4, True),
        ([(0.06, 0.059)] * 4 + [(0.002, 0.001)] * 4, False),  # busy: it compiles
        ([(3.0, 0.01)] + [(0.002, 0.001)] * 7, False),  # only the first call
        ([(0.06, 0.001)] * 8, False),  # always slow
        ([(0.06, 0.001)] * 3, False),  # too few to tell
        ([(0.06, math.inf)] * 4 + [(0.002, 0.001)] * 4, False),  # it does not say
    ],
)
def test_calls_that_idle_at_first(runs: list[tuple[float, float]], idles: bool) -> None:
    assert (_idles(player(runs), 3.0) is not None) is idles


def test_calls_that_are_forbidden() -> None:
    trace = {"calls": [{"operator": "aten.mm.default", "place": "a.py:1", "in_handler": False}]}
    found = forbidden_call(player([], trace, ("torch.matmul",)))
    assert found is not None
    assert found[0] == "cheat.vendor_library"
    assert forbidden_call(player([], trace)) is None
