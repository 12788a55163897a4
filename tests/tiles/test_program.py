"""What follows from a program's records: sizes, counts, ranges, and looking things up."""

from __future__ import annotations

import pytest

from mosaic.tiles.affine import Var
from mosaic.tiles.program import Loop, Param, element_bytes
from mosaic.tiles.read import read
from tests.tiles import foreign_gemm


def test_sizes_of_a_pipelined_product() -> None:
    program = read(foreign_gemm.swizzled(70, 45, 40))
    assert (program.blocks, program.thread_count, program.threads) == (6, 128, (128, 1, 1))
    a, b, acc = program.buffers
    # what a pipeline of two stages loads by a copy is there twice; what is loaded element by element, once
    assert (a.bytes, b.bytes, acc.bytes) == (2 * 32 * 16 * 2, 16 * 32 * 2, 32 * 32 * 4)
    assert program.shared_bytes == a.bytes + b.bytes
    assert (a.pipelined, acc.pipelined) == (True, True)
    assert program.work == 6 * 3 * 2 * 32 * 32 * 16
    assert program.param("A").bytes == 70 * 40 * 2
    assert Param("x", (4, "n"), "float16", "read").bytes is None


def test_ranges() -> None:
    program = read(foreign_gemm.swizzled(70, 45, 40))
    (read_of_a,) = program.accesses_of("A")
    names = {v.name: span for v, span in program.ranges(read_of_a.loops).items()}
    assert names == {"bx": (0, 1), "by": (0, 2), "k": (0, 2)}
    assert program.ranges((Loop(Var(1, "n"), "n", "serial"),)) == program.ranges()


def test_accesses_by_mode() -> None:
    program = read(foreign_gemm.split_k(50, 40, 64))
    assert [a.mode for a in program.accesses_of("C")] == ["update"]
    assert program.accesses_of("C", "write") == ()
    assert len(program.accesses_of("A", "read", "write")) == 1
    assert program.accesses_of("nobody") == ()


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("bool", 1), ("int4", 1), ("float32x4", 4), ("handle", 1), ("uint64", 8)])
def test_bytes_of_one_element(dtype: str, size: int) -> None:
    assert element_bytes(dtype) == size
