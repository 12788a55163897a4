"""A task that can be run: the definition's reference as a graph of one kernel. Only the oracle's process makes one."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch

from mosaic.errors import InputError
from mosaic.graph import Graph
from mosaic.graph.kernel import Kernel, Role
from mosaic.harness import inputs as drawing
from mosaic.harness.bound import Bound
from mosaic.harness.definition import TensorRole
from mosaic.harness.tolerance import bounds
from mosaic.harness.work import work_of


@dataclass(frozen=True)
class Drawn:
    """Inputs by name, None if the distribution makes no sense; what is no tensor by place; 2^exponent that keeps all from overflowing."""

    tensors: dict[str, torch.Tensor] | None
    note: str = ""
    exponent: int = 0
    constants: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Initial:
    """What a candidate's constructor gets. `tensors`: of arguments, and `parameter:` and a name."""

    seed: int = 0
    arguments: list[Any] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    stateful: bool = False


class Task(ABC):
    """What the oracle can be asked about a task."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Inputs and outputs as [name, dtype, shape], if they are fixed."""

    @abstractmethod
    def initialise(self, key: str) -> Initial:
        """New parameters; they hold until the next call."""

    @abstractmethod
    def draw(self, symbols: Mapping[str, int], distribution: str, key: str, exponent: int | None) -> Drawn:
        """Inputs. `exponent`: one that was found before, so that the reference need not be run again to find it."""

    @abstractmethod
    def bounds(self, symbols: Mapping[str, int], drawn: Drawn) -> dict[str, Bound]:
        """What the outputs must be for these inputs."""

    @abstractmethod
    def work(self, symbols: Mapping[str, int], drawn: Drawn) -> dict[str, Any]:
        """Operations and bytes that no way of computing it avoids."""

    def broken_invariants(self, drawn: Drawn, outputs: Mapping[str, torch.Tensor]) -> list[str]:
        """What the task's invariants say against a candidate's outputs."""
        return []


class WrittenTask(Task):
    """A task with a definition."""

    def __init__(self, folder: str, definition: Mapping[str, Any]) -> None:
        """folder: of the task's files. definition: `Oracle` writes it. Raises InputError if the reference cannot be loaded."""
        self._name: Final[str] = definition["name"]
        self._roles: Final = {
            kind: tuple(Role(name, tuple(dims), dtype) for name, dims, dtype in definition[kind]) for kind in ("inputs", "outputs")
        }
        self._ranges: Final = {name: (low, high) for name, low, high in definition["ranges"]}
        self._attributes: Final[dict[str, Any]] = definition["attributes"]
        file, function = definition["reference"]
        self._reference: Final[Callable[..., Any]] = function_of(load_module(Path(folder) / file, "reference"), function)
        self._invariants: Final = [
            function_of(load_module(Path(folder) / file, "invariants"), name) for file, names in definition["invariants"] for name in names
        ]
        self._graphs: dict[tuple[tuple[str, int], ...], Graph] = {}

    def about(self) -> dict[str, Any]:
        return {}

    def initialise(self, key: str) -> Initial:
        return Initial()

    def _graph(self, symbols: Mapping[str, int]) -> Graph:
        key = tuple(sorted(symbols.items()))
        if key not in self._graphs:
            self._graphs[key] = self._built(symbols)
        return self._graphs[key]

    def _built(self, symbols: Mapping[str, int]) -> Graph:

        def fixed(role: Role) -> Role:
            return Role(role.name, tuple(map(str, TensorRole(role.name, role.dims, role.dtype).shape(symbols))), role.dtype)

        inputs, outputs = (tuple(map(fixed, self._roles[kind])) for kind in ("inputs", "outputs"))
        kernel = Kernel(
            name=self._name, family="task", inputs=inputs, outputs=outputs, attributes=dict(self._attributes), tunables={},
            reference=self._reference, build=_never,
        )  # fmt: skip
        graph = Graph(self._name)
        tensors = [graph.input(role.name, tuple(map(int, role.dims)), role.dtype) for role in inputs]
        made = graph.call(kernel, *tensors, name="task")
        graph.output(*(made if isinstance(made, tuple) else (made,)))
        return graph

    def draw(self, symbols: Mapping[str, int], distribution: str, key: str, exponent: int | None) -> Drawn:
        graph = self._graph(symbols)
        if exponent is not None and distribution != "infinite":
            limits = drawing.limits_of(graph, self._ranges)
            return Drawn(drawing.samples(graph, distribution, key, limits, exponent), exponent=exponent)
        made = drawing.draw(graph, distribution, key, self._ranges)
        found = made.note.removeprefix("scaled by 2^")
        return Drawn(made.tensors, made.note, int(found) if found.lstrip("-").isdigit() else 0)

    def bounds(self, symbols: Mapping[str, int], drawn: Drawn) -> dict[str, Bound]:
        graph = self._graph(symbols)
        found = bounds(graph, drawn.tensors or {})
        return {role.name: found[name] for role, name in zip(self._roles["outputs"], graph.outputs, strict=True)}

    def broken_invariants(self, drawn: Drawn, outputs: Mapping[str, torch.Tensor]) -> list[str]:
        inputs = {name: _wide(tensor) for name, tensor in (drawn.tensors or {}).items()}
        said = [(check, check(inputs, {name: _wide(tensor) for name, tensor in outputs.items()})) for check in self._invariants]
        return [f"{check.__name__}: {text}" for check, text in said if text]

    def work(self, symbols: Mapping[str, int], drawn: Drawn) -> dict[str, Any]:
        named = {name: value for name, value in self._attributes.items() if name in _parameters(self._reference)}
        return work_of(self._reference, tuple((drawn.tensors or {}).values()), named).to_dict()


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float64) if tensor.is_floating_point() else tensor


def _never(*_: Any) -> Any:
    raise InputError("a task's reference is no kernel that can be built")


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:

    return tuple(inspect.signature(function).parameters)


def load_module(path: Path, name: str) -> ModuleType:
    """A Python file as a module of that name. Raises InputError if it cannot be loaded."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"the task's file {path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the author's code may raise anything
        raise InputError(f"the task's file {path.name} cannot be loaded: {type(error).__name__}: {error}") from None
    return module


def function_of(module: ModuleType, name: str) -> Callable[..., Any]:
    """A function of a module. Raises InputError if there is none."""
    found = getattr(module, name, None)
    if not callable(found):
        raise InputError(f"the task's file {Path(module.__file__ or '').name} has no function {name!r}")
    made: Callable[..., Any] = found
    return made
