"""Names that differ in numbers, and sequences that recur."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.report.repeats import Stretch, merged, pattern, stretches


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["layer0.query", "layer1.query", "layer2.query"], "layer{0..2}.query"),
        (["layer3.query"], "layer3.query"),
        (["layer0.x", "layer1.x"], "layer{0, 1}.x"),
        (["a1_b", "a5_b", "a9_b"], "a{1, 5, 9}_b"),
        (["a1", "a3", "a5", "a7", "a9"], "a{1, … 9}"),
        (["l0 to l1", "l1 to l2", "l2 to l3"], "l{0..2} to l{1..3}"),
        (["layer0.w2", "layer1.w2"], "layer{0, 1}.w2"),
        (["embeddings", "embeddings"], "embeddings"),
    ],
)
def test_one_name_for_many(texts: list[str], expected: str) -> None:
    assert len({pattern(text) for text in texts}) == 1
    assert merged(texts) == expected


def test_numbers_that_belong_to_no_name_tell_apart() -> None:
    assert pattern("layer0.x takes 4,096 bytes") == pattern("layer7.x takes 4,096 bytes")
    assert pattern("layer0.x takes 4,096 bytes") != pattern("layer0.x takes 8,192 bytes")


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ("", []),
        ("abcdbcdbcde", [Stretch(1, 3, 3)]),
        ("abab", []),
        ("ababab", [Stretch(0, 2, 3)]),
        ("aaaa", [Stretch(0, 1, 4)]),
        ("aaaxbcbcbcy", [Stretch(0, 1, 3), Stretch(4, 2, 3)]),
        ("abcabcabcabd", [Stretch(0, 3, 3)]),
    ],
)
def test_what_recurs(items: str, expected: list[Stretch]) -> None:
    assert stretches(items) == expected


@given(st.lists(st.integers(0, 2), max_size=24))
def test_stretches_really_recur_and_do_not_overlap(items: list[int]) -> None:
    position = 0
    for stretch in stretches(items):
        assert stretch.start >= position
        assert stretch.times >= 3
        first = items[stretch.start : stretch.start + stretch.length]
        assert items[stretch.start : stretch.stop] == first * stretch.times
        position = stretch.stop
    assert position <= len(items)
