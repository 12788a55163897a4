"""Loops over one fragment that TileLang would cut short are found; those that it would not are left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
import tilelang
import tilelang.language as T
from tvm.target import Target

from mosaic.tiles.extents import loops_cut_short

N: Final = 256
SMALL: Final = 100


def element_wise() -> Any:
    @T.prim_func
    def main(A: T.Tensor((N,), "float32"), C: T.Tensor((N,), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((N,), "float32")
            for i in T.Parallel(SMALL):
                f[i] = A[i]
            for i in T.Parallel(N):
                C[i] = f[i] + 1.0

    return main


def copied() -> Any:
    @T.prim_func
    def main(A: T.Tensor((N,), "float32"), C: T.Tensor((N,), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((N,), "float32")
            T.copy(A, f)
            for i in T.Parallel(SMALL):
                f[i] = f[i] * 2.0
            T.copy(f, C)

    return main


def copied_in_part() -> Any:
    @T.prim_func
    def main(A: T.Tensor((N,), "float32"), C: T.Tensor((N,), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((N,), "float32")
            T.clear(f)
            T.copy(A[0:SMALL], f[0:SMALL])
            for i in T.Parallel(N):
                C[i] = f[i]

    return main


def halves() -> Any:
    @T.prim_func
    def main(A: T.Tensor((N,), "float32"), C: T.Tensor((N,), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((N,), "float32")
            for i in T.Parallel(N // 2):
                f[i] = A[i]
            for i in T.Parallel(N // 2):
                f[i + N // 2] = A[i + N // 2]
            T.copy(f, C)

    return main


def by_way_of_another() -> Any:
    """The product's own fragment is safe, but shared memory passes no layout on."""

    @T.prim_func
    def main(A: T.Tensor((128, 64), "float16"), C: T.Tensor((128, 128), "float32")) -> None:
        with T.Kernel(1, threads=128):
            a = T.alloc_shared((128, 64), "float16")
            s = T.alloc_shared((128, 128), "float32")
            acc = T.alloc_fragment((128, 128), "float32")
            f = T.alloc_fragment((128, 128), "float32")
            T.copy(A, a)
            T.clear(acc)
            T.gemm(a, a, acc, transpose_B=True)
            T.copy(acc, s)
            T.copy(s, f)
            for i, j in T.Parallel(128, SMALL):
                f[i, j] = f[i, j] * 2.0
            T.copy(f, C)

    return main


CUT: Final = (element_wise, copied, copied_in_part, halves, by_way_of_another)


@pytest.mark.parametrize("make", CUT, ids=lambda make: make.__name__)
def test_loops_that_would_be_cut_short_are_found(make: Callable[[], Any]) -> None:
    (reason,) = loops_cut_short(make())
    assert reason.startswith("loops over the fragment f go through ")
    assert "TileLang would stop all of them after" in reason


def test_upstream_still_cuts_them_short() -> None:
    """The copy of 256 elements is done by the threads of the loop over 100. Where this fails, `extents.py` can go."""
    with Target({"kind": "cuda", "arch": "sm_80"}) as target:
        source = str(tilelang.lower(copied(), target=target).kernel_source)
    body = source[source.rindex("__global__") :]
    assert "< 100" in body
    assert body.index("< 100") < body.index("A[")


def guarded() -> Any:
    @T.prim_func
    def main(A: T.Tensor((N,), "float32"), C: T.Tensor((N,), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((N,), "float32")
            T.copy(A, f)
            for i in T.Parallel(N):
                if i < SMALL:
                    f[i] = f[i] * 2.0
            T.copy(f, C)

    return main


def after_a_product() -> Any:
    @T.prim_func
    def main(A: T.Tensor((128, 64), "float16"), C: T.Tensor((128, 128), "float32")) -> None:
        with T.Kernel(1, threads=128):
            a = T.alloc_shared((128, 64), "float16")
            acc = T.alloc_fragment((128, 128), "float32")
            f = T.alloc_fragment((128, 128), "float32")
            T.copy(A, a)
            T.clear(acc)
            T.gemm(a, a, acc, transpose_B=True)
            for i, j in T.Parallel(128, SMALL):
                f[i, j] = acc[i, j] * 2.0
            T.copy(f, C)

    return main


def after_a_reduction() -> Any:
    @T.prim_func
    def main(A: T.Tensor((64, 128), "float32"), C: T.Tensor((64, 128), "float32")) -> None:
        with T.Kernel(1, threads=128):
            x = T.alloc_fragment((64, 128), "float32")
            f = T.alloc_fragment((64,), "float32")
            T.copy(A, x)
            T.reduce_max(x, f, dim=1)
            for i in T.Parallel(32):
                f[i] = f[i] * 2.0
            for i, j in T.Parallel(64, 128):
                x[i, j] = x[i, j] - f[i]
            T.copy(x, C)

    return main


def unpacked() -> Any:
    """Two elements of one fragment for each of the other."""

    @T.prim_func
    def main(A: T.Tensor((64, 16), "float32"), C: T.Tensor((64, 32), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((64, 16), "float32")
            g = T.alloc_fragment((64, 32), "float32")
            T.copy(A, f)
            for i, j in T.Parallel(64, 32):
                g[i, j] = f[i, j // 2]
            T.copy(g, C)

    return main


def of_one_name() -> Any:
    """Two fragments that only share a name, as after stitching."""

    @T.prim_func
    def main(A: T.Tensor((N,), "float32"), C: T.Tensor((N,), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((N,), "float32")
            T.copy(A[0:SMALL], f[0:SMALL])
            T.copy(f[0:SMALL], C[0:SMALL])
            f_1 = T.alloc_fragment((N,), "float32")
            T.copy(A, f_1)
            T.copy(f_1, C)

    return main


SOUND: Final = (guarded, after_a_product, after_a_reduction, unpacked, of_one_name)


@pytest.mark.parametrize("make", SOUND, ids=lambda make: make.__name__)
def test_loops_that_are_run_whole_are_left_alone(make: Callable[[], Any]) -> None:
    assert list(loops_cut_short(make())) == []


def test_what_tilelang_refuses_is_not_judged() -> None:
    """No layout fits: lowering will say so."""

    @T.prim_func
    def main(A: T.Tensor((64, N), "float32"), C: T.Tensor((64,), "float32")) -> None:
        with T.Kernel(1, threads=128):
            f = T.alloc_fragment((64, N), "float32")
            total = T.alloc_fragment((64,), "float32")
            for i, j in T.Parallel(64, SMALL):
                f[i, j] = A[i, j]
            for i, j in T.Parallel(64, N - SMALL):
                f[i, j + SMALL] = 0.0
            T.reduce_sum(f, total, dim=1)
            T.copy(total, C)

    assert list(loops_cut_short(main)) == []
