"""What changed in the candidate's process against what was there before it was loaded: clocks, PyTorch's functions, this code, threads.

Runs in that process, so a candidate could silence it; it gives a name to what the judge also sees from outside.
"""

from __future__ import annotations

import builtins
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

CLOCKS: Final = ("time", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time_ns", "process_time")
COMPARISONS: Final = ("allclose", "equal", "isclose", "eq", "ne", "isnan", "isfinite")
METHODS: Final = (
    "__eq__",
    "__ne__",
    "eq",
    "equal",
    "allclose",
    "isclose",
    "copy_",
    "to",
    "cpu",
    "numpy",
    "untyped_storage",
    "data_ptr",
    "detach",
)
MAKERS: Final = ("rand", "randn", "randint", "empty", "zeros", "manual_seed", "frombuffer", "tensor")
EVENTS: Final = ("record", "elapsed_time", "synchronize", "__new__", "wait", "query")
DEVICE: Final = ("synchronize", "Event", "Stream", "current_stream", "CUDAGraph", "graph")


def _code(function: Any) -> Any:
    """What tells a function from another: itself, and its code."""
    inner = getattr(function, "__func__", function)
    wrapper = getattr(inner, "__code__", None)
    if isinstance(wrapper, CodeType) and wrapper.co_filename.endswith("torch/_compile.py"):
        inner = getattr(inner, "__wrapped__", inner)  # importing torch._dynamo wraps a few of PyTorch's functions
    code = getattr(inner, "__code__", None)
    if isinstance(code, CodeType):
        return id(inner), hashlib.sha256(code.co_code + repr(code.co_consts).encode()).hexdigest()
    return id(inner)


class Tripwires:
    """A snapshot; `changes` compares it with how things are."""

    def __init__(self, own: list[ModuleType]) -> None:
        self._own: Final = own
        self._torch: Any = sys.modules.get("torch")
        self._look: Final[dict[str, tuple[str, Callable[[], Any]]]] = dict(self._watched())
        self._before: Final = {what: look() for what, (_, look) in self._look.items()}
        self._threads: Final = threading.active_count()
        self._modules: Final = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
        self._pipes: Final = _files()
        self._path: Final = tuple(sys.path)

    def _watched(self) -> Iterator[tuple[str, tuple[str, Callable[[], Any]]]]:
        def members(cheat: str, label: str, holder: Any, names: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, Callable[[], Any]]]]:
            for name in names:
                if hasattr(holder, name):
                    yield f"{label}.{name}", (cheat, lambda holder=holder, name=name: _code(getattr(holder, name, None)))  # type: ignore[misc]

        yield from members("patched_clock", "time", time, CLOCKS)
        yield from members(
            "redefined_globals", "builtins", builtins, ("open", "print", "getattr", "isinstance", "type", "len", "__import__")
        )
        for module in self._own:
            yield from self._functions(module)
        torch = self._torch
        if torch is None:
            return
        yield from members("overridden_comparison", "torch", torch, COMPARISONS)
        yield from members("overridden_comparison", "torch.Tensor", torch.Tensor, METHODS)
        yield from members("redefined_globals", "torch", torch, MAKERS)
        yield from members("patched_clock", "torch.cuda", torch.cuda, DEVICE)
        yield from members("swapped_events", "torch.cuda.Event", torch.cuda.Event, EVENTS)

    def _functions(self, module: ModuleType) -> Iterator[tuple[str, tuple[str, Callable[[], Any]]]]:
        for name, member in list(vars(module).items()):
            if isinstance(member, FunctionType):
                yield f"{module.__name__}.{name}", ("swapped_code", lambda m=module, n=name: _code(getattr(m, n, None)))  # type: ignore[misc]
            elif isinstance(member, type) and member.__module__ == module.__name__:
                for method, function in list(vars(member).items()):
                    if isinstance(function, FunctionType):
                        look = lambda c=member, n=method: _code(vars(c).get(n))  # noqa: E731
                        yield f"{module.__name__}.{name}.{method}", ("swapped_code", look)

    def changes(self) -> list[list[str]]:
        """(cheat, what was seen), for each thing that is not what it was."""
        found: list[list[str]] = []
        for what, (cheat, look) in self._look.items():
            if look() != self._before[what]:
                found.append([cheat, f"{what} is not what it was before the candidate was loaded"])
        if threading.active_count() > self._threads:
            names = ", ".join(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
            found.append(["python_threads", f"Python threads are alive after the call: {names}"])
        if sys.gettrace() is not None or sys.getprofile() is not None:
            found.append(["swapped_code", "a trace or profile function is set"])
        found += [["shadowed_module", text] for text in self._shadowed()]
        if _files() != self._pipes:
            found.append(["interposed_pipes", "the files of the judge's pipes are others than at the start"])
        return found[:16]

    def _shadowed(self) -> Iterator[str]:
        """Modules that were there and now come from elsewhere, and libraries that come from the candidate's folder."""
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if name in self._modules and self._modules[name] != path:
                yield f"the module {name} comes from {path}, not from {self._modules[name]}"
        first = str(sys.path[0]) if sys.path else ""
        libraries = tuple(entry.rstrip("/") + "/" for entry in self._path if entry)
        if first not in self._path and not first.startswith(libraries):  # libraries put folders of their own there
            yield f"{first!r} was put at the beginning of the search path of modules"


def _files() -> tuple[Any, ...]:
    """What stdin, stdout, stderr and the channel are."""
    made: list[Any] = []
    for fd in range(4):
        try:
            about = os.fstat(fd)
            made.append((about.st_dev, about.st_ino))
        except OSError:
            made.append(None)
    return tuple(made)
