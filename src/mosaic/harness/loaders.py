"""How a candidate of each language becomes a function of tensors. Runs in the candidate's process, in the sandbox."""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mosaic.harness.worker_memory import Memory

PYTHON: Final = ("pytorch", "triton", "tilelang", "mosaic")

Run = Callable[[Sequence[Any], Sequence[Any], Mapping[str, int]], Any]
"""From inputs, outputs to write to (for those that want them) and symbols, to what the candidate returned."""


class CompileError(Exception):
    """The candidate's source does not compile."""


class LaunchError(Exception):
    """The candidate says that its kernel could not be started."""


@dataclass
class Loaded:
    """A candidate that can be run. destination: whether it writes to outputs that it is given."""

    run: Run
    destination: bool
    compiler: dict[str, Any] | None = None
    log: str = ""
    binaries: list[str] = field(default_factory=list)
    initialise: Callable[[Sequence[Any], int, Mapping[str, Any]], list[str]] | None = None


def load(order: Mapping[str, Any], folder: str, scratch: str, memory: Memory) -> Loaded:
    """The candidate that an order describes (candidate.json's fields, `attributes` and `symbols` of the task, `device`).

    Raises CompileError, or whatever loading the candidate raises.
    """
    language = order["language"]
    if language in PYTHON:
        return _python(order, folder, memory)
    if language == "extension":
        return _library(order, f"{folder}/{order['file']}", memory)
    if language in ("c", "cuda"):
        compiler, library, log = _compile(order, f"{folder}/{order['file']}", scratch)
        made = _library(order, library, memory)
        made.compiler, made.log, made.binaries = compiler, log, [library]
        return made
    raise CompileError(f"no way is known to run a candidate in {language!r}")


# Python


def _python(order: Mapping[str, Any], folder: str, memory: Memory) -> Loaded:
    sys.path.append(folder)  # last: its files hide no library
    spec = importlib.util.spec_from_file_location("candidate", f"{folder}/{order['file']}")
    if spec is None or spec.loader is None:
        raise ImportError(f"{order['file']} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["candidate"] = module
    spec.loader.exec_module(module)
    found = next((getattr(module, name) for name in order["entries"] if hasattr(module, name)), None)
    if found is None:
        raise ImportError(f"{order['file']} defines none of {', '.join(order['entries'])}")
    destination = order.get("style") == "destination"
    if order.get("compiled") and not inspect.isclass(found):
        import torch  # noqa: PLC0415

        found = torch.compile(found)
    if inspect.isclass(found):
        return _module(order, found, destination, memory)
    named = _wanted(found, order["attributes"])

    def run(inputs: Sequence[Any], outputs: Sequence[Any], symbols: Mapping[str, int]) -> Any:
        return found(*inputs, *outputs, **named)

    return Loaded(run, destination)


def _wanted(function: Callable[..., Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(attributes)
    return {parameter.name: attributes[parameter.name] for parameter in parameters if parameter.name in attributes}


def _module(order: Mapping[str, Any], kind: Any, destination: bool, memory: Memory) -> Loaded:
    """A class: made for each initialisation with the constructor's arguments, then given the reference's parameters where names meet."""
    import torch  # noqa: PLC0415

    made: list[Any] = []
    device = order["device"]

    def initialise(arguments: Sequence[Any], seed: int, parameters: Mapping[str, Any]) -> list[str]:
        torch.manual_seed(seed)
        model = kind(*arguments)
        if isinstance(model, torch.nn.Module):
            model = model.to(device)
            own = model.state_dict()
            meeting = {name: value for name, value in parameters.items() if name in own and own[name].shape == value.shape}
            with torch.no_grad():
                for name, value in meeting.items():
                    own[name].copy_(value)
            made[:] = [torch.compile(model) if order.get("compiled") else model]
            return sorted(set(parameters) - set(meeting))
        made[:] = [model]
        return []

    def run(inputs: Sequence[Any], outputs: Sequence[Any], symbols: Mapping[str, int]) -> Any:
        if not made:  # a class for a task that has no constructor's arguments
            initialise((), 0, {})
        with torch.no_grad():
            return made[0](*inputs, *outputs)

    return Loaded(run, destination, initialise=initialise)


# Libraries


def _compile(order: Mapping[str, Any], source: str, scratch: str) -> tuple[dict[str, Any], str, str]:
    library = f"{scratch}/candidate.so"
    flags = [str(flag) for flag in order.get("build", {}).get("flags", [])]
    if order["language"] == "cuda":
        major, minor = order["capability"]
        special = "a" if major >= 9 else ""
        arch = f"-gencode=arch=compute_{major}{minor}{special},code=sm_{major}{minor}{special}"
        command = ["nvcc", "-O3", "-std=c++17", "-shared", "-Xcompiler", "-fPIC", arch, *flags, "-o", library, source]
    elif source.endswith((".cpp", ".cc", ".cxx")):
        command = ["g++", "-O3", "-std=c++17", "-shared", "-fPIC", *flags, "-o", library, source]
    else:
        command = ["gcc", "-O3", "-shared", "-fPIC", *flags, "-o", library, source, "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise CompileError(f"{command[0]} is not on this machine") from None
    log = done.stdout + done.stderr
    if done.returncode != 0:
        raise CompileError(log.strip()[-4000:] or f"{command[0]} ended with {done.returncode}")
    first = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False).stdout.strip().splitlines()
    version = first[-1 if command[0] == "nvcc" else 0] if first else "unknown"
    return {"name": command[0], "version": version[:200], "invocation": command}, library, log


def _library(order: Mapping[str, Any], path: str, memory: Memory) -> Loaded:
    """A function of a shared library that takes pointers to inputs and outputs, then symbols and attributes."""
    try:
        function = getattr(ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL), order["entries"][0])
    except (OSError, AttributeError) as error:
        raise ImportError(str(error)) from None
    status = order.get("build", {}).get("returns") == "status"
    function.restype = ctypes.c_int if status else None
    tail: list[Any] = []
    for value in order["attributes"].values():
        tail.append(ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(int(value)))
    names = list(order["symbols"])
    extent = memory.extent
    if order["language"] == "cuda" or (order["language"] == "extension" and order["device"] == "cuda"):
        import torch  # noqa: PLC0415

        stream: Any = torch.cuda.current_stream

        def address(tensor: Any) -> int:
            return int(tensor.data_ptr())

        def more() -> list[Any]:
            return [ctypes.c_void_p(stream().cuda_stream)]
    else:

        def address(tensor: Any) -> int:
            return extent(tensor)[0]

        def more() -> list[Any]:
            return []

    def run(inputs: Sequence[Any], outputs: Sequence[Any], symbols: Mapping[str, int]) -> Any:
        pointers = [ctypes.c_void_p(address(tensor)) for tensor in (*inputs, *outputs)]
        result = function(*pointers, *[ctypes.c_int64(symbols[name]) for name in names], *tail, *more())
        if status and result != 0:
            raise LaunchError(f"{order['entries'][0]} returned {result}")
        return tuple(outputs)

    return Loaded(run, True)


def plain(value: Any, tensors: Mapping[str, Any]) -> Any:
    """A constructor's argument, of what `published.tagged` made of it."""
    if isinstance(value, dict):
        kind, content = value["kind"], value["content"]
        if kind == "tensor":
            return tensors[content]
        if kind == "dict":
            return {plain(key, tensors): plain(item, tensors) for key, item in content}
        items = [plain(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    return value
