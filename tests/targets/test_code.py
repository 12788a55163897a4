"""Emitted code of any form: real cubins and PTX by nvcc, disassemblies, AMD's text, and files that are none of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mosaic.errors import InputError, ToolMissingError
from mosaic.targets import cuda, tools
from mosaic.targets.code import form_of, read_code, read_code_file
from mosaic.targets.target import find
from tests.targets.isa import ASSEMBLY, DISASSEMBLY

DATA = Path(__file__).parent / "data"
NVCC = tools.find_cuda_tool("nvcc")
NEEDS_NVCC = pytest.mark.skipif(NVCC is None, reason=f"needs nvcc: {cuda.INSTALL_NVCC}")
NEEDS_DISASSEMBLER = pytest.mark.skipif(tools.find_cuda_tool("nvdisasm") is None, reason=f"needs nvdisasm: {cuda.INSTALL_DISASSEMBLERS}")

# An array that is indexed by what is known at run time only, and shared memory.
SOURCE = """
extern "C" __global__ void indexed(float* x, int n) {
  float a[32];
  __shared__ float s[256];
  for (int i = 0; i < 32; ++i) a[i] = x[i * 32 + threadIdx.x];
  for (int i = 0; i < n; ++i) a[(i * 7) % 32] += a[i % 32];
  s[threadIdx.x] = a[n % 32];
  __syncthreads();
  x[threadIdx.x] = s[255 - threadIdx.x];
}
"""


@NEEDS_NVCC
@NEEDS_DISASSEMBLER
def test_a_cubin() -> None:
    data = cuda.compile_source(SOURCE, "indexed", find("sm_90a"), ()).data
    found = read_code(data)
    assert (form_of(data), found.origin) == ("cubin", "sass")
    assert {"LDL", "STL", "LDG", "STG", "LDS", "STS", "BAR"} <= set(found.families)
    assert found.stack_bytes == 128
    assert found.shared_bytes is not None
    assert found.shared_bytes >= 1024


@NEEDS_NVCC
def test_ptx_by_nvcc(tmp_path: Path) -> None:
    (tmp_path / "kernel.cu").write_text(SOURCE)
    subprocess.run([str(NVCC), "-ptx", "-arch=sm_90a", "kernel.cu", "-o", "kernel.ptx"], cwd=tmp_path, check=True, timeout=120)
    found = read_code_file(tmp_path / "kernel.ptx")
    assert (found.origin, found.shared_bytes, found.stack_bytes) == ("ptx", 1024, 128)
    assert (found.registers, found.spill_bytes) == (None, None)
    assert {"LDL", "STL", "LDG", "STG", "LDS", "STS", "BAR"} <= set(found.families)


@pytest.mark.parametrize("name", ["gemm_sm_80", "nest_sm_90a", "tmem_sm_100a"])
def test_texts_that_are_stored(name: str) -> None:
    sass = read_code((DATA / f"{name}.sass").read_bytes())
    assert sass.origin == "sass"
    assert sass.uses_matrix_units


def test_a_disassembly_with_its_resources_in_one_file() -> None:
    both = (DATA / "resource_usage.txt").read_bytes() + (DATA / "cuobjdump_sm_80.sass").read_bytes()
    assert read_code(both).registers == 80


@pytest.mark.parametrize("text", [ASSEMBLY, DISASSEMBLY])
def test_amds_machine_code(text: str) -> None:
    assert form_of(text.encode()) == "isa"
    assert read_code(text.encode()).origin == "isa"


AMD_BINARY = b"\x7fELF" + bytes(14) + (224).to_bytes(2, "little") + bytes(40)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither a cubin nor PTX"),
        (b"int main() { return 0; }", "neither a cubin nor PTX"),
        (b"\xff\xfe\x00", "neither a cubin nor PTX"),
        (b"\x7fELF" + bytes(60), "neither a cubin nor PTX"),
        (AMD_BINARY, "give its disassembly"),
    ],
)
def test_what_is_no_emitted_code(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_code(data, "this file")


def test_a_cubin_without_a_disassembler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find_cuda_tool", lambda name: None)
    with pytest.raises(ToolMissingError, match="no disassembler"):
        read_code(b"\x7fELF" + bytes(14) + (190).to_bytes(2, "little") + bytes(40))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_code_file(tmp_path / "none.cubin")
