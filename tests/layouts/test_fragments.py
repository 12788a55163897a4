"""Fragments of a block against what TileLang infers: every element of C and of A, for tiles, threads and policies of three targets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import tilelang.language as T
import torch

from mosaic.errors import TargetError
from mosaic.layouts.bridge import layout_of
from mosaic.layouts.fragments import POLICIES, Family, Policy, WarpGrid, accumulator, operand, warp_grid
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.read import read_layouts

TARGETS: dict[Family, tuple[dict[str, str], int]] = {
    "mma": ({"kind": "cuda", "arch": "sm_80"}, 32),
    "wgmma": ({"kind": "cuda", "arch": "sm_90a"}, 32),
    "mfma": ({"kind": "hip", "mcpu": "gfx942"}, 64),
}
K = 32


def product(M: int, N: int, threads: int, policy: Policy) -> Any:
    @T.prim_func
    def main(a: T.Tensor((M, K), "float16"), b: T.Tensor((K, N), "float16"), c: T.Tensor((M, N), "float32")) -> None:
        with T.Kernel(1, threads=threads) as _:
            A = T.alloc_fragment((M, K), "float16")
            B = T.alloc_shared((K, N), "float16")
            C = T.alloc_fragment((M, N), "float32")
            T.copy(a, A)
            T.copy(b, B)
            T.clear(C)
            T.gemm(A, B, C, policy=getattr(T.GemmWarpPolicy, policy))
            T.copy(C, c)

    return main


def values(layout: Layout) -> torch.Tensor:
    names = [name for name, _ in layout.inputs]
    return layout.to_table().permute(*(names.index(name) for name in ("register", "lane", "warp")), -1)


@pytest.mark.parametrize(("m", "n"), itertools.product((64, 128), (64, 96, 128)))
@pytest.mark.parametrize("family", TARGETS)
def test_as_tilelang_infers_them(family: Family, m: int, n: int) -> None:
    target, lanes = TARGETS[family]
    for threads, policy in itertools.product((128, 256), POLICIES):
        grid = warp_grid(family, policy, m, n, threads // lanes)
        program = product(m, n, threads, policy)
        if grid is None:
            with pytest.raises(TargetError):
                read_layouts(program, target, {"tl.disable_warp_specialized": True})
            continue
        found = read_layouts(program, target, {"tl.disable_warp_specialized": True})
        for ours, name in ((accumulator(family, grid, m, n), "C"), (operand(family, "float16", 16, grid, m, K), "A")):
            theirs = layout_of(found[name], threads, lanes)
            assert theirs is not None
            assert torch.equal(values(ours), values(theirs)), f"{name} of {m}x{n} on {threads} threads, {policy}: {grid}"


def test_a_policy_chooses_among_the_grids_that_fit() -> None:
    assert warp_grid("mma", "FullRow", 64, 128, 8) == WarpGrid(4, 2)  # eight warps would need 128 rows
    assert warp_grid("mma", "FullCol", 128, 128, 8) == WarpGrid(1, 8)
    assert warp_grid("wgmma", "FullCol", 128, 128, 8) == WarpGrid(4, 2)  # a group of four lies along the rows
    assert warp_grid("wgmma", "FullRow", 64, 64, 6) is None
    assert warp_grid("mma", "Square", 48, 8, 4) is None
    assert str(WarpGrid(4, 2)) == "4x2 warps"


@pytest.mark.parametrize("family", TARGETS)
def test_every_element_of_an_accumulator_is_held_once(family: Family) -> None:
    for warps, policy in itertools.product((4, 8), POLICIES):
        grid = warp_grid(family, policy, 128, 64, warps)
        if grid is not None:
            found = accumulator(family, grid, 128, 64)
            assert found.is_injective
            assert found.to_table()[..., 0].numel() == 128 * 64


def test_a_tile_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LayoutError):
        accumulator("mma", WarpGrid(8, 1), 64, 64)
