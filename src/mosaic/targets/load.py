"""A lowered program as a callable: one tensor for each parameter, in order; outputs are written in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tilelang
import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import TargetError
from mosaic.targets import upstream
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.lowered import Lowered
from mosaic.targets.target import Target


class Loaded(Protocol):
    """A program that runs on this machine."""

    @property
    def name(self) -> str: ...

    @property
    def params(self) -> tuple[str, ...]: ...

    def __call__(self, *arguments: torch.Tensor | float) -> None:
        """Run once, on the tensors' device and PyTorch's current stream. Raises TargetError for arguments that don't fit."""


@dataclass(frozen=True)
class Parameter:
    """What a parameter must be: `shape` holds numbers and names of free sizes, and is None for a number."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class GpuKernel:
    """A program loaded on a GPU."""

    name: str
    parameters: tuple[Parameter, ...]
    device: str
    _function: Callable[..., Any]

    @property
    def params(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    def __call__(self, *arguments: torch.Tensor | float) -> None:
        """Run once, on PyTorch's current stream; returns when it is queued. Raises TargetError for arguments that don't fit."""
        try:
            # TileLang's host code checks number, dtype, shape, strides and device of the arguments before it launches anything
            # (each tried on an H100), in about 7 µs a call; checking here first would take 5 more.
            self._function(*arguments)
        except Exception as error:  # TVM raises anything
            wrong = complaint(self.name, self.parameters, arguments, self.device)
            raise TargetError(wrong or f"kernel {self.name!r} cannot run on {self.device}: {upstream.essence(error)}") from error


def load_lowered(program: Lowered) -> Loaded:
    """A callable for a lowered program, on the machine that it was lowered for.

    Raises TargetError if this machine is another one, or TileLang cannot load the program.
    """
    if program.target.kind == "cpu":
        return compile_cpu(program.program)
    _check_machine(program.target)
    # TileLang compiles again for its own loader, and keeps the result in its own cache.
    try:
        with upstream.captured_output():
            kernel = tilelang.compile(program.program, target=program.target.upstream, pass_configs=dict(program.pass_configs))
    except Exception as error:  # TVM, nvcc and the loader raise anything
        raise TargetError(f"kernel {program.name!r} cannot be loaded on {program.target.device}: {upstream.essence(error)}") from error
    return GpuKernel(program.name, parameters_of(program.program), "cuda", kernel)


def _check_machine(target: Target) -> None:
    here = "hip" if torch.version.hip else "cuda"
    if not torch.cuda.is_available() or target.kind != here:
        raise TargetError(
            f"a program for {target.name} needs a machine with that GPU, and PyTorch sees none here; the target 'cpu' runs everywhere"
        )
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    if here == "hip":
        fits = str(properties.gcnArchName).split(":")[0] == target.arch
    else:
        digits = target.arch.removeprefix("sm_")
        wanted = divmod(int(digits.rstrip("af")), 10)
        # Plain targets run on later cards of the same generation, those with the suffix "a" on exactly one.
        exact = digits.endswith("a")
        fits = (properties.major, properties.minor) == wanted if exact else properties.major == wanted[0] and properties.minor >= wanted[1]
    if not fits:
        raise TargetError(f"a program for {target.name} does not run on this machine's {properties.name}; lower it for 'auto'")


def parameters_of(func: Any) -> tuple[Parameter, ...]:
    """The parameters of a PrimFunc."""
    found = []
    for var in func.params:
        if var in func.buffer_map:
            buffer = func.buffer_map[var]
            found.append(Parameter(str(buffer.name), str(buffer.dtype), tuple(_extent(extent) for extent in buffer.shape)))
        else:
            found.append(Parameter(str(var.name), str(var.dtype), None))
    return tuple(found)


def _extent(node: Any) -> int | str:
    value = getattr(node, "value", node)
    return int(value) if isinstance(value, int) else str(node)


def complaint(name: str, parameters: Sequence[Parameter], arguments: Sequence[Any], device: str) -> str | None:
    """What is wrong with these arguments, in a sentence, or None. Tensors must be contiguous."""
    if len(arguments) != len(parameters):
        names = ", ".join(parameter.name for parameter in parameters)
        return f"kernel {name!r} takes {len(parameters)} arguments ({names}), not {len(arguments)}"
    sizes: dict[str, int] = {}
    first: torch.device | None = None
    for parameter, argument in zip(parameters, arguments, strict=True):
        if wrong := _wrong(parameter, argument, device, sizes):
            return f"kernel {name!r}: {parameter.name!r} {wrong}"
        if parameter.shape is not None:
            first = first or argument.device
            if argument.device != first:
                where = f"{parameter.name!r} is on {argument.device}"
                return f"kernel {name!r}: {where}, and other tensors are on {first}; move them to one device"
    return None


def _wrong(parameter: Parameter, argument: Any, device: str, sizes: dict[str, int]) -> str | None:
    if parameter.shape is None:
        return f"is a {parameter.dtype} number, not a tensor" if isinstance(argument, torch.Tensor) else None
    if not isinstance(argument, torch.Tensor):
        return f"must be a tensor, not {type(argument).__name__}"
    known = DTYPES.get(parameter.dtype)
    if known is not None and argument.dtype is not known.torch:
        return f"must have the dtype {parameter.dtype}, not {str(argument.dtype).removeprefix('torch.')}"
    if argument.device.type != device:
        return f"is on {argument.device}; move it to {device}, for which this kernel is compiled"
    if argument.dim() != len(parameter.shape):
        return f"must have {len(parameter.shape)} dimensions, not {argument.dim()}"
    for axis, extent in enumerate(parameter.shape):
        wanted = extent if isinstance(extent, int) else sizes.setdefault(extent, argument.shape[axis])
        if argument.shape[axis] != wanted:
            return f"must have size {wanted} in dimension {axis}, not {argument.shape[axis]}"
    return None if argument.is_contiguous() else "is not contiguous; call .contiguous() on it"
