"""Kernels side by side compute what they compute alone; what depends on each other is refused."""

from __future__ import annotations

from typing import Any

import tilelang
import tilelang.language as T
import torch

from mosaic.stitch.concatenate import check_concatenate, concatenate
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.lower import lower
from mosaic.tiles.anatomy import dissect
from mosaic.tiles.read import read
from mosaic.tiles.verify import verify
from tests.stitch.parts import every_way, mapped, multiplied, program, row_lows, row_sums, run
from tests.tiles.foreign_gemm import split_k, swizzled


def test_three_grids_in_one_launch() -> None:
    shapes = [(64, 64), (50, 70), (33, 5)]
    parts = [program(mapped(*s, factor=float(n + 2)), x=f"x{n}", y=f"y{n}") for n, s in enumerate(shapes)]
    assert check_concatenate(parts) is None
    func = concatenate(parts, name="three")
    made = read(func)
    assert made.blocks == sum(p.blocks for p in parts)
    inputs = {f"x{n}": torch.randn(s) for n, s in enumerate(shapes)}
    outputs = {f"y{n}": torch.full(s, torch.nan) for n, s in enumerate(shapes)}
    tensors = inputs | outputs
    compile_cpu(func, poison=True)(*[tensors[p.name] for p in made.params])
    for n in range(3):
        torch.testing.assert_close(outputs[f"y{n}"], inputs[f"x{n}"] * (n + 2) + 1)


def test_a_shared_input_is_one_parameter() -> None:
    parts = [program(mapped(32, 32), x="x", y="left"), program(mapped(32, 32), x="x", y="right")]
    assert [p.name for p in read(concatenate(parts)).params] == ["x", "left", "right"]


def test_what_one_writes_no_other_touches() -> None:
    refusal = check_concatenate([program(mapped(32, 32), x="x", y="h"), program(mapped(32, 32), x="h", y="z")])
    assert refusal is not None
    assert refusal.check == "aliasing"


def test_blocks_must_have_the_same_threads() -> None:
    refusal = check_concatenate([program(mapped(32, 32), x="x", y="a"), program(mapped(32, 32, threads=64), x="x", y="b")])
    assert refusal is not None
    assert refusal.check == "thread-count"


def test_grids_of_any_rank_and_kernels_of_any_habit() -> None:
    """Products, reductions, a layout of its own, and a value of its own beyond the edge, in one launch."""
    kernels = [
        program(multiplied(50, 70, 40, threads=64), a="a", b="b", c="c"),
        program(row_sums(37, 71, threads=64), x="s", r="r"),
        program(row_lows(21, 40, threads=64), x="l", r="least"),
        program(swizzled_copy(), x="m", y="n"),
        program(swizzled(70, 45, 40, dtype="float32", threads=64), A="p", B="q", C="o"),
    ]
    assert check_concatenate(kernels) is None
    made = read(concatenate(kernels))
    verify(made)
    given = {p.name: torch.randn([int(n) for n in p.shape]) for p in made.params if p.mode == "read"}
    found = run(made, given)
    for kernel in kernels:
        for name, tensor in run(kernel, given).items():
            assert torch.equal(found[name], tensor), name
    assert {"safe_value_map", "layout_map"} <= set(dissect(made.func).block.annotations)


def swizzled_copy() -> Any:
    @T.prim_func
    def main(x: T.Tensor((64, 32), "float32"), y: T.Tensor((64, 32), "float32")) -> None:
        with T.Kernel(2, 1, 2, threads=64) as (bx, _, bz):
            tile = T.alloc_shared((32, 16), "float32")
            T.annotate_layout({tile: tilelang.layout.make_swizzled_layout(tile)})
            T.copy(x[bx * 32, bz * 16], tile)
            T.copy(tile, y[bx * 32, bz * 16])

    return main


def test_stitched_pairs_side_by_side() -> None:
    pairs = []
    for n in range(2):
        first, second = program(mapped(37, 71), x="x", y=f"h{n}"), program(row_sums(37, 71), x=f"h{n}", r=f"r{n}")
        *_, (_, _, pair) = every_way(first, second, f"h{n}")
        pairs.append(pair)
    x = torch.randn(37, 71)
    found = run(read(concatenate(pairs)), {"x": x})
    assert torch.equal(found["r0"], found["r1"])
    assert torch.allclose(found["r0"], (2 * x + 1).sum(1), atol=1e-4)


def test_bodies_that_synchronise_or_add_atomically_stay_alone() -> None:
    refusal = check_concatenate([program(mapped(32, 32, threads=128), x="x", y="y"), program(split_k(64, 64, 64), A="a", B="b", C="c")])
    assert refusal is not None
    assert refusal.check == "features"


def test_a_launch_of_several_lowers() -> None:
    kernels = [program(multiplied(64, 64, 64), a="a", b="b", c="c"), program(row_sums(64, 64, threads=64), x="a", r="r")]
    assert "__global__" in lower(concatenate(kernels), "sm_80", binary=False).source
