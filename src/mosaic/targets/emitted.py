"""What a compiler really emitted: registers, spills, memory and instruction families, read from the tools' text.

Every reader is a pure function over text. Families have the names of NVIDIA's machine code (HGMMA: a warpgroup's product from
shared memory; UTMALDG: a bulk tensor load), also where only PTX could be read, so that one question fits both. HIP source has
AMD's own names, as its machine code has (`amdgpu`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Origin = Literal["sass", "ptx", "isa", "source"]


@dataclass(frozen=True)
class Resources:
    """What one kernel takes: registers of a thread; spilled, stack and static shared bytes, None where the tool doesn't say."""

    kernel: str
    registers: int
    spill_bytes: int | None
    stack_bytes: int | None
    shared_bytes: int | None


@dataclass(frozen=True)
class Emitted:
    """What was emitted for one program (all its kernels together).

    `registers` is the most of any kernel, a thread; `spill_bytes` (stores and loads of spilled registers) and `stack_bytes`
    are of one thread; `shared_bytes` is static and dynamic together, the most of any kernel. None: no tool here says.
    `families` counts instructions in the text of the code, not executions. `origin` says what was read.
    """

    registers: int | None
    spill_bytes: int | None
    stack_bytes: int | None
    shared_bytes: int | None
    families: Mapping[str, int]
    origin: Origin

    @property
    def uses_matrix_units(self) -> bool:
        """Whether any product runs on the matrix units."""
        return any(name.endswith("MMA") or name.startswith("mfma") for name in self.families if name not in ("FMMA",))

    def to_dict(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "registers": self.registers,
            "spill_bytes": self.spill_bytes,
            "stack_bytes": self.stack_bytes,
            "shared_bytes": self.shared_bytes,
            "families": dict(self.families),
            "origin": self.origin,
        }


def most(values: Iterable[int | None]) -> int | None:
    """The largest of those that are known, None if none is."""
    return max((value for value in values if value is not None), default=None)


_PTXAS_KERNEL: Final = re.compile(r"Compiling entry function '([^']+)'")
_PTXAS_FRAME: Final = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_PTXAS_USED: Final = re.compile(r"Used (\d+) registers")
_PTXAS_SHARED: Final = re.compile(r"(\d+) bytes smem")


def read_ptxas(text: str) -> list[Resources]:
    """Resources by kernel, from what `nvcc --resource-usage` (ptxas -v) prints."""
    found = []
    name, frame = "", (0, 0)
    properties_of_entry = False
    for line in text.splitlines():
        if match := _PTXAS_KERNEL.search(line):
            name, frame, properties_of_entry = match[1], (0, 0), False
        elif "Function properties for" in line:
            properties_of_entry = line.rstrip().endswith(f" {name}")
        elif (match := _PTXAS_FRAME.search(line)) and properties_of_entry:
            frame = (int(match[1]), int(match[2]) + int(match[3]))
        elif name and (match := _PTXAS_USED.search(line)):
            shared = _PTXAS_SHARED.search(line)
            found.append(Resources(name, int(match[1]), frame[1], frame[0], int(shared[1]) if shared else 0))
            name = ""
    return found


_CUOBJDUMP: Final = re.compile(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


def read_resource_usage(text: str) -> list[Resources]:
    """Resources by kernel, from what `cuobjdump --dump-resource-usage` prints of a binary.

    It does not tell spills. Its shared bytes hold what the system reserves from compute capability 9.0 on (1,024 a block).
    """
    return [Resources(m[1], int(m[2]), None, int(m[3]), int(m[4])) for m in _CUOBJDUMP.finditer(text)]


# The mnemonics that are counted, by what they are. Those not named here (moves, branches, integer arithmetic) are not.
_SASS_FAMILIES: Final[Mapping[str, str]] = {
    **{name: name for name in ("HMMA", "IMMA", "QMMA", "OMMA", "DMMA", "BMMA", "HGMMA", "IGMMA", "QGMMA", "BGMMA")},
    **{name: name for name in ("UTCHMMA", "UTCQMMA", "UTCIMMA", "UTCOMMA", "UTCBAR", "UTCCP", "LDTM", "STTM")},
    **{name: name for name in ("UTMALDG", "UTMASTG", "UTMAREDG", "UBLKCP", "LDGSTS", "LDSM", "STSM", "LDS", "STS", "LDG", "STG")},
    **{name: name for name in ("LDL", "STL", "BAR", "SYNCS", "SHFL", "REDUX", "FFMA", "HFMA2", "DFMA", "MUFU", "USETMAXREG")},
    **{"FFMA2": "FFMA", "ATOM": "ATOM", "ATOMG": "ATOM", "ATOMS": "ATOM", "RED": "RED", "REDG": "RED", "REDAS": "RED", "UREDGR": "RED"},
}
_SASS_INSTRUCTION: Final = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)", re.MULTILINE)


def read_sass(text: str) -> dict[str, int]:
    """Families in a disassembly by `nvdisasm -c` or `cuobjdump -sass`."""
    return _count(_SASS_FAMILIES.get(mnemonic) for mnemonic in _SASS_INSTRUCTION.findall(text))


_PTX_INSTRUCTION: Final = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z][a-z0-9_]*(?:\.[\w:]+)*)(?=[\s;{])", re.MULTILINE)
_PTX_FAMILIES: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"wgmma\.mma_async\..*\.(e4m3|e5m2)\.", "QGMMA"),
        (r"wgmma\.mma_async\..*\.[su]8\.", "IGMMA"),
        (r"wgmma\.mma_async\..*\.b1\.", "BGMMA"),
        (r"wgmma\.mma_async\.", "HGMMA"),
        (r"tcgen05\.mma\..*kind::(f8f6f4|mxf8f6f4|mxf4)", "UTCQMMA"),
        (r"tcgen05\.mma\..*kind::i8", "UTCIMMA"),
        (r"tcgen05\.mma", "UTCHMMA"),
        (r"tcgen05\.ld", "LDTM"),
        (r"tcgen05\.st", "STTM"),
        (r"w?mma\.(?:sync\.)?.*\.f64", "DMMA"),
        (r"w?mma\.(?:sync\.)?.*\.(e4m3|e5m2|e3m2|e2m3|e2m1)\.", "QMMA"),
        (r"w?mma\.(?:sync\.)?.*\.[su][48]\b", "IMMA"),
        (r"w?mma\.(?:sync\.)?.*\.b1\.", "BMMA"),
        (r"w?mma\.sync\.", "HMMA"),
        (r"cp\.async\.bulk\.tensor\..*\.shared::\w+\.global", "UTMALDG"),
        (r"cp\.async\.bulk\.tensor\..*\.global\.shared::", "UTMASTG"),
        (r"cp\.reduce\.async\.bulk\.tensor", "UTMAREDG"),
        (r"cp\.async\.bulk\.(?!commit|wait|prefetch)", "UBLKCP"),
        (r"cp\.async\.c[ag]\.", "LDGSTS"),
        (r"ldmatrix\.", "LDSM"),
        (r"stmatrix\.", "STSM"),
        (r"ld\.(?:\w+\.)*shared", "LDS"),
        (r"st\.(?:\w+\.)*shared", "STS"),
        (r"ld\.(?:\w+\.)*global", "LDG"),
        (r"st\.(?:\w+\.)*global", "STG"),
        (r"ld\.(?:\w+\.)*local", "LDL"),
        (r"st\.(?:\w+\.)*local", "STL"),
        (r"(bar|barrier)\.(?!cluster)", "BAR"),
        (r"mbarrier\.", "SYNCS"),
        (r"shfl\.", "SHFL"),
        (r"redux\.", "REDUX"),
        (r"atom\.", "ATOM"),
        (r"red\.", "RED"),
        (r"fma\.[\w.]*f32", "FFMA"),
        (r"fma\.[\w.]*(f16|bf16)", "HFMA2"),
        (r"fma\.[\w.]*f64", "DFMA"),
        (r"(ex2|lg2|rcp|rsqrt|sqrt|sin|cos|tanh)\.approx", "MUFU"),
        (r"setmaxnreg\.", "USETMAXREG"),
    )
)


def read_ptx(text: str) -> dict[str, int]:
    """Families in PTX, under the names of the machine instructions they become.

    Counts are those of the PTX: the assembler may split, merge or drop instructions.
    """
    return _count(
        next((family for pattern, family in _PTX_FAMILIES if pattern.match(name)), None) for name in _PTX_INSTRUCTION.findall(text)
    )


_PTX_MEMORY: Final = re.compile(r"^\s*(?:\.visible )?\.(shared|local) (?:\.align \d+ )?\.([bsuf])(\d+)\s+\S+?(?:\[(\d+)\])?;", re.MULTILINE)


def read_ptx_memory(text: str) -> tuple[int, int]:
    """Bytes of static shared memory, and of a thread's stack, that a PTX text declares, all its kernels together.

    Registers are virtual in PTX: neither their number nor spills are told by it.
    """
    sizes = {"shared": 0, "local": 0}
    for space, _, bits, count in _PTX_MEMORY.findall(text):
        sizes[space] += int(bits) // 8 * int(count or 1)
    return sizes["shared"], sizes["local"]


_HIP_BUILTIN: Final = re.compile(r"__builtin_amdgcn_(\w+)")
_HIP_FAMILIES: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"__builtin_amdgcn_(?:s_)?barrier\b|__syncthreads\(", "s_barrier"),
        (r"\btl::cp_async_gs(?:_conditional)?<|__builtin_amdgcn_(?:global|raw_ptr_buffer)_load_lds", "load_lds"),
        (r"__shfl\w*\(|__builtin_amdgcn_(?:ds_bpermute|ds_swizzle|permlane\w+|update_dpp|mov_dpp)|tl::AllReduce<", "cross_lane"),
        (r"\batomicAdd\(|\bAtomicAdd\w*\(", "atomic"),
    )
)


def read_hip(source: str) -> dict[str, int]:
    """Families in HIP source: the matrix builtins by their names (mfma_f32_16x16x16f16), and what else can be told from it.

    Counts are places in the text, before the compiler unrolls anything.
    """
    found = _count(name if name.startswith(("mfma", "smfmac")) else None for name in _HIP_BUILTIN.findall(source))
    for pattern, family in _HIP_FAMILIES:
        if number := len(pattern.findall(source)):
            found[family] = number
    return dict(sorted(found.items()))


def _count(names: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(name for name in names if name is not None).items()))
