"""What Mosaic compiles for: the limits and rates of each device, as data.

Units: bytes, bytes a second, operations a second (a multiply-add counts as two), seconds. Registers are 32 bits wide.
Rates are a vendor's peak for dense operands at boost clock; a plan compares alternatives with them, no report quotes them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final, Literal

import torch

from mosaic.errors import TargetError

Kind = Literal["cpu", "cuda", "hip"]


@dataclass(frozen=True)
class Target:
    """A device that programs are lowered for.

    `processors` are SMs, compute units or cores. `shared_per_block` is the most shared memory one block may have, static and
    dynamic together. `matrix_rates` are the matrix units' rates by dtype of the operands; `vector_rate` is that of float32
    multiply-adds outside of them. `launch_seconds` is what one more kernel in a sequence costs at least.
    """

    name: str
    kind: Kind
    arch: str
    device: str
    processors: int
    shared_per_block: int
    registers_per_thread: int
    registers_per_processor: int
    bandwidth: float
    matrix_rates: Mapping[str, float]
    vector_rate: float
    l2_bytes: int
    warp_size: int
    launch_seconds: float
    threads_per_block: int = 1024

    @property
    def upstream(self) -> dict[str, str]:
        """How TileLang names this target."""
        return {"cpu": {"kind": "c"}, "cuda": {"kind": "cuda", "arch": self.arch}, "hip": {"kind": "hip", "mcpu": self.arch}}[self.kind]

    @property
    def specializes_warps(self) -> bool:
        """Whether TileLang turns pipelined loops into producer and consumer warps here (from Hopper on)."""
        return self.kind == "cuda" and int(self.arch.removeprefix("sm_").rstrip("af")) >= 90

    def matrix_rate(self, dtype: str) -> float:
        """Operations a second of products of this dtype: the matrix units' if they have it, else the vector units'."""
        return self.matrix_rates.get(dtype, self.vector_rate)

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes; a proxy of a mapping can't be pickled itself."""
        return _restored, ({field.name: getattr(self, field.name) for field in fields(self)} | {"matrix_rates": dict(self.matrix_rates)},)


def _restored(values: dict[str, Any]) -> Target:
    return Target(**{**values, "matrix_rates": MappingProxyType(values["matrix_rates"])})


def _rates(
    *, half: float, tf32: float | None = None, fp8: float | None = None, int8: float | None = None, **more: float
) -> Mapping[str, float]:
    named = {"float16": half, "bfloat16": half, "float32": tf32, "float8_e4m3fn": fp8, "float8_e5m2": fp8, "int8": int8, **more}
    return MappingProxyType({name: rate for name, rate in named.items() if rate is not None})


# What one more kernel costs within a CUDA graph, the least of all ways to launch one: 1,000 norms of four rows took 1.05 ms on
# an H100 80GB (driver 580, 2026-11). Taken for the other GPUs too, for which nothing has been measured.
_GPU_LAUNCH: Final = 1.05e-6

CORES: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Processor cores that this process may use."""

_CPU: Final = Target(
    name="cpu",
    kind="cpu",
    arch="native",
    device="this machine's processor",
    processors=CORES,
    # Nothing is refused here for its size: tiles are plain arrays. One MiB keeps a block's tiles within the second-level
    # cache of today's cores (Zen 4 and Golden Cove: 1 to 2 MiB).
    shared_per_block=1 << 20,
    registers_per_thread=1 << 20,
    registers_per_processor=1 << 20,
    bandwidth=51.2e9,  # two channels of DDR4-3200, the JEDEC figure; not read off this machine
    matrix_rates=MappingProxyType({}),
    vector_rate=110e9 * CORES,  # about what a product with tiles of 128x384 reaches on one core with AVX-512 (benchmarks/cpu_gemm.py)
    l2_bytes=1 << 20,
    warp_size=1,
    launch_seconds=2e-5,  # checks of the tensors, a call through ctypes, and waking the threads: 19 to 50 us were seen on 2 cores
    threads_per_block=1024,
)

_A100: Final = Target(
    name="sm_80",
    kind="cuda",
    arch="sm_80",
    device="NVIDIA A100 SXM 80GB",
    processors=108,  # NVIDIA A100 datasheet and whitepaper (2020), also bandwidth, rates and L2
    shared_per_block=166_912,  # 163 KB: CUDA C++ programming guide, compute capability 8.0
    registers_per_thread=255,
    registers_per_processor=65_536,
    bandwidth=2.039e12,
    matrix_rates=_rates(half=312e12, tf32=156e12, int8=624e12, float64=19.5e12),
    vector_rate=19.5e12,
    l2_bytes=40 << 20,
    warp_size=32,
    launch_seconds=_GPU_LAUNCH,
)

_H100: Final = Target(
    name="sm_90a",
    kind="cuda",
    arch="sm_90a",
    device="NVIDIA H100 SXM 80GB",
    processors=132,  # NVIDIA H100 datasheet (2023), SXM5, without sparsity
    shared_per_block=232_448,  # 227 KB: CUDA C++ programming guide, compute capability 9.0
    registers_per_thread=255,
    registers_per_processor=65_536,
    bandwidth=3.35e12,  # HBM3; the H200's HBM3e has 4.8e12, and default_target() reads the card that is there
    matrix_rates=_rates(half=989.4e12, tf32=494.7e12, fp8=1978.9e12, int8=1978.9e12, float64=66.9e12),
    vector_rate=66.9e12,
    l2_bytes=50 << 20,
    warp_size=32,
    launch_seconds=_GPU_LAUNCH,
)

_B200: Final = Target(
    name="sm_100a",
    kind="cuda",
    arch="sm_100a",
    device="NVIDIA B200",
    processors=148,  # NVIDIA Blackwell architecture brief and HGX B200 datasheet (2024), per GPU, without sparsity
    shared_per_block=232_448,  # CUDA C++ programming guide, compute capability 10.0
    registers_per_thread=255,
    registers_per_processor=65_536,
    bandwidth=8.0e12,
    matrix_rates=_rates(half=2.25e15, tf32=1.125e15, fp8=4.5e15, int8=4.5e15, float64=37e12),
    vector_rate=75e12,
    l2_bytes=126 << 20,
    warp_size=32,
    launch_seconds=_GPU_LAUNCH,
)

_MI300X: Final = Target(
    name="gfx942",
    kind="hip",
    arch="gfx942",
    device="AMD Instinct MI300X",
    processors=304,  # AMD MI300X datasheet (2023), dense
    shared_per_block=65_536,  # AMD CDNA 3 instruction set guide: 64 KB of LDS a work-group
    registers_per_thread=512,  # 256 vector and 256 accumulation registers
    registers_per_processor=131_072,  # 512 KB
    bandwidth=5.3e12,
    matrix_rates=_rates(half=1307.4e12, tf32=653.7e12, fp8=2614.9e12, int8=2614.9e12, float64=163.4e12),
    vector_rate=163.4e12,
    l2_bytes=32 << 20,  # 4 MB on each of 8 dies
    warp_size=64,
    launch_seconds=_GPU_LAUNCH,
)

_MI355X: Final = Target(
    name="gfx950",
    kind="hip",
    arch="gfx950",
    device="AMD Instinct MI355X",
    processors=256,  # AMD MI355X datasheet (2025), dense; it has no TF32
    shared_per_block=163_840,  # AMD CDNA 4 instruction set guide: 160 KB of LDS a work-group
    registers_per_thread=512,
    registers_per_processor=131_072,
    bandwidth=8.0e12,
    matrix_rates=_rates(half=2516.6e12, fp8=5033.2e12, int8=5033.2e12, float64=78.6e12),
    vector_rate=157.3e12,
    l2_bytes=32 << 20,
    warp_size=64,
    launch_seconds=_GPU_LAUNCH,
)

TARGETS: Final[Mapping[str, Target]] = MappingProxyType({t.name: t for t in (_CPU, _A100, _H100, _B200, _MI300X, _MI355X)})
"""Every target by name."""

_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "c": "cpu",
        "a100": "sm_80",
        "sm_90": "sm_90a",
        "h100": "sm_90a",
        "h200": "sm_90a",
        "sm_100": "sm_100a",
        "b200": "sm_100a",
        "mi300x": "gfx942",
        "mi355x": "gfx950",
    }
)


def find(name: str) -> Target:
    """The target of that name, or of that device's name ("h100", "mi300x").

    "auto" and "default" are this machine's (`default_target`); "cuda" and "hip" are this machine's GPU, and where there is
    none of that kind the newest target that is widely in use: sm_90a, gfx942.
    Raises TargetError, with the nearest names, if there is none.
    """
    wanted = name.strip().lower()
    if wanted in ("auto", "default"):
        return default_target()
    if wanted in ("cuda", "hip", "rocm"):
        here = default_target()
        kind, otherwise = ("cuda", _H100) if wanted == "cuda" else ("hip", _MI300X)
        return here if here.kind == kind else otherwise
    wanted = _ALIASES.get(wanted, wanted)
    if wanted in TARGETS:
        return TARGETS[wanted]
    near = difflib.get_close_matches(wanted, [*TARGETS, *_ALIASES, "cuda", "hip", "auto"], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the targets are {', '.join(TARGETS)}"
    raise TargetError(f"no target is named {name!r}; {hint}")


def default_target() -> Target:
    """The GPU that PyTorch would use, with that card's own processors, limits and bandwidth; the CPU if it has none
    or one that no target fits."""
    if not torch.cuda.is_available():
        return _CPU
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    target = find_for_device(properties)
    return target or _CPU


def find_for_device(properties: Any) -> Target | None:
    """The target for a card with these properties (PyTorch's), or None. Code for 8.0 runs on all of 8.x."""
    architecture = str(getattr(properties, "gcnArchName", "")).split(":")[0]
    if torch.version.hip:
        base = TARGETS.get(architecture)
    elif properties.major == 8:
        base = _A100
    else:
        base = {(9, 0): _H100, (10, 0): _B200}.get((properties.major, properties.minor))
    if base is None:
        return None
    clock, width = getattr(properties, "memory_clock_rate", 0), getattr(properties, "memory_bus_width", 0)  # kHz, bits
    return replace(
        base,
        device=str(properties.name),
        processors=int(properties.multi_processor_count),
        l2_bytes=int(getattr(properties, "L2_cache_size", 0)) or base.l2_bytes,
        shared_per_block=int(getattr(properties, "shared_memory_per_block_optin", 0)) or base.shared_per_block,
        bandwidth=2e3 * clock * width / 8 or base.bandwidth,  # two transfers a clock
    )
