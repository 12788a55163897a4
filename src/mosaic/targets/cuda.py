"""CUDA source to machine code with nvcc, and what was really emitted, read back from it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mosaic.errors import TargetError, ToolMissingError
from mosaic.targets import tools
from mosaic.targets.emitted import Emitted, Resources, most, read_ptx, read_ptxas, read_resource_usage, read_sass
from mosaic.targets.target import Target

# What TileLang itself compiles with, less -lineinfo: that writes the folder's name into the binary and changes no instruction.
FLAGS: Final = ("--cubin", "-O3", "-std=c++20", "-w", "--resource-usage")

INSTALL_NVCC: Final = "pip install nvidia-cuda-nvcc nvidia-cuda-cccl"
INSTALL_DISASSEMBLERS: Final = "pip install nvidia-cuda-nvdisasm nvidia-cuda-cuobjdump"


@dataclass(frozen=True)
class Binary:
    """A cubin, what ptxas said of its kernels, and the PTX it was made of (None unless it was asked for)."""

    data: bytes
    resources: tuple[Resources, ...]
    ptx: str | None


def fingerprint() -> str:
    """The versions of the tools that shape a binary and what is read of it."""
    found = [(name, tools.find_cuda_tool(name)) for name in ("nvcc", "nvdisasm", "cuobjdump")]
    return repr([(name, tools.version(path) if path else None) for name, path in found] + list(FLAGS))


def compile_source(source: str, name: str, target: Target, includes: Sequence[str], *, keep_ptx: bool = False) -> Binary:
    """Compile CUDA source for the target. The same source gives the same bytes.

    Raises ToolMissingError if there is no nvcc, TargetError if it refuses.
    """
    nvcc = tools.find_cuda_tool("nvcc")
    if nvcc is None:
        raise ToolMissingError(f"no nvcc is on this machine, which a binary for {target.name} needs; `{INSTALL_NVCC}` adds it")
    with tempfile.TemporaryDirectory(prefix="mosaic-nvcc-") as work:
        folder = Path(work)
        (folder / "kernel.cu").write_text(source)
        keep = ["--keep", "--keep-dir", "."] if keep_ptx else []
        command = [str(nvcc), *FLAGS, f"-arch={target.arch}", *includes, *keep, "kernel.cu", "-o", "kernel.cubin"]
        done = tools.run(command, folder)
        output = done.stdout + done.stderr
        if done.returncode != 0 or not (folder / "kernel.cubin").is_file():
            raise TargetError(f"nvcc refuses kernel {name!r} for {target.name}: {first_error(output)}")
        ptx = folder / "kernel.ptx"
        return Binary(
            (folder / "kernel.cubin").read_bytes(), tuple(read_ptxas(output)), ptx.read_text() if keep_ptx and ptx.is_file() else None
        )


def first_error(output: str) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    found = next((line for line in lines if re.search(r"\b(error|fatal)\b", line, re.IGNORECASE)), lines[0] if lines else "it says nothing")
    return re.sub(r"^(?:\S*/)?([^\s/()]+)\((\d+)\): error:? ?", r"\1, line \2: ", found)[:300]


def disassemble(data: bytes) -> str | None:
    """The machine code of a cubin as text, by nvdisasm or cuobjdump; None if neither is here or it fails."""
    for name, flag in (("nvdisasm", "-c"), ("cuobjdump", "-sass")):
        tool = tools.find_cuda_tool(name)
        if tool is None:
            continue
        with tempfile.TemporaryDirectory(prefix="mosaic-sass-") as work:
            (Path(work) / "kernel.cubin").write_bytes(data)
            done = tools.run([str(tool), flag, "kernel.cubin"], Path(work))
        if done.returncode == 0 and done.stdout:
            return done.stdout
    return None


def read_binary(data: bytes) -> Emitted | None:
    """What a cubin holds, from the binary alone; None if no disassembler is here. It cannot tell spills from other stack."""
    sass = disassemble(data)
    tool = tools.find_cuda_tool("cuobjdump")
    if sass is None:
        return None
    resources: list[Resources] = []
    if tool is not None:
        with tempfile.TemporaryDirectory(prefix="mosaic-sass-") as work:
            (Path(work) / "kernel.cubin").write_bytes(data)
            resources = read_resource_usage(tools.run([str(tool), "--dump-resource-usage", "kernel.cubin"], Path(work)).stdout)
    return _emitted(resources, 0, read_sass(sass), from_sass=True)


def compile_and_read(source: str, name: str, target: Target, includes: Sequence[str], dynamic_shared: int) -> tuple[bytes, Emitted]:
    """The cubin of a source, and what was emitted. `dynamic_shared`: bytes that a launch adds to the static ones.

    Instruction families come from the machine code where a disassembler is found, else from PTX.
    Raises ToolMissingError, TargetError as `compile_source` does.
    """
    can_disassemble = any(tools.find_cuda_tool(tool) for tool in ("nvdisasm", "cuobjdump"))
    binary = compile_source(source, name, target, includes, keep_ptx=not can_disassemble)
    sass = disassemble(binary.data)
    if sass is None and binary.ptx is None:  # the disassembler is older than the compiler, say
        binary = compile_source(source, name, target, includes, keep_ptx=True)
    families = read_sass(sass) if sass is not None else read_ptx(binary.ptx or "")
    return binary.data, _emitted(binary.resources, dynamic_shared, families, from_sass=sass is not None)


def _emitted(resources: Sequence[Resources], dynamic_shared: int, families: dict[str, int], *, from_sass: bool) -> Emitted:
    static = most(kernel.shared_bytes for kernel in resources)
    return Emitted(
        registers=most(kernel.registers for kernel in resources),
        spill_bytes=most(kernel.spill_bytes for kernel in resources),
        stack_bytes=most(kernel.stack_bytes for kernel in resources),
        shared_bytes=None if static is None else static + dynamic_shared,
        families=families,
        origin="sass" if from_sass else "ptx",
    )
