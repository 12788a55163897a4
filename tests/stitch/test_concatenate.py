"""Kernels side by side compute what they compute alone; what depends on each other is refused."""

from __future__ import annotations

import torch

from mosaic.stitch.concatenate import check_concatenate, concatenate
from mosaic.targets.cpu import compile_cpu
from mosaic.tiles.read import read
from tests.stitch.parts import mapped, program


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
