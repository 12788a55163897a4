"""How a block of whole rows lies in registers: what norms, softmax and the row reductions share."""

from __future__ import annotations

from typing import Any

import tilelang.language as T

MAX_ROW_REGISTERS = 128
"""Elements of one fragment a thread may hold: row kernels keep about two fragments of them."""


def threads_a_row(block_M: int, threads: int) -> int:
    """How many threads share a row: a warp's 32, or more where the block has more warps than rows."""
    return max(32, threads // block_M)


def row_width(N: int, block_M: int, threads: int) -> int:
    """The width of a fragment that holds rows of N elements: N, rounded up so that a row's threads hold equally many."""
    lanes = threads_a_row(block_M, threads)
    return -(-N // lanes) * lanes


def row_layout(block_M: int, width: int, threads: int, vector: int) -> Any:
    """The `T.Fragment` in which neighbouring lanes hold neighbouring vectors of a row, and a row stays with its threads.

    Left to itself, TileLang deals out elements in row-major order, which has no reduction along
    rows unless the width is a power of two or a multiple of what all threads take at once. Given
    to the loop that loads the rows, this layout spreads from there to the fragments that depend on it.
    `vector` is the most elements a thread may hold in a run.
    """
    lanes = threads_a_row(block_M, threads)
    together = threads // lanes
    while width % (lanes * vector):
        vector //= 2

    def place(i: Any, j: Any) -> tuple[Any, Any]:
        thread = (i % together) * lanes + (j // vector) % lanes
        register = (i // together) * (width // lanes) + (j // (vector * lanes)) * vector + j % vector
        return thread, register

    return T.Fragment((block_M, width), forward_fn=place)


def rows_fit(N: int, block_M: int, threads: int) -> bool:
    """Whether `block_M` rows of N elements fit the registers of `threads` threads, and give each something to hold."""
    return block_M * row_width(N, block_M, threads) <= MAX_ROW_REGISTERS * threads
