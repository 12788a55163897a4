"""Taking kernels apart and putting them together; what has no such frame is refused in a sentence."""

from __future__ import annotations

import pytest
import tilelang.language as T
from tvm.ir import structural_equal

from mosaic.errors import ReadError
from mosaic.tiles.anatomy import assemble, dissect, kernel_name, sequence, statements
from tests.stitch.parts import mapped, staged


@pytest.mark.parametrize("func", [mapped(50, 70), staged(33, 64), staged(33, 64, scope="register")], ids=["mapped", "shared", "register"])
def test_apart_and_together(func: object) -> None:
    parts = dissect(func)
    again = assemble(
        parts,
        params=[(p, parts.func.buffer_map[p]) for p in parts.func.params],
        body=parts.body,
        allocations=parts.allocations,
        annotations=dict(parts.block.annotations),
    )
    assert structural_equal(func, again)
    assert parts.threads == (32, 1, 1)
    assert len(parts.grid) == 2
    assert kernel_name(again) == "main"


def test_several_launches() -> None:
    @T.prim_func
    def twice(x: T.Tensor((32,), "float32")) -> None:
        with T.Kernel(1, threads=32):
            for i in T.Parallel(32):
                x[i] = 1.0
        with T.Kernel(1, threads=32):
            for i in T.Parallel(32):
                x[i] = x[i] + 1.0

    with pytest.raises(ReadError, match=r"'twice' has .*launch"):
        dissect(twice)


def test_no_launch() -> None:
    @T.prim_func
    def bare(x: T.Tensor((32,), "float32")) -> None:
        for i in range(32):
            x[i] = 1.0

    with pytest.raises(ReadError, match="'bare'"):
        dissect(bare)


def test_sequences() -> None:
    parts = dissect(mapped(8, 8))
    assert len(statements(sequence(parts.body))) == len(parts.body)
    assert len(statements(sequence([]))) == 1
