"""Live ranges against running the statements one by one."""

from __future__ import annotations

from typing import Any

import pytest
import tilelang.language as T
import torch
from hypothesis import given
from hypothesis import strategies as st

from mosaic.stitch.share import share, shareable
from mosaic.targets.cpu import compile_cpu
from mosaic.tiles.liveness import Touch, live_ranges, peak_bytes
from mosaic.tiles.read import read


def test_a_straight_line() -> None:
    touches = [Touch(1, 0, ()), Touch(1, 2, ()), Touch(2, 3, ())]
    assert live_ranges(touches, {}) == {1: (0, 2), 2: (3, 3)}


def test_what_a_loop_carries_lives_throughout_it() -> None:
    # 0: acc = 0    loop 1..5:  2: tile = ...   3: acc += tile     6: out = acc
    touches = [Touch(1, 0, ()), Touch(2, 2, (9,), fresh=True), Touch(1, 3, (9,)), Touch(2, 3, (9,)), Touch(1, 6, ())]
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


def test_what_a_turn_may_leave_to_the_next_lives_throughout_the_loop() -> None:
    spans = {9: (1, 5), 8: (0, 7)}
    assert live_ranges([Touch(1, 2, (9,)), Touch(1, 3, (9,))], spans) == {1: (1, 5)}
    assert live_ranges([Touch(1, 2, (8, 9)), Touch(1, 3, (8, 9))], spans) == {1: (0, 7)}
    assert live_ranges([Touch(1, 2, (9,), fresh=True), Touch(1, 3, (9,))], spans) == {1: (2, 3)}
    # overwritten only under a condition, and read in any case
    assert live_ranges([Touch(1, 2, (9,), fresh=True, arms=(4,)), Touch(1, 3, (9,))], spans) == {1: (1, 5)}
    assert live_ranges([Touch(1, 2, (9,), fresh=True, arms=(4,)), Touch(1, 3, (9,), arms=(4, 6))], spans) == {1: (2, 3)}
    assert live_ranges([Touch(1, 2, (9,), fresh=True, arms=(4,)), Touch(1, 3, (9,), arms=(6,))], spans) == {1: (1, 5)}


def carrying(*, first: bool) -> Any:
    """A state that grows from turn to turn, and a tile that comes after it in each."""

    @T.prim_func
    def main(A: T.Tensor((64, 32), "float32"), C: T.Tensor((64, 32), "float32"), D: T.Tensor((64, 32), "float32")) -> None:
        with T.Kernel(1, threads=32):
            state = T.alloc_shared((16, 32), "float32")
            late = T.alloc_shared((16, 32), "float32")
            for k in T.serial(4):
                if first:
                    if k == 0:
                        T.clear(state)
                else:
                    T.clear(state)
                for i, j in T.Parallel(16, 32):
                    state[i, j] += A[k * 16 + i, j]
                T.copy(state, C[k * 16, 0])
                T.copy(A[k * 16, 0], late)
                T.copy(late, D[k * 16, 0])

    return main


def test_what_overwrites_a_buffer_is_read_off_the_program() -> None:
    assert shareable(read(carrying(first=True))) == {}
    assert len(shareable(read(carrying(first=False)))) == 1


def test_a_state_is_not_shared() -> None:
    """Without liveness across turns, `late` took the place of `state`, and the second turn found it there."""
    func = carrying(first=True)
    rows = torch.randn(64, 32)
    out, copied = torch.full((64, 32), torch.nan), torch.full((64, 32), torch.nan)
    compile_cpu(share(read(func)), poison=True)(rows, out, copied)
    assert torch.allclose(out, rows.view(4, 16, 32).cumsum(0).view(64, 32), atol=1e-5)
    assert torch.equal(copied, rows)


def partly(kind: str) -> Any:
    @T.prim_func
    def main(A: T.Tensor((64, 32), "float32"), C: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(1, threads=32):
            tile = T.alloc_fragment((16, 32), "float32")
            total = T.alloc_fragment((16,), "float32")
            for k in T.serial(4):
                if kind == "element":
                    for i, j in T.Parallel(16, 32):
                        tile[i, j] = A[k * 16 + i, j]
                elif kind == "half":
                    for i, j in T.Parallel(8, 32):
                        tile[i, j] = A[k * 16 + i, j]
                elif kind == "gaps":
                    for i, j in T.Parallel(16, 16):
                        tile[i, 2 * j] = A[k * 16 + i, j]
                else:
                    T.copy(A[k * 16, 0], tile)
                T.reduce_sum(tile, total, dim=1, clear=kind != "adds")
                T.copy(total, C[k * 16])

    return main


@pytest.mark.parametrize(("kind", "carried"), [("copy", []), ("element", []), ("half", ["tile"]), ("gaps", ["tile"]), ("adds", ["total"])])
def test_only_a_whole_overwrite_is_fresh(kind: str, carried: list[str]) -> None:
    program = read(partly(kind))
    turn = min(low for low, _ in program.live.values()), max(high for _, high in program.live.values())
    assert [b.name for b in program.buffers if program.live[b.key] == turn] == carried
