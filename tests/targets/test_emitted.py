"""Reading what the tools print. The files in data/ are real output: of nvdisasm, cuobjdump, ptxas 13 and TileLang 0.1.15.

Listings are thinned: of each mnemonic two lines are kept, so that a count of two says no more than "there".
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mosaic.targets.emitted import Emitted, most, read_hip, read_ptx, read_ptx_memory, read_ptxas, read_resource_usage, read_sass

DATA = Path(__file__).parent / "data"


def data(name: str) -> str:
    return (DATA / name).read_text()


@pytest.mark.parametrize(
    ("file", "present", "absent"),
    [
        ("gemm_sm_80.sass", {"HMMA", "LDGSTS", "LDSM", "BAR"}, {"HGMMA", "UTMALDG"}),
        ("nest_sm_90a.sass", {"HGMMA", "UTMALDG", "LDGSTS", "SHFL", "MUFU", "FFMA", "SYNCS", "USETMAXREG"}, {"HMMA", "LDL", "STL"}),
        ("fp8_sm_90a.sass", {"QGMMA", "UTMALDG"}, {"HGMMA", "HMMA"}),
        ("tmem_sm_100a.sass", {"UTCHMMA", "LDTM", "UTMALDG", "UTCBAR"}, {"HMMA", "HGMMA"}),
    ],
)
def test_families_of_machine_code(file: str, present: set[str], absent: set[str]) -> None:
    found = read_sass(data(file))
    assert present <= set(found)
    assert not absent & set(found)


def test_counts_of_machine_code_are_those_of_the_lines() -> None:
    text = data("nest_sm_90a.sass")
    words = [line.partition("*/")[2].split() for line in text.splitlines()]
    mnemonics = [(line[1] if line[0].startswith("@") else line[0]).partition(".")[0] for line in words]
    found = read_sass(text)
    assert len(found) >= 10
    assert all(found[family] == mnemonics.count(family) for family in found)


def test_cuobjdump_and_nvdisasm_are_read_alike() -> None:
    text = data("cuobjdump_sm_80.sass")
    assert read_sass(text) == {"BAR": text.count(" BAR."), "HMMA": text.count(" HMMA."), "LDSM": text.count(" LDSM.")}
    assert read_sass(text)["HMMA"] > 2


def test_a_predicate_before_the_instruction_is_passed_over() -> None:
    lines = "    /*0460*/              @!UP2 UTMALDG.2D [UR8], [UR4], desc[UR6] ;\n    /*0470*/               @P2 RED.E.ADD [R2], R3 ;\n"
    assert read_sass(lines) == {"RED": 1, "UTMALDG": 1}


@pytest.mark.parametrize("name", ["gemm_sm_80", "nest_sm_90a", "fp8_sm_90a", "tmem_sm_100a"])
def test_ptx_tells_the_same_matrix_and_copy_families(name: str) -> None:
    telling = {"HMMA", "HGMMA", "QGMMA", "UTCHMMA", "LDTM", "UTMALDG", "UBLKCP", "LDGSTS", "LDSM", "STSM", "SHFL", "BAR", "USETMAXREG"}
    assert set(read_ptx(data(f"{name}.ptx"))) & telling == set(read_sass(data(f"{name}.sass"))) & telling


@pytest.mark.parametrize(
    ("instruction", "family"),
    [
        ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1}, {%r1}, {%r2}, {%f1};", "HMMA"),
        ("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1}, {%r2}, {%r3}, {%r1};", "IMMA"),
        ("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%f1}, {%r1}, {%r2}, {%f1};", "QMMA"),
        ("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd1}, {%fd2}, {%fd3}, {%fd1};", "DMMA"),
        ("wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8 {%r1}, %rd1, %rd2, 1;", "IGMMA"),
        ("@%p1 atom.global.add.u32 %r1, [%rd1], 1;", "ATOM"),
        ("red.release.gpu.global.add.s32 [%rd1], 1;", "RED"),
        ("st.local.u32 [%rd1], %r1;", "STL"),
        ("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {%r1, %r2}], [%r3];", "UTMASTG"),
        ("cp.async.bulk.commit_group;", None),
        ("barrier.cluster.arrive;", None),
        ("mov.u32 %r1, 0;", None),
    ],
)
def test_a_ptx_instruction(instruction: str, family: str | None) -> None:
    assert read_ptx(f"\t{instruction}\n") == ({} if family is None else {family: 1})


def test_ptxas_output_by_kernel() -> None:
    plain, spills = read_ptxas(data("ptxas.txt"))
    assert (plain.kernel, plain.registers, plain.spill_bytes, plain.stack_bytes, plain.shared_bytes) == ("plain", 10, 0, 0, 1024)
    # 736 bytes of stores and 1,132 of loads; the function that is no kernel, and comes last, adds nothing.
    assert (spills.kernel, spills.registers, spills.spill_bytes, spills.stack_bytes, spills.shared_bytes) == ("spills", 32, 1868, 992, 0)


def test_ptxas_output_that_holds_no_kernel() -> None:
    assert read_ptxas("") == []
    assert read_ptxas("nvcc warning : something\nptxas info    : 0 bytes gmem\n") == []


def test_resource_usage_of_a_binary() -> None:
    (found,) = read_resource_usage(data("resource_usage.txt"))
    assert (found.kernel, found.registers, found.stack_bytes, found.spill_bytes) == ("main_kernel", 80, 0, None)


def test_families_of_hip_source() -> None:
    text = data("gemm_gfx950.hip")
    found = read_hip(text)
    assert found["mfma_f32_16x16x16f16"] == text.count("__builtin_amdgcn_mfma_f32_16x16x16f16(")
    assert found["load_lds"] == text.count("tl::cp_async_gs<")
    assert found["s_barrier"] == text.count("__syncthreads()") + text.count("__builtin_amdgcn_s_barrier(")


def test_matrix_units_are_recognized_in_every_origin() -> None:
    def emitted(families: dict[str, int]) -> Emitted:
        return Emitted(None, None, None, None, families, "sass")

    for file in ("gemm_sm_80.sass", "nest_sm_90a.sass", "fp8_sm_90a.sass", "tmem_sm_100a.sass"):
        assert emitted(read_sass(data(file))).uses_matrix_units
    assert emitted(read_hip(data("gemm_gfx950.hip"))).uses_matrix_units
    assert not emitted({"FFMA": 100, "HFMA2": 3, "LDG": 1}).uses_matrix_units


def test_stored_and_read_back() -> None:
    before = Emitted(32, 0, 0, 1024, {"HMMA": 2}, "sass")
    assert Emitted(**json.loads(json.dumps(before.to_dict()))) == before


def test_the_most_of_what_is_known() -> None:
    assert most([3, None, 5]) == 5
    assert most([None]) is None
    assert most([]) is None


def test_memory_that_ptx_declares() -> None:
    text = (
        "\t.local .align 16 .b8 \t__local_depot0[128];\n\t.shared .align 4 .b8 tile[1024];\n\t.shared .align 4 .u32 count;\n"
        ".extern .shared .align 16 .b8 dynamic[];\n\tst.local.u32 [%rd1], %r1;\n\tst.shared.u32 [%rd2], %r1;\n"
    )
    assert read_ptx_memory(text) == (1024 + 4, 128)
    assert read_ptx_memory(data("gemm_sm_80.ptx")) == (0, 0)
