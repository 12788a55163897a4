"""The interpreter of steps: it finds races, words that nobody wrote, and accesses outside of the stage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.layouts.banks import NVIDIA
from mosaic.layouts.emit.interpret import StepError, interpret
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.steps import Barrier, Load, Pack, Permute, Program, Select, Shuffle, Step, Store, Transpose, Unpack, UnpackWord
from tests.layouts.emit.family import convert, nvidia_cases

ELEMENTS: list[list[int | None]] = [[32 * register + lane for lane in range(32)] for register in range(2)]
LANES = tuple(range(32))


def run(*steps: Step, slots: int = 1, shared: int = 0, casts_first: bool = True) -> list[int | None]:
    return interpret(Program(steps, 32, 32, slots, casts_first, shared), ELEMENTS, NVIDIA).target[0]


def test_each_step() -> None:
    assert run(Pack(0, (1,)), Unpack(0, (0, 0))) == ELEMENTS[1]
    assert run(Pack(0, (0,)), Shuffle(1, 0, tuple(lane ^ 5 for lane in LANES)), Unpack(0, (1, 0))) == [lane ^ 5 for lane in LANES]
    both: list[Step] = [Pack(0, (0,)), Pack(1, (1,)), Select(2, tuple(lane & 1 for lane in LANES), 1, 0), Unpack(0, (2, 0))]
    assert run(*both) == [lane + 32 * (lane & 1) for lane in LANES]
    swapped: list[Step] = [Pack(0, (0, 1)), Permute(1, 0, 0, (0x1032,) * 32), UnpackWord(0, 1)]
    assert run(*swapped, slots=2) == ELEMENTS[1]


def test_half_an_element_is_none() -> None:
    assert run(Pack(0, (0, 1)), Permute(1, 0, 0, (0x3212,) * 32), Unpack(0, (1, 0)), slots=2) == [None] * 32


def test_transpose_is_that_of_eight_by_eight() -> None:
    # Lane l holds the columns 2·(l % 4) and the next of row l // 4; transposed, the same of the other matrix.
    outcome = interpret(Program((Pack(0, (0, 1)), Transpose(1, 0), UnpackWord(0, 1)), 32, 32, 2, True), ELEMENTS, NVIDIA)
    for lane in LANES:
        for slot in (0, 1):
            row, column = 2 * (lane % 4) + slot, lane // 4
            assert outcome.target[slot][lane] == ELEMENTS[column % 2][4 * row + column // 2]


def test_words_are_written_once_and_before_they_are_read() -> None:
    with pytest.raises(StepError, match="read before"):
        run(Unpack(0, (0, 0)))
    with pytest.raises(StepError, match="written twice"):
        run(Pack(0, (0,)), Pack(0, (1,)))
    with pytest.raises(StepError, match="source's type"):
        run(Pack(0, (0,)), UnpackWord(0, 0), casts_first=False)


def test_races_are_found() -> None:
    store, load = Store((0,), 4, tuple(4 * lane for lane in LANES)), Load((1,), 4, tuple(4 * (lane ^ 1) for lane in LANES))
    assert run(Pack(0, (0,)), store, Barrier(), load, Unpack(0, (1, 0)), shared=128) == [lane ^ 1 for lane in LANES]
    with pytest.raises(StepError, match="without a barrier"):
        run(Pack(0, (0,)), store, load, Unpack(0, (1, 0)), shared=128)
    with pytest.raises(StepError, match="without a barrier"):
        run(Pack(0, (0,)), store, Barrier(), load, Pack(2, (1,)), Store((2,), 4, store.address), shared=128)
    with pytest.raises(StepError, match="outside of the stage"):
        run(Pack(0, (0,)), store, shared=64)
    with pytest.raises(StepError, match="unaligned"):
        run(Pack(0, (0,)), Store((0,), 4, tuple(4 * lane + 2 for lane in LANES)), shared=256)


def test_conflicts_are_counted() -> None:
    def conflicts(stride: int) -> int:
        steps = (Pack(0, (0,)), Store((0,), 4, tuple(stride * lane for lane in LANES)))
        return interpret(Program(steps, 32, 32, 1, True, 32 * stride), ELEMENTS, NVIDIA).conflicts

    assert [conflicts(4), conflicts(8), conflicts(16), conflicts(128), conflicts(132)] == [0, 1, 3, 31, 0]


@pytest.mark.parametrize("name", ["a_fp8", "policies_fp16", "at_fp16"])
def test_no_step_can_be_left_out(name: str) -> None:
    source, target, *dtypes = nvidia_cases()[name]
    function, _ = convert(source, target, (dtypes[0], dtypes[1]))
    elements, wanted = Places.of(source, 32).elements, Places.of(target, 32).elements
    # The first barrier guards what was in the stage before, which nobody reads here.
    kept = [at for at, step in enumerate(function.steps) if not (isinstance(step, Barrier) and at == 0)]
    for missing in kept:
        steps = (*function.steps[:missing], *function.steps[missing + 1 :])
        try:
            found = interpret(replace(function.program, steps=steps), elements, NVIDIA).target
        except StepError:
            continue
        assert any(list(found.get(register, ())) != list(row) for register, row in enumerate(wanted)), function.steps[missing]
