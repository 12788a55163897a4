"""A kernel's result against its reference in float64, within the bounds that the harness derives from its dtypes and sums."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mosaic.dtypes import DTYPES
from mosaic.graph.graph import Graph, Tensor
from mosaic.graph.kernel import kernel
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.report import Report
from mosaic.harness.verify import verify
from tests.layouts.chain import Step

_numbers = itertools.count()

Tensors = Mapping[str, tuple[tuple[int, ...], str]]
Run = Callable[..., None]


def graph_of(tensors: Tensors, steps: Sequence[Step]) -> Graph:
    """A graph of these steps, whose inputs are the tensors that no step makes."""
    graph = Graph("handover")
    made = {step.name for step in steps}
    values: dict[str, Tensor] = {name: graph.input(name, *spec) for name, spec in tensors.items() if name not in made}
    for step in steps:
        specs = [values[name].spec for name in step.inputs]
        found = kernel(
            inputs={f"in_{place}": f"{' '.join(map(str, spec.shape))} : {spec.dtype}" for place, spec in enumerate(specs)},
            outputs={"out": f"{' '.join(map(str, step.shape))} : {step.dtype}"},
            reference=step.compute,
            name=f"handover_step_{next(_numbers)}",
        )(_not_built)
        result = graph.call(found, *[values[name] for name in step.inputs], name=step.name)
        assert not isinstance(result, tuple)
        values[step.name] = result
    graph.output(values[steps[-1].name])
    return graph


def _not_built() -> Any:
    """Only references are used here."""


def check(tensors: Tensors, steps: Sequence[Step], run: Run, *, device: str, tf32: bool, seed: int = 0) -> Report:
    """Run once on normal inputs; `run` takes one tensor a parameter. int8 and float8 inputs are kept small enough not to overflow."""
    graph = graph_of(tensors, steps)
    shape, dtype = list(tensors.values())[-1]

    def candidate(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        result = torch.empty(shape, dtype=DTYPES[dtype].torch, device=device)
        run(*[inputs.get(name, result) for name in tensors])
        return {graph.outputs[0]: result}

    ranges = {name: (-8.0, 8.0) for name in graph.inputs if tensors[name][1] == "int8"}
    return verify(
        graph, candidate, distributions=["normal"], seed=seed, arithmetic=Arithmetic(tf32=tf32), ranges=ranges, device=device, samples=1
    )
