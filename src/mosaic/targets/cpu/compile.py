"""From a PrimFunc to a function that runs: gcc, a cache on disk, and a call that checks its tensors."""

from __future__ import annotations

import contextlib
import ctypes
import operator
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import TargetError, ToolMissingError
from mosaic.targets.cache import Cache, key_of
from mosaic.targets.cpu.emit import Emitted, Parameter, emit
from mosaic.targets.cpu.nodes import Node, constant, kind

FLAGS: Final = (
    "-std=gnu11",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-fPIC",
    "-shared",
    # none of these changes a value: they say that nobody reads errno or the exception flags ...
    "-fno-math-errno",
    "-fno-trapping-math",
    # ... that one buffer may be seen as two types, and that a product and a sum may be one rounding, as nvcc does
    "-fno-strict-aliasing",
    "-ffp-contract=fast",
    # jump threading turns choices into branches, which keeps loops from being vectorised
    "-fno-thread-jumps",
    *(("-mprefer-vector-width=512",) if platform.machine() == "x86_64" else ()),
)

_SOURCE: Final = "kernel.c"
_LIBRARY: Final = "kernel.so"


@dataclass(frozen=True)
class CpuKernel:
    """A compiled kernel. Call it with one tensor for each of `params`, in order; outputs are written in place."""

    name: str
    params: tuple[str, ...]
    source: str
    library: Path
    _emitted: Emitted
    _function: Any

    def __call__(self, *arguments: torch.Tensor | float) -> None:
        """Run once.

        Raises TargetError, in one sentence, if a tensor has not the shape, dtype, layout or device that
        the kernel wants, if there is no memory for the on-chip buffers, or, compiled with `poison`, if it
        accesses on-chip memory outside its buffers.
        """
        wanted = self._emitted.parameters
        if len(arguments) != len(wanted):
            raise TargetError(f"kernel {self.name!r} takes {len(wanted)} arguments ({', '.join(self.params)}), not {len(arguments)}")
        pointers, integers, floats = [], [], []
        for parameter, argument in zip(wanted, arguments, strict=True):
            if parameter.shape is not None:
                pointers.append(self._check_tensor(parameter, argument))
            elif isinstance(argument, torch.Tensor):
                raise TargetError(f"kernel {self.name!r}: {parameter.name!r} is a {parameter.dtype} number, not a tensor")
            elif parameter.dtype.startswith(("float", "bfloat")):
                floats.append(float(argument))
            else:
                integers.append(int(argument))
        self._check_overlap(arguments)
        sizes = self._bind_sizes(arguments)
        all_integers = [*sizes, *integers]
        failed = self._function(
            (ctypes.c_void_p * len(pointers))(*pointers),
            (ctypes.c_int64 * len(all_integers))(*all_integers),
            (ctypes.c_double * len(floats))(*floats),
        )
        if failed & 2:
            raise TargetError(f"kernel {self.name!r} reads or writes outside one of its on-chip buffers; look at its indices")
        if failed:
            raise TargetError(f"kernel {self.name!r} found no memory for its on-chip buffers; free some and call it again")

    def _check_tensor(self, parameter: Parameter, tensor: Any) -> int:
        where = f"kernel {self.name!r}: {parameter.name!r}"
        if not isinstance(tensor, torch.Tensor):
            raise TargetError(f"{where} must be a tensor, not {type(tensor).__name__}")
        dtype = DTYPES[parameter.dtype].torch if parameter.dtype in DTYPES else getattr(torch, parameter.dtype, None)
        if tensor.dtype != dtype:
            raise TargetError(f"{where} must have the dtype {parameter.dtype}, not {str(tensor.dtype).removeprefix('torch.')}")
        if tensor.device.type != "cpu":
            raise TargetError(f"{where} is on {tensor.device}; move it to the CPU, for which this kernel is compiled")
        assert parameter.shape is not None
        if tensor.dim() != len(parameter.shape):
            raise TargetError(f"{where} must have {len(parameter.shape)} dimensions, not {tensor.dim()}")
        for axis, extent in enumerate(parameter.shape):
            size = constant(extent)
            if size is not None and tensor.shape[axis] != size:
                raise TargetError(f"{where} must have size {size} in dimension {axis}, not {tensor.shape[axis]}")
        if not _has_strides(parameter, tensor):
            raise TargetError(f"{where} is not contiguous; call .contiguous() on it")
        return tensor.data_ptr()

    def _check_overlap(self, arguments: Sequence[Any]) -> None:
        """What is written must lie apart: the kernel may read an argument after it has written another."""
        tensors = [(p, a) for p, a in zip(self._emitted.parameters, arguments, strict=True) if p.shape is not None and not p.overlaps]
        spans = [(p, a.data_ptr(), a.data_ptr() + _span(a)) for p, a in tensors]
        for i, (output, low, high) in enumerate(spans):
            for other, other_low, other_high in spans[i + 1 :]:
                if (output.is_written or other.is_written) and low < other_high and other_low < high:
                    names = f"{output.name!r} and {other.name!r}"
                    raise TargetError(f"kernel {self.name!r}: {names} share memory, and one of them is written; copy one")

    def _bind_sizes(self, arguments: Sequence[torch.Tensor | float]) -> list[int]:
        """The symbolic sizes, read from the tensors. Raises TargetError if two tensors disagree."""
        values: dict[Node, int] = {}
        for parameter, argument in zip(self._emitted.parameters, arguments, strict=True):
            if parameter.shape is not None and isinstance(argument, torch.Tensor):
                for axis, extent in enumerate(parameter.shape):
                    if any(extent.same_as(size) for size in self._emitted.sizes):
                        self._agree(values.setdefault(extent, argument.shape[axis]), parameter, axis, argument)
                for axis, stride in enumerate(parameter.strides):
                    if any(stride.same_as(size) for size in self._emitted.sizes):
                        values.setdefault(stride, argument.stride(axis))
        for parameter, argument in zip(self._emitted.parameters, arguments, strict=True):
            if parameter.shape is not None and isinstance(argument, torch.Tensor):
                for axis, extent in enumerate(parameter.shape):
                    if constant(extent) is None:
                        self._agree(_evaluate(extent, values), parameter, axis, argument)
        return [values[size] for size in self._emitted.sizes]

    def _agree(self, size: int, parameter: Parameter, axis: int, tensor: torch.Tensor) -> None:
        if tensor.shape[axis] != size:
            where = f"kernel {self.name!r}: {parameter.name!r}"
            raise TargetError(f"{where} must have size {size} in dimension {axis}, as other tensors have, not {tensor.shape[axis]}")


def compile_cpu(func: Node, *, poison: bool = False, cache_dir: Path | str | None = None) -> CpuKernel:
    """Compile a PrimFunc for this machine's CPU, or find it compiled in `cache_dir` (by default $MOSAIC_CACHE or ~/.cache/mosaic).

    Raises ReadError for a program that cannot run on a CPU, ToolMissingError without gcc, TargetError if
    gcc refuses the program, InputError if the cache cannot be written.
    """
    if kind(func) != "PrimFunc":
        raise TargetError(f"the CPU target compiles a PrimFunc, not {type(func).__name__}; call the kernel's function to get one")
    emitted = emit(func, poison=poison)
    library = build(emitted.source, cache_dir)
    name = str(func.attrs["global_symbol"]) if func.attrs and "global_symbol" in func.attrs else "kernel"
    return CpuKernel(name, tuple(p.name for p in emitted.parameters), emitted.source, library, emitted, _load(library))


def build(source: str, cache_dir: Path | str | None = None) -> Path:
    """The shared library of a C file, compiled unless the cache has it whole.

    Raises ToolMissingError without gcc, TargetError if gcc refuses the program, InputError if the cache cannot be written.
    """
    compiler = _compiler()
    cache = Cache(cache_dir)
    key = key_of("cpu", source, compiler.version, " ".join(FLAGS), _cpu_flags())
    found = cache.get(key)
    if found is None:
        found = cache.put(key, {_SOURCE: source.encode(), _LIBRARY: _compile(source, compiler)})
    return found.file(_LIBRARY)


def _compile(source: str, compiler: _Compiler) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        text, library = Path(folder, _SOURCE), Path(folder, _LIBRARY)
        text.write_text(source, encoding="utf-8")
        command = [compiler.path, *FLAGS, str(text), "-o", str(library), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise TargetError(f"gcc refused the program: {_first_error(result.stderr)}")
        return library.read_bytes()


def _first_error(text: str) -> str:
    for line in text.splitlines():
        if "error:" in line:
            return line.partition("error:")[2].strip()
    return (text.strip().splitlines() or ["no message"])[0]


@dataclass(frozen=True)
class _Compiler:
    path: str
    version: str


def _compiler() -> _Compiler:
    path = shutil.which("gcc")
    if path is None:
        raise ToolMissingError("there is no gcc on the PATH, which the CPU target compiles with; install it (on Debian: apt install gcc)")
    return _probe(path)


@cache
def _probe(path: str) -> _Compiler:
    try:
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise ToolMissingError(f"{path} does not run: {error}; install a working gcc (on Debian: apt install gcc)") from error
    return _Compiler(path, version)


@cache
def _cpu_flags() -> str:
    """What -march=native depends on: the instruction sets of this CPU."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith(("flags", "Features")):
                return line
    return ""


@cache
def _load(library: Path) -> Any:
    try:
        function = ctypes.CDLL(str(library)).mosaic_run
    except (OSError, AttributeError) as error:
        raise TargetError(f"the compiled program {library} cannot be loaded: {error}") from error
    function.restype = ctypes.c_int
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    return function


def _has_strides(parameter: Parameter, tensor: torch.Tensor) -> bool:
    """Whether the tensor's elements lie where the kernel looks for them; an axis of size 1 may have any stride."""
    strides: Iterable[int | None]
    strides = [constant(stride) for stride in parameter.strides] if parameter.strides else _compact(tensor.shape)
    if any(stride is None for stride in strides) and tensor.is_contiguous():
        return True
    return all(
        size <= 1 or wanted is None or wanted == stride for size, stride, wanted in zip(tensor.shape, tensor.stride(), strides, strict=True)
    )


def _span(tensor: torch.Tensor) -> int:
    """Bytes from the tensor's first element to the end of its last."""
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def _compact(shape: Sequence[int]) -> list[int]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return strides[::-1]


_SIZE_OPERATIONS: Final[dict[str, Callable[[int, int], int]]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "FloorDiv": operator.floordiv,
    "FloorMod": operator.mod,
    "Max": max,
    "Min": min,
}


def _evaluate(node: Node, values: dict[Node, int]) -> int:
    """The value of a size expression. Raises TargetError if nothing says what a symbol in it is."""
    size = constant(node)
    if size is not None:
        return size
    if node in values:
        return values[node]
    operation = _SIZE_OPERATIONS.get(kind(node))
    if operation is not None:
        return operation(_evaluate(node.a, values), _evaluate(node.b, values))
    raise TargetError(f"the size {node} of a tensor cannot be read from the tensors; give one of them the size as a dimension of its own")
