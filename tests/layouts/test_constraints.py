"""The constraint language: what a problem says, and what it refuses to say."""

from __future__ import annotations

import pytest

from mosaic.layouts.constraints import Problem
from mosaic.layouts.linear import LayoutError


def small() -> Problem:
    problem = Problem()
    problem.choose("memory", ("register", "shared", "device"), "where the scores lie")
    problem.choose("policy", ("FullRow", "Square"))
    problem.require(
        "rows", "agreement", ("policy", "memory"), lambda policy, memory: memory != "register" or policy == "FullRow", "a row is one warp's"
    )
    problem.minimise("bytes", "device memory", ("memory",), lambda memory: 1e-6 if memory == "device" else 0.0)
    problem.minimise("stage", "conversion", ("memory",), lambda memory: 2e-7 if memory == "shared" else 0.0)
    return problem


def test_it_prints_as_it_is_meant() -> None:
    assert str(small()).splitlines() == [
        "choose   memory in {register, shared, device}  (where the scores lie)",
        "choose   policy in {FullRow, Square}",
        "require  agreement: rows(policy, memory): a row is one warp's",
        "minimise device memory: bytes(memory)",
        "minimise conversion: stage(memory)",
    ]


def test_an_assignment_is_judged() -> None:
    problem = small()
    broken = {"memory": "register", "policy": "Square"}
    assert [c.name for c in problem.violated(broken)] == ["rows"]
    assert problem.violated({"memory": "register", "policy": "FullRow"}) == []
    assert problem.seconds({"memory": "device", "policy": "Square"}) == 1e-6
    assert problem.breakdown({"memory": "shared", "policy": "Square"}) == {"device memory": 0.0, "conversion": 2e-7}


def test_parts_of_a_problem() -> None:
    problem = small()
    problem.pin("policy", "Square", "the author wants squares")
    broken = {"memory": "shared", "policy": "FullRow"}
    assert [c.name for c in problem.violated(broken)] == ["policy=Square"]
    assert problem.without({"policy=Square"}).violated(broken) == []
    assert list(problem.only(["rows"]).constraints) == ["rows"]
    assert problem.only(["rows"]).costs == {}
    assert problem.only(["rows"], costs=True).costs == problem.costs
    assert problem.with_domains({"policy": ("Square",)}).variables["policy"].domain == ("Square",)
    assert problem.variables["policy"].domain == ("FullRow", "Square"), "the problem itself is changed"


def test_what_makes_no_sense_is_refused() -> None:
    problem = small()
    with pytest.raises(LayoutError, match="two variables called memory"):
        problem.choose("memory", ("a",))
    with pytest.raises(LayoutError, match="at least one"):
        problem.choose("nothing", ())
    with pytest.raises(LayoutError, match="at least one"):
        problem.choose("twice", ("a", "a"))
    with pytest.raises(LayoutError, match="two called rows"):
        problem.require("rows", "agreement", ("memory",), lambda _: True, "")
    with pytest.raises(LayoutError, match="about absent, which no variable is called"):
        problem.minimise("new", "conversion", ("absent",), lambda _: 0.0)
    with pytest.raises(LayoutError, match="twice"):
        problem.minimise("new", "conversion", ("memory", "memory"), lambda *_: 0.0)
