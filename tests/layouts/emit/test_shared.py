"""Steps through shared memory: barriers, rounds, guards."""

from __future__ import annotations

import pytest

from mosaic.layouts.atoms import mma, tile
from mosaic.layouts.emit import emit
from mosaic.layouts.emit.steps import Barrier, Load, Store
from mosaic.layouts.linear import LinearMap
from tests.layouts.emit.family import convert, nvidia_cases, transposed


def test_a_stage_that_nothing_else_uses_needs_one_barrier() -> None:
    source, target, *_ = nvidia_cases()["policies_fp16"]
    for reused, barriers in ((True, 2), (False, 1)):
        function = emit(source, target, source_dtype="float32", target_dtype="float16", arch="sm_90a", name="c", reused=reused)
        assert function.instructions["barrier"] == barriers
        assert isinstance(function.steps[0], Barrier) == reused


def test_a_whole_stage_has_no_guards() -> None:
    source, target, *_ = nvidia_cases()["policies_fp16"]
    function, _ = convert(source, target)
    accesses = [step for step in function.steps if isinstance(step, Store | Load)]
    assert {step.width for step in accesses} == {16}
    assert all(step.guard is None for step in accesses)


@pytest.mark.parametrize("limit", [1024, 3000, 8192])
def test_rounds_hold_a_power_of_two(limit: int) -> None:
    source, target, *_ = nvidia_cases()["policies_fp16"]
    function, outcome = convert(source, target, limit=limit)
    assert function.shared_bytes == 1 << limit.bit_length() - 1
    assert outcome.conflicts == 0


def test_rounds_are_of_registers_where_that_is_possible() -> None:
    # Rows and columns from 16 on are in registers on both sides.
    half = mma("float16", 16)
    source, target = tile(half.c, {"n": 8, "m": 4}), transposed(tile(half.c, {"n": 8, "m": 4}))
    whole, _ = convert(source, target, ("float32", "float32"), kind="shared")
    parts, outcome = convert(source, target, ("float32", "float32"), kind="shared", limit=4096)
    assert parts.instructions["barrier"] == 2 * 64 * 64 * 4 // 4096
    accesses = [step for step in parts.steps if isinstance(step, Store | Load)]
    assert len(accesses) == sum(whole.instructions[name] for name in ("store16", "load16"))
    assert all(step.guard is None for step in accesses)
    assert outcome.conflicts == 0


@pytest.mark.parametrize("limit", [4096, 2048])
def test_whole_warps_wait_where_rounds_are_not_of_registers(limit: int) -> None:
    # What is in the target's registers is in the source's warps: half of them write in one round, the others in another.
    source, target, *_ = nvidia_cases()["policies_fp16"]
    whole, _ = convert(source, target)
    parts, outcome = convert(source, target, limit=limit)
    assert parts.instructions["load16"] == whole.instructions["load16"]
    assert all(step.guard is None for step in parts.steps if isinstance(step, Load))
    guards = [step.guard for step in parts.steps if isinstance(step, Store) and step.guard is not None]
    assert guards
    assert all(len(set(guard[first : first + 32])) == 1 for guard in guards for first in range(0, 128, 32))
    assert outcome.conflicts == 0


def test_every_thread_writes_what_only_it_holds() -> None:
    # The source has 16 lanes of 32: the others hold nothing, and must not write.
    half = LinearMap((("register", 1), ("lane", 4)), (("e", 5),), (16, 1, 2, 4, 8))
    other = LinearMap((("register", 1), ("lane", 4)), (("e", 5),), (1, 2, 4, 8, 16))
    function, _ = convert(half, other, kind="shared")
    (store,) = [step for step in function.steps if isinstance(step, Store)][:1]
    assert store.guard == (1,) * 16 + (0,) * 16
