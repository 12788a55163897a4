"""CUDA's driver, by ctypes: machine code in, kernels launched and timed. Nothing else is needed but the driver and nvcc."""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_MULTIPROCESSORS: Final = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
_CLOCK_KHZ: Final = 13  # CU_DEVICE_ATTRIBUTE_CLOCK_RATE
_COMPILERS: Final = 16


class CudaError(Exception):
    """The driver refused something."""


def build(sources: Mapping[str, str], folder: Path, arch: str) -> dict[str, Path]:
    """One cubin for each source, compiled side by side. Raises CudaError with what nvcc said."""
    folder.mkdir(parents=True, exist_ok=True)

    def compile_one(item: tuple[str, str]) -> tuple[str, Path]:
        name, text = item
        source, cubin = folder / f"{name}.cu", folder / f"{name}.cubin"
        source.write_text(text, encoding="utf-8")
        command = ["nvcc", "-std=c++17", "-O3", f"-arch={arch}", "-cubin", "-Xptxas", "-v", "-o", str(cubin), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CudaError(f"nvcc does not compile {source}: {done.stderr[:4000]}")
        cubin.with_suffix(".log").write_text(done.stderr, encoding="utf-8")
        return name, cubin

    with concurrent.futures.ThreadPoolExecutor(min(_COMPILERS, os.cpu_count() or 1)) as pool:
        return dict(pool.map(compile_one, sources.items()))


class Device:
    """The first GPU. Every method raises CudaError if the driver refuses."""

    def __init__(self, library: str = "libcuda.so.1") -> None:
        try:
            self._cuda: Any = ctypes.CDLL(library)
        except OSError as error:
            raise CudaError(f"there is no CUDA driver here: {error}") from error
        self._call("cuInit", 0)
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)
        self._events = [ctypes.c_void_p(), ctypes.c_void_p()]
        for event in self._events:
            self._call("cuEventCreate", ctypes.byref(event), 0)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorString(status, ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'error').decode()} ({status})")

    @property
    def name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, 256, self._device)
        return text.value.decode()

    @property
    def driver(self) -> int:
        """The version of CUDA that the driver knows, as 13000."""
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return version.value

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    @property
    def processors(self) -> int:
        return self._attribute(_MULTIPROCESSORS)

    @property
    def clock_hz(self) -> float:
        """The highest clock of the processors, as the driver says it."""
        return 1e3 * self._attribute(_CLOCK_KHZ)

    def load(self, cubin: Path) -> Module:
        """All kernels of a cubin."""
        module = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), cubin.read_bytes())
        return Module(self, module)

    def upload(self, values: Sequence[int]) -> int:
        """The address of these 32-bit numbers."""
        data = (ctypes.c_int32 * len(values))(*values)
        address = self.allocate(ctypes.sizeof(data))
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), data, ctypes.c_size_t(ctypes.sizeof(data)))
        return address

    def allocate(self, size: int) -> int:
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 4)))
        self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), ctypes.c_size_t(max(size, 4)))
        return address.value

    def download(self, address: int, count: int, kind: Any = ctypes.c_float) -> list[Any]:
        """So many numbers of a ctypes kind."""
        data = (kind * count)()
        self._call("cuMemcpyDtoH_v2", data, ctypes.c_uint64(address), ctypes.c_size_t(ctypes.sizeof(data)))
        return list(data)

    def free(self, *addresses: int) -> None:
        for address in addresses:
            self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def synchronize(self) -> None:
        self._call("cuCtxSynchronize")


class Module:
    """A loaded cubin."""

    def __init__(self, device: Device, handle: ctypes.c_void_p) -> None:
        self._device, self._handle = device, handle
        self._functions: dict[str, ctypes.c_void_p] = {}

    def _function(self, name: str) -> ctypes.c_void_p:
        if name not in self._functions:
            function = ctypes.c_void_p()
            self._device._call("cuModuleGetFunction", ctypes.byref(function), self._handle, name.encode())
            self._functions[name] = function
        return self._functions[name]

    def launch(self, name: str, blocks: int, threads: int, *arguments: int) -> None:
        """Queues a kernel; arguments are addresses (above 2**31) or 32-bit numbers."""
        values = [ctypes.c_uint64(value) if value >= 1 << 31 else ctypes.c_int32(value) for value in arguments]
        pointers = (ctypes.c_void_p * max(len(values), 1))(*(ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in values))
        self._device._call("cuLaunchKernel", self._function(name), blocks, 1, 1, threads, 1, 1, 0, None, pointers, None)

    def time(self, name: str, blocks: int, threads: int, *arguments: int) -> float:
        """Seconds of one launch, by device events."""
        start, end = self._device._events
        self._device._call("cuEventRecord", start, None)
        self.launch(name, blocks, threads, *arguments)
        self._device._call("cuEventRecord", end, None)
        self._device._call("cuEventSynchronize", end)
        milliseconds = ctypes.c_float()
        self._device._call("cuEventElapsedTime", ctypes.byref(milliseconds), start, end)
        return milliseconds.value * 1e-3
