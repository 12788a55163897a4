"""How a block of whole rows lies in registers."""

from __future__ import annotations

import pytest
from tvm import arith, tirx

from mosaic.kernels.rows import MAX_ROW_REGISTERS, row_layout, row_width, rows_fit, threads_a_row


@pytest.mark.parametrize(("N", "block_M", "threads"), [(384, 16, 128), (384, 4, 256), (97, 2, 256), (1, 64, 128), (131, 1, 128)])
def test_every_element_has_one_place(N: int, block_M: int, threads: int) -> None:
    width = row_width(N, block_M, threads)
    assert N <= width < N + threads_a_row(block_M, threads)
    layout = row_layout(block_M, width, threads, 8)
    i, j = layout.get_forward_vars()
    parts = (layout.forward_thread, layout.forward_index[0])
    simplify, substitute = arith.Analyzer().simplify, tirx.stmt_functor.substitute
    places: set[tuple[int, ...]] = set()
    owners: dict[int, set[int]] = {}
    for row in range(block_M):
        for column in range(0, width, 1 if width <= 256 else 37):
            at = {i: tirx.IntImm("int32", row), j: tirx.IntImm("int32", column)}
            place = tuple(int(simplify(substitute(part, at))) for part in parts)
            assert place not in places
            places.add(place)
            owners.setdefault(row, set()).add(place[0])
            assert 0 <= place[0] < threads
            assert 0 <= place[1] < block_M * width // threads
    assert all(max(own) - min(own) < threads_a_row(block_M, threads) for own in owners.values())


def test_what_fits() -> None:
    assert rows_fit(384, 32, 128)
    assert not rows_fit(384, 64, 128)
    assert rows_fit(384, 64, 256)
    assert rows_fit(MAX_ROW_REGISTERS * 128, 1, 128)
    assert not rows_fit(MAX_ROW_REGISTERS * 128 + 1, 1, 128)
