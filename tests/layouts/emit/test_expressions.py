"""Expressions of a thread's number: evaluated, they are the values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mosaic.layouts.emit.expressions import bit_mask, linear_columns, linear_text, number, of_warp, parity


@given(st.integers(0, 255), st.lists(st.integers(0, 255), min_size=7, max_size=7), st.sampled_from([32, 64, 96, 128]))
def test_linear_text_is_what_it_says(start: int, columns: list[int], threads: int) -> None:
    values = []
    for thread in range(threads):
        value = start
        for bit, column in enumerate(columns):
            value ^= column if thread >> bit & 1 else 0
        values.append(value)
    found = linear_columns(tuple(values))
    assert found == tuple(columns[: (threads - 1).bit_length()])
    text = linear_text(tuple(values), found).replace("u", "")
    assert [eval(text, {"thread": thread}) for thread in range(threads)] == values


def test_what_is_not_linear() -> None:
    assert linear_columns((0, 1, 2, 4)) is None
    assert parity((0, 1, 1, 1)) is None


def test_parity() -> None:
    assert parity((0, 1, 1, 0)) == (3, 0)
    assert parity((1, 1, 0, 0)) == (2, 1)


def test_values_that_all_warps_share() -> None:
    assert of_warp((1, 2, 1, 2), 2) == (1, 2)
    assert of_warp((1, 2, 1, 3), 2) == (1, 2, 1, 3)


def test_numbers() -> None:
    assert number(9) == "9u"
    assert number(10) == "0xau"
    assert bit_mask((1, 0, 1, 1)) == 0b1101
