"""Live ranges against running the statements one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mosaic.tiles.liveness import Touch, live_ranges, peak_bytes


def test_a_straight_line() -> None:
    touches = [Touch(1, 0, ()), Touch(1, 2, ()), Touch(2, 3, ())]
    assert live_ranges(touches, {}) == {1: (0, 2), 2: (3, 3)}


def test_what_a_loop_carries_lives_throughout_it() -> None:
    # 0: acc = 0    loop 1..5:  2: tile = ...   3: acc += tile     6: out = acc
    touches = [Touch(1, 0, ()), Touch(2, 2, (9,)), Touch(1, 3, (9,)), Touch(2, 3, (9,)), Touch(1, 6, ())]
    assert live_ranges(touches, {9: (1, 5)}) == {1: (0, 6), 2: (2, 3)}
    assert live_ranges([Touch(1, 0, ()), Touch(1, 3, (9,))], {9: (1, 5)}) == {1: (0, 5)}


def test_peak() -> None:
    assert peak_bytes({1: (0, 2), 2: (3, 4), 3: (4, 5)}, {1: 8, 2: 4, 3: 6}) == 10
    assert peak_bytes({1: (0, 2), 2: (3, 4)}, {1: 8, 2: 4}) == 8
    assert peak_bytes({}, {1: 8}) == 0


@given(
    st.dictionaries(st.integers(0, 8), st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda p: (min(p), max(p))), max_size=6),
    st.dictionaries(st.integers(0, 8), st.integers(1, 64), max_size=6),
)
def test_peak_is_the_most_at_any_position(ranges: dict[int, tuple[int, int]], sizes: dict[int, int]) -> None:
    alive = [sum(size for key, size in sizes.items() if key in ranges and ranges[key][0] <= at <= ranges[key][1]) for at in range(14)]
    assert peak_bytes(ranges, sizes) == max(alive)
