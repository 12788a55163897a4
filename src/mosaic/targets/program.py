"""A planned graph that runs: its launches in order, on one machine's tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import InputError
from mosaic.graph.graph import Graph
from mosaic.stitch.plan import Launch, Plan
from mosaic.targets.load import Loaded
from mosaic.targets.target import Target


@dataclass(frozen=True)
class _Step:
    """One launch: its callable, its parameters as graph tensors, which of them it makes, and what is not needed after it."""

    kernel: Loaded
    arguments: tuple[str, ...]
    made: frozenset[str]
    finished: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One launch and what it is called with."""

    kernel: Loaded
    arguments: tuple[torch.Tensor, ...]

    def run(self) -> None:
        self.kernel(*self.arguments)


def tensor_of(label: str, names: Mapping[str, str]) -> str:
    """The graph tensor of a parameter; a tensor that a kernel takes twice has a numbered name the second time."""
    return names[label] if label in names else names[label.rpartition("_again")[0]]


class Program:
    """A graph compiled for this machine. Call `run` with its inputs by name."""

    def __init__(self, plan: Plan, target: Target, kernels: Sequence[Loaded]) -> None:
        """`kernels` are the plan's launches, loaded, in its order; launches that differ in names only may share one."""
        self.plan, self.target = plan, target
        self.graph: Graph = plan.graph
        self.device = torch.device("cpu" if target.kind == "cpu" else "cuda")
        self._constants = {name: content.to(self.device) for name, content in self.graph.constants.items() if content is not None}
        self._steps = self._schedule(kernels)

    def _schedule(self, kernels: Sequence[Loaded]) -> tuple[_Step, ...]:
        names = dict(self.plan.labels)
        steps: list[_Step] = []
        last: dict[str, int] = {}
        for position, (launch, kernel) in enumerate(zip(self.plan.launches, kernels, strict=True)):
            arguments = tuple(tensor_of(param.name, names) for param in launch.program.params)
            for name in arguments:
                last[self.graph.root(name).name] = position
            steps.append(_Step(kernel, arguments, self._made(launch, names), ()))
        outputs = {self.graph.root(name).name for name in self.graph.outputs}
        finished: dict[int, list[str]] = {}
        for name, position in last.items():
            if self.graph.tensors[name].kind == "intermediate" and name not in outputs:
                finished.setdefault(position, []).append(name)
        return tuple(_Step(s.kernel, s.arguments, s.made, tuple(finished.get(i, ()))) for i, s in enumerate(steps))

    @staticmethod
    def _made(launch: Launch, names: Mapping[str, str]) -> frozenset[str]:
        return frozenset(names[p.name] for p in launch.program.params if p.mode != "read" and p.name in names)

    @property
    def kernel_count(self) -> int:
        return len(self._steps)

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The graph's outputs for `inputs`: one tensor of the declared shape and dtype for each input's name.

        On a GPU the launches are queued on PyTorch's current stream. Raises InputError for inputs that are
        missing, unknown or not as declared, TargetError for tensors that are on another device.
        """
        self.check(inputs)
        values: dict[str, torch.Tensor] = {**self._constants, **inputs}
        for step in self._steps:
            for name in step.made:
                values[self.graph.root(name).name] = self._empty(name)
            step.kernel(*[self._value(values, name) for name in step.arguments])
            for name in step.finished:
                del values[name]
        return {name: self._value(values, name) for name in self.graph.outputs}

    def steps(self, inputs: Mapping[str, torch.Tensor]) -> list[Step]:
        """Each launch with its arguments bound, after one run: for timing launches alone."""
        values: dict[str, torch.Tensor] = {**self._constants, **inputs}
        bound = []
        for step in self._steps:
            for name in step.made:
                values[self.graph.root(name).name] = self._empty(name)
            arguments = tuple(self._value(values, name) for name in step.arguments)
            step.kernel(*arguments)
            bound.append(Step(step.kernel, arguments))
        return bound

    def check(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Raises InputError unless `inputs` are what the graph declares."""
        if unknown := sorted(set(inputs) - set(self.graph.inputs)):
            raise InputError(f"graph {self.graph.name!r} has no input {unknown[0]!r}; it has {', '.join(self.graph.inputs)}")
        for name in self.graph.inputs:
            if name not in inputs:
                raise InputError(f"graph {self.graph.name!r} needs the input {name!r}; it takes {', '.join(self.graph.inputs)}")
            spec, tensor = self.graph.tensors[name].spec, inputs[name]
            if tuple(tensor.shape) != spec.shape or tensor.dtype is not DTYPES[spec.dtype].torch:
                got = f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
                raise InputError(f"input {name!r} of graph {self.graph.name!r} is {got}, but must be {spec}")

    def _empty(self, name: str) -> torch.Tensor:
        root = self.graph.root(name)
        return torch.empty(root.shape, dtype=DTYPES[root.dtype].torch, device=self.device)

    def _value(self, values: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
        tensor = self.graph.tensors[name]
        value = values[self.graph.root(name).name]
        return value if tuple(value.shape) == tensor.shape else value.view(tensor.shape)
