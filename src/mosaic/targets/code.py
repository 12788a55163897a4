"""Emitted code of any kind, as a file: a cubin, PTX, a disassembly of NVIDIA's machine code, or AMD's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

from mosaic.errors import InputError, ToolMissingError
from mosaic.targets import amdgpu, cuda
from mosaic.targets.emitted import Emitted, most, read_ptx, read_ptx_memory, read_resource_usage, read_sass

Form = Literal["cubin", "ptx", "sass", "isa"]

_ELF: Final = b"\x7fELF"
_MACHINES: Final = {190: "cuda", 224: "amdgpu"}  # e_machine: EM_CUDA, EM_AMDGPU
_LARGEST: Final = 256 << 20


def form_of(data: bytes) -> Form | None:
    """What kind of emitted code this is; None if it is none."""
    if data.startswith(_ELF):
        return "cubin" if _MACHINES.get(int.from_bytes(data[18:20], "little")) == "cuda" else None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if amdgpu.is_amdgpu(text):
        return "isa"
    if re.search(r"^\s*\.version \d", text, re.MULTILINE) and re.search(r"^\s*\.target sm_", text, re.MULTILINE):
        return "ptx"
    return "sass" if re.search(r"^\s*/\*[0-9a-f]{4,}\*/\s+\S", text, re.MULTILINE) else None


def read_code(data: bytes, name: str = "the code") -> Emitted:
    """What emitted code holds, whichever form it has. What its form does not tell is None.

    Raises InputError if it is no emitted code, ToolMissingError for a cubin where no disassembler is.
    """
    form = form_of(data)
    if form is None:
        if data.startswith(_ELF) and _MACHINES.get(int.from_bytes(data[18:20], "little")) == "amdgpu":
            raise InputError(f"{name} is a binary for AMD GPUs; give its disassembly (llvm-objdump -d, or hipcc --save-temps)")
        raise InputError(f"{name} is neither a cubin nor PTX, a disassembly with addresses, or AMD's machine code as text")
    if form == "cubin":
        found = cuda.read_binary(data)
        if found is None:
            raise ToolMissingError(f"no disassembler is on this machine, which {name} needs; `{cuda.INSTALL_DISASSEMBLERS}` adds it")
        return found
    text = data.decode()
    if form == "isa":
        return amdgpu.emitted(text)
    if form == "ptx":
        shared, stack = read_ptx_memory(text)
        return Emitted(None, None, stack, shared, read_ptx(text), "ptx")
    resources = read_resource_usage(text)  # cuobjdump can write both into one file
    registers, stack_bytes = most(one.registers for one in resources), most(one.stack_bytes for one in resources)
    return Emitted(registers, None, stack_bytes, most(one.shared_bytes for one in resources), read_sass(text), "sass")


def read_code_file(path: Path) -> Emitted:
    """`read_code` of a file. Raises InputError also if it cannot be read or is larger than 256 MiB."""
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than {_LARGEST >> 20} MiB, which no kernel is")
        return read_code(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
