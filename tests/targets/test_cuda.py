"""nvcc and the disassemblers. Skipped where they are missing; what is said then is tested with the search made blind."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.errors import TargetError, ToolMissingError
from mosaic.targets import cuda, tools, upstream
from mosaic.targets.target import find

NEEDS_NVCC = pytest.mark.skipif(tools.find_cuda_tool("nvcc") is None, reason=f"needs nvcc: {cuda.INSTALL_NVCC}")
NEEDS_DISASSEMBLER = pytest.mark.skipif(tools.find_cuda_tool("nvdisasm") is None, reason=f"needs nvdisasm: {cuda.INSTALL_DISASSEMBLERS}")

SOURCE = """
extern "C" __global__ void reversed(float* x) {
  __shared__ float tile[256];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = tile[255 - threadIdx.x] * x[0] + 1.0f;
}
"""


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Hide these tools."""
    found = {name: tools.find_cuda_tool(name) for name in ("nvcc", "nvdisasm", "cuobjdump")}

    def search(name: str) -> Path | None:
        return None if name in names else found[name]

    monkeypatch.setattr(tools, "find_cuda_tool", search)


@NEEDS_NVCC
def test_the_same_source_gives_the_same_bytes() -> None:
    first, second = (cuda.compile_source(SOURCE, "reversed", find("sm_80"), ()) for _ in range(2))
    assert first.data == second.data
    assert first.data[:4] == b"\x7fELF"
    assert first.ptx is None
    (kernel,) = first.resources
    assert (kernel.kernel, kernel.spill_bytes, kernel.shared_bytes) == ("reversed", 0, 1024)


@NEEDS_NVCC
@NEEDS_DISASSEMBLER
def test_what_was_emitted_is_read_from_machine_code() -> None:
    data, emitted = cuda.compile_and_read(SOURCE, "reversed", find("sm_90a"), (), dynamic_shared=512)
    assert emitted.origin == "sass"
    assert {"BAR", "STS", "LDS", "LDG", "STG", "FFMA"} <= set(emitted.families)
    assert emitted.shared_bytes == 1024 + 512
    assert emitted.registers is not None
    assert 8 <= emitted.registers <= 64
    again = cuda.read_binary(data)
    assert again is not None
    assert (again.families, again.registers) == (emitted.families, emitted.registers)


@NEEDS_NVCC
def test_without_a_disassembler_families_come_from_ptx(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "nvdisasm", "cuobjdump")
    data, emitted = cuda.compile_and_read(SOURCE, "reversed", find("sm_80"), (), dynamic_shared=0)
    assert emitted.origin == "ptx"
    assert {"BAR", "STS", "LDS", "LDG", "STG", "FFMA"} <= set(emitted.families)
    assert emitted.spill_bytes == 0
    assert cuda.disassemble(data) is None
    assert cuda.read_binary(data) is None


@NEEDS_NVCC
def test_without_nvdisasm_cuobjdump_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    if tools.find_cuda_tool("cuobjdump") is None:
        pytest.skip(f"needs cuobjdump: {cuda.INSTALL_DISASSEMBLERS}")
    _, wanted = cuda.compile_and_read(SOURCE, "reversed", find("sm_80"), (), dynamic_shared=0)
    without(monkeypatch, "nvdisasm")
    _, emitted = cuda.compile_and_read(SOURCE, "reversed", find("sm_80"), (), dynamic_shared=0)
    assert emitted.origin == "sass"
    assert emitted.families == wanted.families


def test_without_nvcc_the_error_names_the_command_that_adds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "nvcc")
    with pytest.raises(ToolMissingError, match=r"no nvcc is on this machine.*`pip install nvidia-cuda-nvcc"):
        cuda.compile_source(SOURCE, "reversed", find("sm_80"), ())


@NEEDS_NVCC
def test_what_nvcc_refuses_is_one_sentence() -> None:
    said = r"^nvcc refuses kernel 'broken' for sm_80: kernel\.cu, line 1: identifier \"nonsense\" is undefined$"
    with pytest.raises(TargetError, match=said):
        cuda.compile_source('extern "C" __global__ void broken() { nonsense(); }', "broken", find("sm_80"), ())


def test_the_line_that_says_what_is_wrong() -> None:
    output = "warning: x\n/a/b/mma.h(282): error: static assertion failed\nmore"
    assert cuda.first_error(output) == "mma.h, line 282: static assertion failed"
    assert cuda.first_error("nvcc fatal   : Unsupported gpu architecture 'sm_1'") == "nvcc fatal   : Unsupported gpu architecture 'sm_1'"
    assert cuda.first_error("") == "it says nothing"


def test_the_fingerprint_changes_with_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    here = cuda.fingerprint()
    assert here == cuda.fingerprint()
    without(monkeypatch, "nvcc", "nvdisasm", "cuobjdump")
    nothing = cuda.fingerprint()
    assert "None" in nothing
    assert (here == nothing) == (tools.version(Path("/nonexistent")) is not None)


@NEEDS_NVCC
def test_the_includes_serve_tilelangs_templates() -> None:
    source = "#include <tl_templates/cuda/common.h>\n" + SOURCE
    binary = cuda.compile_source(source, "reversed", find("sm_90a"), upstream.include_flags())
    assert [kernel.kernel for kernel in binary.resources] == ["reversed"]
