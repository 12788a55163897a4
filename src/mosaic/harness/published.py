"""Tasks in the published form: a file with `Model`, `get_inputs()` and `get_init_inputs()`, run as it is by the oracle's process.

Shapes, dtypes and parameters are those that the file makes with PyTorch's generator seeded from the secret seed. The reference is
the model in float64; its parameters, which a candidate gets exactly, are inputs of the error analysis like any other.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import InputError, KernelError
from mosaic.harness.arithmetic import half_spacing
from mosaic.harness.bound import Bound
from mosaic.harness.task import Drawn, Initial, Task, load_module
from mosaic.harness.tolerance import bounds_of
from mosaic.harness.work import work_of

OBSERVED: Final = 8.0
"""Where no error rule covers a model: so many times the largest difference between its own precision and float64 is allowed."""


def seed_of(key: str) -> int:
    """A seed for PyTorch's generator."""
    return int(key[:12], 16) if all(letter in "0123456789abcdef" for letter in key[:12]) else sum(map(ord, key))


class PublishedTask(Task):
    """One file."""

    def __init__(self, folder: str, definition: Mapping[str, Any]) -> None:
        self._module: Final = load_module(Path(folder) / definition["reference"][0], "published_task")
        self._model: Any = None
        self._stateful = False
        self._wide: tuple[Any, Callable[..., Any]] | None = None
        self.initialise("0" * 64)

    def about(self) -> dict[str, Any]:
        """Shapes and dtypes, as the file makes them."""
        drawn = self.draw({}, "published", "0" * 64, None)
        inputs = [[name, _dtype(value), list(value.shape)] for name, value in (drawn.tensors or {}).items()]
        outputs = [[f"output{index}", _dtype(value), list(value.shape)] for index, value in enumerate(self._native(drawn))]
        return {"inputs": inputs, "outputs": outputs, "stateful": self._stateful}

    def initialise(self, key: str) -> Initial:
        """The model made anew, with PyTorch's generator seeded from the key."""
        seed = seed_of(key)
        torch.manual_seed(seed)
        arguments = self._module.get_init_inputs()
        torch.manual_seed(seed)
        positional, named = _split(arguments)
        self._model = self._module.Model(*positional, **named)
        self._wide = None
        state = self._model.state_dict() if isinstance(self._model, torch.nn.Module) else {}
        self._stateful = bool(state) or bool(positional) or bool(named)
        tensors: dict[str, torch.Tensor] = {}
        tagged_arguments = [tagged(value, tensors) for value in positional]
        tensors |= {f"parameter:{name}": value.detach().clone() for name, value in state.items()}
        return Initial(seed, tagged_arguments, tensors, self._stateful)

    def draw(self, symbols: Mapping[str, int], distribution: str, key: str, exponent: int | None) -> Drawn:
        torch.manual_seed(seed_of(key))
        made = self._module.get_inputs()
        if not isinstance(made, list | tuple):
            raise InputError("get_inputs() must return a list of the model's inputs")
        tensors = {f"input{index}": value.detach().contiguous() for index, value in enumerate(made) if isinstance(value, torch.Tensor)}
        constants = [[index, tagged(value, {})] for index, value in enumerate(made) if not isinstance(value, torch.Tensor)]
        for name, value in tensors.items():
            if _dtype(value) not in DTYPES:
                raise InputError(f"{name} is {value.dtype}, which Mosaic does not know; the known dtypes are {', '.join(DTYPES)}")
        return Drawn(tensors, constants=constants)

    def _arguments(self, drawn: Drawn, tensors: Sequence[Any]) -> list[Any]:
        rest, constants = iter(tensors), dict(map(tuple, drawn.constants))
        count = len(tensors) + len(constants)
        return [untagged(constants[index]) if index in constants else next(rest) for index in range(count)]

    def _native(self, drawn: Drawn) -> list[torch.Tensor]:
        """The outputs in the model's own precision."""
        with torch.no_grad():
            return _tensors(copy.deepcopy(self._model)(*self._arguments(drawn, [t.clone() for t in (drawn.tensors or {}).values()])))

    def bounds(self, symbols: Mapping[str, int], drawn: Drawn) -> dict[str, Bound]:
        native = self._native(drawn)
        tensors = list((drawn.tensors or {}).values())
        wide = copy.deepcopy(self._model).double()
        state = {name: value for name, value in self._model.state_dict().items() if value.is_floating_point()}

        def reference(*given: Any) -> Any:
            parameters = dict(zip(state, given[len(tensors) :], strict=True))
            return _tensors(torch.func.functional_call(wide, parameters, tuple(self._arguments(drawn, given[: len(tensors)]))))

        dtypes = [_dtype(value) for value in native]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = bounds_of(reference, [*tensors, *state.values()], dtypes)
        except KernelError as error:
            found = self._observed(drawn, wide, native, str(error))
        return {f"output{index}": bound for index, bound in enumerate(found)}

    def _observed(self, drawn: Drawn, wide: Any, native: list[torch.Tensor], why: str) -> tuple[Bound, ...]:
        """Bounds from how far the model in its own precision is from float64."""
        given = [value.double() if value.is_floating_point() else value for value in (drawn.tensors or {}).values()]
        with torch.no_grad():
            exact = _tensors(wide(*self._arguments(drawn, given)))
        made = []
        for value, got in zip(exact, native, strict=True):
            dtype = find_dtype(got.dtype)
            if not dtype.is_float:
                made.append(Bound(value.double(), torch.zeros_like(value, dtype=torch.float64), dtype.name))
                continue
            away = float((got.double() - value.double()).abs().nan_to_num(posinf=0.0).max()) if value.numel() else 0.0
            error = OBSERVED * (away + dtype.roundoff * value.double().abs()) + half_spacing(dtype, value.double().abs())
            reason = f"{OBSERVED:g} times the largest difference between {dtype.name} and float64, as no error rule covers it ({why[:200]})"
            made.append(Bound(value.double(), error, dtype.name, {reason: 1.0}))
        return tuple(made)

    def work(self, symbols: Mapping[str, int], drawn: Drawn) -> dict[str, Any]:
        tensors = list((drawn.tensors or {}).values())
        state = dict(self._model.state_dict())

        def reference(*given: Any) -> Any:
            parameters = dict(zip(state, given[len(tensors) :], strict=True))
            return torch.func.functional_call(self._model, parameters, tuple(self._arguments(drawn, given[: len(tensors)])))

        return work_of(reference, (*tensors, *state.values())).to_dict()


def _split(arguments: Any) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments: some files return [[...], {...}]."""
    if (
        isinstance(arguments, list | tuple)
        and len(arguments) == 2
        and isinstance(arguments[0], list | tuple)
        and isinstance(arguments[1], dict)
    ):
        return list(arguments[0]), dict(arguments[1])
    if not isinstance(arguments, list | tuple):
        raise InputError("get_init_inputs() must return a list of the constructor's arguments")
    return list(arguments), {}


def _tensors(result: Any) -> list[torch.Tensor]:
    items = list(result) if isinstance(result, list | tuple) else [result]
    for item in items:
        if not isinstance(item, torch.Tensor):
            raise InputError(f"the model returns a {type(item).__name__}; its outputs must be tensors")
    return items


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def tagged(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """An argument as JSON values; tensors go into `tensors`. `loaders.plain` undoes it. Raises InputError for what cannot be written so."""
    if isinstance(value, torch.Tensor):
        name = f"argument{len(tensors)}"
        tensors[name] = value
        return {"kind": "tensor", "content": name}
    if isinstance(value, dict):
        return {"kind": "dict", "content": [[tagged(key, tensors), tagged(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {"kind": kind, "content": [tagged(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"a constructor's argument is a {type(value).__name__}, which cannot be handed to another process")


def untagged(value: Any) -> Any:
    """What `tagged` wrote, without tensors."""
    if isinstance(value, dict):
        items = [untagged(item) for item in value["content"]] if value["kind"] != "dict" else []
        return tuple(items) if value["kind"] == "tuple" else items
    return value
