"""The text of conversions: run on a processor against a block of threads, compiled by nvcc, and compared with golden files."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from mosaic.layouts.conversion import Kind
from mosaic.layouts.emit import WHOLE_BLOCK, Callers, DeviceFunction, emit
from mosaic.layouts.emit.dialect import dialect, prelude, type_name
from mosaic.layouts.emit.places import Places
from mosaic.targets.cuda import disassemble
from mosaic.targets.emitted import read_sass
from tests.layouts.emit.cpu import Runnable, run_on_cpu
from tests.layouts.emit.family import Case, amd_cases, nvidia_cases, random_table

KINDS: Final[tuple[Kind | None, ...]] = (None, "shared")
TYPES: Final = """\
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cstring>
using half_t = __half;
using bfloat16_t = __nv_bfloat16;
using fp8_e4_t = __nv_fp8_e4m3;
using fp8_e5_t = __nv_fp8_e5m2;
"""


def runnable(name: str, case: Case, arch: str, kind: Kind | None = None, limit: int = 48 << 10, callers: Callers = WHOLE_BLOCK) -> Runnable:
    source, target, *dtypes = case
    function = emit(
        source,
        target,
        source_dtype=dtypes[0],
        target_dtype=dtypes[1],
        arch=arch,
        name=name,
        kind=kind,
        shared_limit=limit,
        callers=callers,
    )
    size = dialect(arch).warp_size
    return Runnable(function, Places.of(source, size), Places.of(target, size), dtypes[0], dtypes[1])


def check(runnables: list[Runnable], folder: Path) -> None:
    found = run_on_cpu(runnables, folder)
    assert found == {each.function.name: 0 for each in runnables}


def test_cuda_text_runs(tmp_path: Path) -> None:
    runnables = []
    for name, case in nvidia_cases().items():
        runnables += [runnable(f"{name}_{kind}", case, "sm_90a", kind) for kind in (None, "shared")]
        runnables.append(runnable(f"{name}_rounds", case, "sm_80", "shared", 512 if "three" not in name else 1024))
    check(runnables, tmp_path)


def test_hip_text_runs(tmp_path: Path) -> None:
    for arch in ("gfx942", "gfx950"):
        check([runnable(f"{name}_{kind}", case, arch, kind) for name, case in amd_cases().items() for kind in KINDS], tmp_path)


def test_text_of_any_layouts_runs(tmp_path: Path) -> None:
    runnables: list[Runnable] = []
    for seed in range(3):
        for within in (True, False):
            source, target = (random_table(4, 32, 3, 2 * seed + which, within=within) for which in (0, 1))
            for dtypes in (("float32", "float16"), ("int8", "int8"), ("bfloat16", "float32")):
                runnables.append(runnable(f"any{len(runnables)}", (source, target, *dtypes), "sm_80"))
    check(runnables, tmp_path)


def test_all_dtypes_run(tmp_path: Path) -> None:
    source, target, *_ = nvidia_cases()["a_fp8"]
    dtypes = ("float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "int32", "int16", "uint8", "uint32")
    runnables = []
    for first in dtypes:
        for second in dtypes:
            runnables.append(runnable(f"from_{first}_to_{second}", (source, target, first, second), "sm_90a"))
    check(runnables, tmp_path)


def test_a_wrong_text_is_found(tmp_path: Path) -> None:
    good = runnable("conversion", nvidia_cases()["a_fp8"], "sm_90a")
    for wrong in (good.function.text.replace("shuffle(w4", "shuffle(w0"), good.function.text.replace("thread & 2u", "thread & 1u")):
        assert wrong != good.function.text
        function = DeviceFunction(**{**good.function.__dict__, "text": wrong})
        found = run_on_cpu([Runnable(function, good.source, good.target, "float32", "float8_e4m3fn")], tmp_path)
        assert found["conversion"] > 0


def test_a_part_of_the_block_runs_it(tmp_path: Path) -> None:
    # The shim's threads count from 0, so the caller's offset is only looked at.
    part = runnable("part", nvidia_cases()["policies_fp16"], "sm_90a", callers=Callers(barrier=2))
    assert "mosaic::barrier(2u, 128u);" in part.function.text
    check([part], tmp_path)


def kernel(each: Runnable) -> str:
    """Registers come from and go to memory as whole words, so that only the conversion takes them apart."""
    function = each.function
    declare = f"  __shared__ __align__(1024) char stage[{function.shared_bytes}];\n" if function.shared_bytes else ""
    source, target = type_name(each.source_dtype), type_name(each.target_dtype)
    return f"""{function.text}
extern "C" __global__ void kernel(const float* in, uint4* out) {{
{declare}  {source} source[{each.source.registers}];
  {target} target[{each.target.registers}];
#pragma unroll
  for (int at = 0; at < {each.source.registers}; ++at) source[at] = {source}(in[at * 1024 + threadIdx.x]);
  {function.name}(source, target{", stage" if function.shared_bytes else ""});
#pragma unroll
  for (int at = 0; at < {each.target.registers} * sizeof({target}) / 16; ++at) {{
    uint4 word;
    memcpy(&word, target + at * 16 / sizeof({target}), 16);
    out[at * 1024 + threadIdx.x] = word;
  }}
}}
"""


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not here")
@pytest.mark.parametrize(
    ("name", "kind", "arch", "there", "absent"),
    [
        ("ct_b_bf16", None, "sm_80", {}, {"SHFL", "STS", "LDS", "LDL", "STL", "BAR"}),
        ("a_fp8", None, "sm_90a", {"SHFL": 4}, {"STS", "LDS", "LDL", "STL", "BAR"}),
        ("a_tf32", None, "sm_80", {"SHFL": 4}, {"STS", "LDS", "LDL", "STL", "BAR"}),
        ("transpose_fp16", None, "sm_90a", {"STS": 4, "LDS": 8, "BAR": 2}, {"SHFL", "LDL", "STL"}),
        ("a_fp8", "shared", "sm_90a", {"STS": 1, "LDS": 2, "BAR": 2}, {"SHFL", "LDL", "STL"}),
    ],
)
def test_machine_code(name: str, kind: Kind | None, arch: str, there: dict[str, int], absent: set[str], tmp_path: Path) -> None:
    each = runnable("conversion", nvidia_cases()[name], arch, kind)
    (tmp_path / "kernel.cu").write_text(TYPES + kernel(each), encoding="utf-8")
    command = ["nvcc", "-std=c++17", f"-arch={arch}", "-cubin", "-Xptxas", "-v", "-o", "kernel.cubin", "kernel.cu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in done.stderr
    text = disassemble((tmp_path / "kernel.cubin").read_bytes())
    if text is None:
        pytest.skip("no disassembler is here")
    families = read_sass(text)
    assert {family: families.get(family, 0) for family in there} == there
    assert not absent & set(families)


@pytest.mark.parametrize(
    ("name", "case", "arch"),
    [
        ("shuffle_sm_90a", nvidia_cases()["a_fp8"], "sm_90a"),
        ("shared_sm_90a", nvidia_cases()["policies_fp16"], "sm_90a"),
        ("shuffle_gfx942", amd_cases()["d_a_32x32x16"], "gfx942"),
        ("exchange_gfx950", amd_cases()["d_a_16x16x32"], "gfx950"),
        ("shared_gfx950", amd_cases()["warps"], "gfx950"),
    ],
)
def test_text_is_as_it_was(golden: Callable[[str, str], None], name: str, case: Case, arch: str) -> None:
    golden(f"layouts/emit/{name}.txt", runnable("conversion", case, arch).function.text.removeprefix(prelude(dialect(arch))))


# What HIP's headers declare of what conversions use.
HIP: Final = """
#define __device__
#define __forceinline__ inline
struct Index { unsigned x; };
extern Index threadIdx;
struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
uint2 make_uint2(unsigned, unsigned);
uint4 make_uint4(unsigned, unsigned, unsigned, unsigned);
int __popc(unsigned);
void __syncthreads();
unsigned __lane_id();
extern "C" void *memcpy(void *, const void *, __SIZE_TYPE__);
using half_t = _Float16;
struct bfloat16_t { unsigned short raw; bfloat16_t() = default; explicit bfloat16_t(float); };
struct fp8_e4_t { unsigned char raw; fp8_e4_t() = default; fp8_e4_t(float); };
"""


@pytest.mark.parametrize("kind", [None, "shared"])
@pytest.mark.parametrize("name", amd_cases())
def test_hip_text_is_accepted_by_clang(name: str, kind: Kind | None) -> None:
    # The libclang package is a whole front end, with AMD's builtins of its version: that of gfx950 came with 20.
    cindex: Any = pytest.importorskip("clang.cindex", reason="the libclang package is not here")
    text = HIP + runnable("conversion", amd_cases()[name], "gfx942", kind).function.text
    options = ["--target=amdgcn-amd-amdhsa", "-mcpu=gfx942", "-nogpulib", "-std=c++17"]
    unit = cindex.Index.create().parse("conversion.cpp", args=options, unsaved_files=[("conversion.cpp", text)])
    assert [str(found) for found in unit.diagnostics] == []


def test_several_conversions_in_one_source() -> None:
    first = runnable("first", nvidia_cases()["a_fp8"], "sm_90a").function.text
    second = runnable("second", nvidia_cases()["a_tf32"], "sm_90a").function.text
    assert first.startswith(prelude(dialect("sm_90a")))
    assert second.startswith(prelude(dialect("sm_90a")))
    assert re.findall(r"void (\w+)\(const", first + second) == ["first", "second"]
