"""One untimed call of a candidate, looked at from inside: which operators it dispatches, from where; and new memory that is not new.

    instrument = Instrument("/candidate")
    result = instrument.call(lambda: entry(*inputs), fill=0xFF)
    instrument.report()     # {"calls": [{"operator", "place", "in_handler"}], "unused": [...], "last": [...]}

`fill` is written into every byte of memory that the candidate takes with torch.empty and its like. With two different
fills, what it never wrote is the fill, and what it computed from memory as it came changes with it.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

_EMPTY: Final = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"})
MOST_CALLS: Final = 64


class Instrument:
    """What was seen of a candidate in a folder, over all calls."""

    def __init__(self, folder: str) -> None:
        self.folder: Final = os.path.realpath(folder) + os.sep
        self._last: set[str] = set()
        self._calls: dict[tuple[str, bool], dict[str, Any]] = {}
        self._ran: set[tuple[str, str]] = set()
        self._handlers: dict[str, list[tuple[int, int]]] = {}
        self._functions: list[tuple[str, str]] = []
        for path in sorted(Path(folder).rglob("*.py")):
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
            return
        name = os.path.realpath(path)
        self._handlers[name] = [(n.lineno, n.end_lineno or n.lineno) for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler)]
        self._functions += [(name, node.name) for node in tree.body if isinstance(node, ast.FunctionDef)]

    def call(self, function: Callable[[], Result], fill: int | None = None) -> Result:
        """The function's result. Raises what it raises."""
        from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415  # a candidate in C does without

        watch = self

        class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's has no types
            @classmethod
            def _should_skip_dynamo(cls) -> bool:
                return False  # otherwise all of torch._dynamo is imported: seconds, and PyTorch's functions are changed by it

            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                made = func(*args, **(kwargs or {}))
                watch.note(str(func), sys._getframe(1))
                if fill is not None and str(func._schema.name).partition("::")[2] in _EMPTY:
                    filled(made, fill)
                return made

        self._last = set()
        if not self._ran.issuperset(self._functions):  # a profiled call takes several times as long
            sys.setprofile(self._enter)
        try:
            with Mode():  # type: ignore[no-untyped-call]
                return function()
        finally:
            sys.setprofile(None)

    def note(self, operator: str, frame: FrameType | None) -> None:
        """An operator that was dispatched below a frame."""
        self._last.add(operator)
        while frame is not None and not frame.f_code.co_filename.startswith(self.folder):
            frame = frame.f_back
        place, in_handler = "from generated code", False
        if frame is not None:
            place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
            ranges = self._handlers.get(os.path.realpath(frame.f_code.co_filename), [])
            line = frame.f_lineno
            in_handler = any(first <= line <= last for first, last in ranges)
        if len(self._calls) < MOST_CALLS:
            self._calls.setdefault((operator, in_handler), {"operator": operator, "place": place, "in_handler": in_handler})

    def _enter(self, frame: FrameType, event: str, argument: Any) -> None:
        code: CodeType = frame.f_code
        if event == "call" and code.co_filename.startswith(self.folder):
            self._ran.add((os.path.realpath(code.co_filename), code.co_name))
            if self._ran.issuperset(self._functions):
                sys.setprofile(None)

    def report(self) -> dict[str, Any]:
        """What was dispatched, and which of the candidate's functions never ran."""
        unused = [name for path, name in self._functions if (path, name) not in self._ran]
        return {"calls": list(self._calls.values()), "unused": unused[:MOST_CALLS], "last": sorted(self._last)[:MOST_CALLS]}


def filled(tensor: Any, fill: int) -> None:
    """Write a byte all over a tensor's memory."""
    import torch  # noqa: PLC0415

    if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and tensor.numel():
        storage = tensor.untyped_storage()
        if tensor.device.type == "meta" or not storage.nbytes():
            return
        torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage, 0, (storage.nbytes(),)).fill_(fill)  # type: ignore[call-overload]
