"""TileLang's compiler behind a typed wrapper: source out, or a refusal in one line, and no chatter."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tilelang
import tilelang.env
from tvm.ir import save_json
from tvm.target import Target as UpstreamTarget

from mosaic.targets.target import Target

VERSION: Final = str(tilelang.__version__)

# Read by TileLang's passes, so part of what makes an output.
_ENVIRONMENT: Final = ("TILELANG_LAYOUT_COST_MODEL", "TILELANG_ENABLE_DATA_RACE_CHECK")

_lock = threading.RLock()  # TileLang's pass state and the process's output are both global


class Refused(Exception):
    """TileLang cannot lower a program. The message is one line, the essence of its own; `lower` decides what becomes of it."""


@dataclass(frozen=True)
class Launch:
    """One GPU kernel of a lowered program: its threads a block, and its dynamic shared memory in bytes."""

    name: str
    threads: int
    dynamic_shared_bytes: int


@dataclass(frozen=True)
class Source:
    """What TileLang emitted for a program, and what it warned of."""

    text: str
    launches: tuple[Launch, ...]
    warnings: tuple[str, ...]


def lower_source(func: Any, target: Target, configs: Mapping[str, Any]) -> Source:
    """Lower a PrimFunc to source with these pass configurations. Raises Refused."""
    with captured_output() as output:
        try:
            with tilelang.transform.PassContext(config=dict(configs)), UpstreamTarget(target.upstream) as upstream:
                artifact = tilelang.lower(func, target=upstream)
        except Exception as error:  # TVM, TileLang and the author's macros raise anything
            raise Refused(essence(error)) from error
    launches = tuple(_launch(device) for _, device in artifact.device_mod.functions.items())
    return Source(str(artifact.kernel_source), launches, warnings_in(output.text))


def canonical(func: Any) -> bytes:
    """A text of the PrimFunc that holds all of it, layouts too, and is the same in every process that builds it alike.

    Positions in Python files are blanked; so are the names of a launch's thread indices, which TileLang changes, in place, in a
    program that it lowers. Other names stay: those of a layout's coordinates are what tells these apart.
    """
    threads = _thread_indices(func)
    document = json.loads(save_json(func))
    nodes = document["nodes"]
    for node in nodes:
        if node["type"] in ("ir.Span", "ir.SourceName"):
            node["data"] = None
        elif node["type"] == "tirx.Var" and nodes[node["data"]["name"]]["data"] in threads:
            node["data"]["name"] = None
    # The changed name's own node is blanked with it; a name like it elsewhere in the program is another node, or means the same.
    for node in nodes:
        if node["type"] == "ffi.String" and node["data"] in threads:
            node["data"] = ""
    return json.dumps(document).encode()


def _thread_indices(func: Any) -> set[str]:
    """The names of the variables that stand for a launch's thread indices."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        if type(node).__name__ == "Bind" and "launch_thread_idx" in str(getattr(getattr(node.value, "op", None), "name", "")):
            found.add(str(node.var.name))

    tilelang.tvm.tirx.stmt_functor.post_order_visit(func.body, visit)
    return found


def environment() -> str:
    """The settings of this process that change what TileLang emits."""
    return repr([(name, os.environ.get(name)) for name in _ENVIRONMENT])


def include_flags() -> tuple[str, ...]:
    """The include paths that TileLang compiles its CUDA output with: its templates, and CUTLASS, which it brings along."""
    return tuple(f"-I{Path(folder).resolve()}" for folder in (tilelang.env.TILELANG_TEMPLATE_PATH, tilelang.env.CUTLASS_INCLUDE_DIR))


def declared_threads(func: Any) -> int | None:
    """The threads a block that the program asks for; None if it says so in no form known here."""
    found: list[int] = []

    def visit(node: Any) -> None:
        if type(node).__name__ == "SBlock" and "tl.launch_threads" in node.annotations:
            threads = 1
            for extent in node.annotations["tl.launch_threads"]:
                threads *= int(extent)
            found.append(threads)

    tilelang.tvm.tirx.stmt_functor.post_order_visit(func.body, visit)
    return max(found, default=None)


def essence(error: BaseException) -> str:
    """The line of an upstream message that says what is wrong, without check macros, traces and trailing layouts."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("File ", "Traceback", "^", "Stack trace", "0:", "1:"))]
    if not lines:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" in {frames[-1].name} ({Path(frames[-1].filename).name})" if frames else ""
        return f"{type(error).__name__}{where}"
    line = re.sub(r"^(?:tvm\.error\.)?InternalError: ", "", lines[0])
    line = re.sub(r"^Check failed: \(.*?\) is false:\s*(?=\S)", "", line)
    line = re.sub(r"^Check failed: .*? : (?=\S)", "", line)
    if line.startswith("StructuralEqual check failed") and len(lines) >= 4:
        line = f"shapes that should be equal are not: {lines[1]} and {lines[3]}"
    line = line.rstrip(" :.")
    return line if len(line) <= 300 else line[:297] + "..."


_WARNING: Final = re.compile(r"^\[\d\d:\d\d:\d\d\] .*?: Warning: (.*)$", re.MULTILINE)
_IDLE_WARNINGS: Final = ("Unable to detect ROCm version",)  # of no consequence for source that is compiled elsewhere


def warnings_in(text: str) -> tuple[str, ...]:
    """TileLang's warnings in what it printed, each once, in order."""
    found = dict.fromkeys(match.strip() for match in _WARNING.findall(text))
    return tuple(line for line in found if not line.startswith(_IDLE_WARNINGS))


@dataclass
class Output:
    """What was printed within `captured_output`, whole after it."""

    text: str = ""


@contextmanager
def captured_output() -> Iterator[Output]:
    """Take what TileLang prints: its loggers' lines are dropped, and what its C++ code writes to the error stream is returned.

    What Python code prints meanwhile, in any thread, goes where it always does. One thread at a time.
    """
    output = Output()
    with _lock, _silent_loggers(), tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        try:
            saved = os.dup(_ERRORS)
        except OSError:  # the process has closed it: nothing can be printed there
            yield output
            return
        stream, bypass = sys.stderr, _Bypass(sys.stderr, saved)
        os.dup2(file.fileno(), _ERRORS)
        if _writes_to(stream, _ERRORS):
            sys.stderr = bypass
        try:
            yield output
        finally:
            sys.stderr = stream if sys.stderr is bypass else sys.stderr
            os.dup2(saved, _ERRORS)
            bypass.descriptor = _ERRORS  # a thread may hold it still
            os.close(saved)
            file.seek(0)
            output.text = file.read().decode(errors="replace")


_ERRORS: Final = 2  # the descriptor of the error stream


class _Bypass:
    """Stands in for a text stream, but writes to another descriptor."""

    def __init__(self, stream: Any, descriptor: int) -> None:
        self._stream = stream
        self.descriptor = descriptor

    def write(self, text: str) -> int:
        data = text.encode(errors="backslashreplace")
        while data:
            data = data[os.write(self.descriptor, data) :]
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _silent_loggers() -> Iterator[None]:
    handlers = [(handler, handler.level) for handler in logging.getLogger("tilelang").handlers]
    for handler, _ in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in handlers:
            handler.setLevel(level)


def _writes_to(stream: Any, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)
    except (AttributeError, OSError, ValueError):  # replaced by something that is no file
        return False


def _launch(device: Any) -> Launch:
    threads = 1
    for name, extent in device.attrs.get("thread_extent", {}).items():
        if str(name).startswith("threadIdx"):
            threads *= _number(extent)
    return Launch(str(device.attrs["global_symbol"]), threads, _number(device.attrs.get("dyn_shared_memory_buf", 0)))


def _number(node: Any) -> int:
    """An integer constant's value; 0 for an expression of free shapes, which no limit can be checked against."""
    value = getattr(node, "value", node)
    return int(value) if isinstance(value, int) else 0
