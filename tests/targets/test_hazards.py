"""Which shapes of loops are taken for dangerous, and what becomes of them.

That the dangerous ones really come out wrong, and the others right, is checked on a GPU: test_load.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mosaic.targets.hazards import drop_unsafe_pipelines, specialization_hazard
from tests.targets import programs


@pytest.mark.parametrize(
    "program",
    [
        programs.gemm(),
        programs.sequence(),
        programs.branches(),
        programs.row_norm(),
        programs.nest(outer=1),
        programs.nest(outer=2, inner=0),
        programs.nest(carried=False),
        programs.nest(inner=0),
        programs.nest(N=64),  # the outer loop runs once: nothing is reset that matters
    ],
)
def test_harmless(program: Any) -> None:
    assert specialization_hazard(program) is None


def test_a_loop_that_carries_a_sum_around_a_pipelined_one() -> None:
    assert specialization_hazard(programs.nest()) == (
        "the pipelined loop over k stands in that over n, which updates what was set before it and would reset it"
    )


def test_a_pipelined_loop_that_runs_once() -> None:
    assert specialization_hazard(programs.gemm(K=32)) == "the pipelined loop over k runs once, which has hung"


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_a_buffer_read_before_it_is_refilled_loses_the_pipeline(stages: int) -> None:
    program = programs.refill(stages=stages)
    changed, loops = drop_unsafe_pipelines(program)
    assert loops == (
        "the loop over k is not pipelined: it reads a shared buffer before it refills it, which TileLang's pipelines get wrong",
    )
    assert "num_stages" in program.script()
    assert "num_stages" not in changed.script()
    assert list(changed.params) == list(program.params)


@pytest.mark.parametrize("where", ["before", "after", "kept"])
def test_a_buffer_used_outside_of_its_loop_loses_the_pipeline(where: str) -> None:
    changed, loops = drop_unsafe_pipelines(programs.borrowed(where))
    assert loops == (
        "the loop over k is not pipelined: the shared buffer a that it refills is used outside of it too, "
        "which TileLang's pipelines get wrong",
    )
    assert "num_stages" not in changed.script()


def test_one_stage_has_one_copy_of_the_buffer() -> None:
    assert drop_unsafe_pipelines(programs.refill(stages=1, read_first=False))[1] == ()
    assert drop_unsafe_pipelines(programs.refill(stages=2, read_first=False))[1] != ()


@pytest.mark.parametrize(
    "build",
    [
        *(lambda: programs.refill(stages=0), lambda: programs.borrowed("not at all"), lambda: programs.prologue("in place")),
        *(programs.gemm, programs.sequence, programs.nest, programs.branches, lambda: programs.nest(outer=2)),
    ],
)
def test_other_pipelines_stay_as_they_are(build: Callable[[], Any]) -> None:
    program = build()
    changed, loops = drop_unsafe_pipelines(program)
    assert changed is program
    assert loops == ()
