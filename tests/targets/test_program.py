"""Programs: outputs by name, views, memory that is let go, and inputs that are refused in a sentence."""

from __future__ import annotations

import pytest
import torch

from mosaic import kernels
from mosaic.errors import InputError
from mosaic.graph import reference
from mosaic.graph.graph import Graph
from mosaic.stitch.plan import plan
from mosaic.targets.load import load_lowered
from mosaic.targets.lower import lower
from mosaic.targets.program import Program
from mosaic.targets.target import find

kernels.load()
CPU = find("cpu")


@pytest.fixture(scope="module")
def program() -> Program:
    g = Graph("small")
    x = g.input("x", (6, 32), "float32")
    y = g.view(g.call("relu", x, name="relu"), (12, 16), name="wide")
    g.output(g.call("scale", y, name="scaled", factor=2.0), g.tensor("relu"))
    made = plan(g, CPU, fuse=False)
    return Program(made, CPU, [load_lowered(lower(launch.program.func, CPU)) for launch in made.launches])


def test_outputs(program: Program) -> None:
    inputs = {"x": torch.randn(6, 32)}
    found = program.run(inputs)
    wanted = reference.run(program.graph, inputs, keep="outputs")
    assert {name: tuple(t.shape) for name, t in found.items()} == {"scaled": (12, 16), "relu": (6, 32)}
    for name, tensor in found.items():
        torch.testing.assert_close(tensor.double(), wanted[name])
    assert program.kernel_count == 2


def test_runs_are_independent(program: Program) -> None:
    first = program.run({"x": torch.ones(6, 32)})
    second = program.run({"x": torch.full((6, 32), -1.0)})
    assert first["relu"].eq(1).all()
    assert second["relu"].eq(0).all()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "needs the input 'x'"),
        ({"x": torch.zeros(6, 32), "z": torch.zeros(1)}, "has no input 'z'"),
        ({"x": torch.zeros(6, 31)}, r"is float32\[6, 31\], but must be float32\[6, 32\]"),
        ({"x": torch.zeros(6, 32).half()}, "is float16"),
    ],
)
def test_bad_inputs(program: Program, inputs: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(InputError, match=said):
        program.run(inputs)


def test_steps_can_be_run_alone(program: Program) -> None:
    steps = program.steps({"x": torch.ones(6, 32)})
    assert len(steps) == 2
    steps[1].arguments[-1].zero_()
    steps[1].run()
    assert steps[1].arguments[-1].eq(2).all()
