"""Selections and permutations of bytes: what every thread gets, and by how many steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mosaic.layouts.banks import NVIDIA
from mosaic.layouts.emit.interpret import interpret
from mosaic.layouts.emit.registers import Builder, Wanted
from mosaic.layouts.emit.steps import Part, Permute, Select, UnpackWord


def make(element_bytes: int, words: int) -> tuple[Builder, list[int], list[list[int | None]]]:
    """A builder with words of registers, whose elements are 1000 · register + thread."""
    builder = Builder(32, 32, element_bytes, casts_first=True)
    slots = builder.slots
    made = [builder.pack(tuple(range(at * slots, (at + 1) * slots))) for at in range(words)]
    return builder, made, [[1000 * register + thread for thread in range(32)] for register in range(words * slots)]


@given(st.lists(st.integers(0, 4), min_size=32, max_size=32))
def test_select_takes_one_step_less_than_there_are_words(choices: list[int]) -> None:
    builder, words, elements = make(4, 5)
    word = builder.select([words[choice] for choice in choices])
    builder.unpack([tuple((word, 0) for _ in range(32))])
    found = interpret(builder.program(0), elements, NVIDIA).target[0]
    assert found == [1000 * choice + thread for thread, choice in enumerate(choices)]
    assert sum(isinstance(step, Select) for step in builder.steps) == len(set(choices)) - 1


def test_selections_are_shared() -> None:
    # Eight words, each thread turned by its lane's lowest three bits: three stages of eight, not eight times seven.
    builder, words, _ = make(4, 8)
    for number in range(8):
        builder.select([words[number ^ thread & 7] for thread in range(32)])
    assert sum(isinstance(step, Select) for step in builder.steps) == 24


def test_threads_that_do_not_care_cost_nothing() -> None:
    builder, words, _ = make(4, 2)
    assert builder.select([words[1] if thread % 3 == 0 else None for thread in range(32)]) == words[1]


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=32, max_size=32), min_size=4, max_size=4))
def test_gather_puts_any_bytes_together(wanted: list[list[Part]]) -> None:
    builder, words, elements = make(1, 4)
    slots: list[Wanted] = [tuple((words[word], slot) for word, slot in row) for row in wanted]
    builder.unpack(slots)
    found = interpret(builder.program(0), elements, NVIDIA).target
    for register, row in enumerate(wanted):
        assert found[register] == [1000 * (4 * word + slot) + thread for thread, (word, slot) in enumerate(row)]


def test_two_words_are_put_together_by_one_permutation() -> None:
    builder, words, _ = make(2, 2)
    builder.gather([((words[0], 1),) * 32, ((words[1], 0),) * 32])
    assert [type(step) for step in builder.steps[2:]] == [Permute]


def test_whole_words_are_unpacked_whole() -> None:
    builder, words, _ = make(2, 1)
    builder.unpack([((words[0], 0),) * 32, ((words[0], 1),) * 32])
    assert builder.steps[1:] == [UnpackWord(0, words[0])]


def test_the_same_word_is_made_once() -> None:
    builder, words, _ = make(2, 2)
    choices = [words[thread & 1] for thread in range(32)]
    assert builder.select(choices) == builder.select(choices)
    assert builder.pack((0, 1)) == words[0]
