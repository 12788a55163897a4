"""Lowering to every target: what comes out, what is refused, what the cache saves."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import TargetError
from mosaic.stitch.finish import NO_SPECIALIZATION
from mosaic.targets import cuda, tools
from mosaic.targets.cache import Cache
from mosaic.targets.lower import lower
from mosaic.targets.target import TARGETS
from tests.targets import programs

GPUS = [name for name, target in TARGETS.items() if target.kind != "cpu"]
NEEDS_TOOLS = pytest.mark.skipif(
    tools.find_cuda_tool("nvcc") is None or tools.find_cuda_tool("nvdisasm") is None,
    reason=f"needs nvcc and nvdisasm: {cuda.INSTALL_NVCC} nvidia-cuda-nvdisasm",
)


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "cpu"])
def test_a_pipelined_product_lowers_for_every_gpu(target: str) -> None:
    lowered = lower(programs.gemm(), target, binary=False)
    assert (lowered.name, lowered.params, lowered.kernels, lowered.target.name) == ("gemm", ("A", "B", "C"), 1, target)
    assert "__global__ void" in lowered.source
    assert lowered.binary is None
    assert lowered.shared_bytes > 0
    assert lowered.warp_specialized == (target in ("sm_90a", "sm_100a"))
    assert lowered.threads == (256 if lowered.warp_specialized else 128)
    assert not any("lowered without" in note for note in lowered.notes)


def test_a_pipelined_product_lowers_for_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    monkeypatch.setenv("MOSAIC_CACHE", str(tmp_path))
    lowered = lower(programs.gemm(), "cpu")
    assert lowered.params == ("A", "B", "C")
    assert lowered.binary is not None
    assert lowered.binary.is_file()
    assert "include" in lowered.source
    assert not lowered.cached
    assert lower(programs.gemm(), "cpu").cached


@NEEDS_TOOLS
@pytest.mark.parametrize(
    ("program", "target", "present", "absent"),
    [
        (programs.gemm(), "sm_80", {"HMMA", "LDGSTS", "LDSM"}, {"HGMMA", "UTMALDG"}),
        (programs.gemm(), "sm_90a", {"HGMMA", "UTMALDG", "SYNCS"}, {"HMMA", "LDGSTS"}),
        (programs.gemm(), "sm_100a", {"HMMA", "UTMALDG", "SYNCS"}, {"HGMMA", "LDGSTS"}),
        (programs.gemm_in_tensor_memory(), "sm_100a", {"UTCHMMA", "LDTM", "UTMALDG"}, {"HMMA", "HGMMA"}),
        (programs.gemm_transposed(), "sm_90a", {"QGMMA", "UTMALDG"}, {"HGMMA", "HMMA"}),
    ],
)
def test_the_machine_code_is_what_the_target_is_for(program: Any, target: str, present: set[str], absent: set[str]) -> None:
    lowered = lower(program, target)
    assert lowered.binary is not None
    assert lowered.binary.read_bytes()[:4] == b"\x7fELF"
    found = lowered.emitted
    assert found is not None
    assert (found.origin, found.spill_bytes, found.stack_bytes) == ("sass", 0, 0)
    assert present <= set(found.families)
    assert not (absent | {"LDL", "STL"}) & set(found.families)
    assert found.registers is not None
    assert 32 <= found.registers <= lowered.target.registers_per_thread
    assert found.shared_bytes is not None
    assert lowered.shared_bytes <= found.shared_bytes <= lowered.target.shared_per_block


SHAPES = {
    "sequence": programs.sequence(),
    "nest": programs.nest(),
    "nest, both pipelined": programs.nest(outer=1),
    "branches": programs.branches(),
    "row norm": programs.row_norm(),
    "free sizes": programs.free_sizes(),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", ["sm_80", "sm_90a", "gfx942"])
def test_the_shapes_of_fused_kernels_lower(shape: str, target: str) -> None:
    lowered = lower(SHAPES[shape], target, binary=False)
    assert lowered.source
    assert lowered.params[0] == "A" or shape == "row norm"


def test_a_loop_that_specialization_would_get_wrong_is_lowered_without() -> None:
    lowered = lower(programs.nest(), "sm_90a", binary=False)
    assert not lowered.warp_specialized
    assert lowered.pass_configs == {NO_SPECIALIZATION: True}
    assert lowered.notes[0].startswith("lowered without warp specialization: the pipelined loop over k stands in that over n")
    # The very same loops with nothing carried around them keep it.
    assert lower(programs.nest(carried=False), "sm_90a", binary=False).warp_specialized


def test_what_is_refused_only_with_specialization_is_lowered_without() -> None:
    # The branch without a pipeline runs on 128 + 256 threads then, and no layout divides its tile over so many.
    lowered = lower(programs.branches(threads=256), "sm_90a", binary=False)
    assert (lowered.warp_specialized, lowered.threads) == (False, 256)
    assert lowered.notes[0] == "lowered without warp specialization, which TileLang refuses here: no available layout found"


def test_too_many_threads_with_specialization_only() -> None:
    lowered = lower(programs.gemm(tile=(128, 128, 32), threads=1024), "sm_90a", binary=False)
    assert lowered.threads == 1024
    assert lowered.notes[0] == "lowered without warp specialization, with which a block would have 1152 threads"


def test_a_pipeline_that_reads_before_it_refills_is_lowered_without_stages() -> None:
    lowered = lower(programs.refill(), "sm_80", binary=False)
    assert lowered.notes == (
        "the loop over k is not pipelined: it reads a shared buffer before it refills it, which TileLang's pipelines get wrong",
    )
    assert "cp_async" not in lowered.source


@pytest.mark.parametrize("target", ["sm_80", "sm_90a"])
def test_layouts_that_conflict_are_converted(target: str) -> None:
    lowered = lower(programs.conflicting_layouts(), target, binary=False)
    assert any("is converted to columns (128x128 float32) through 32,768 bytes" in note for note in lowered.notes), lowered.notes
    assert "mosaic_convert" in lowered.source


@pytest.mark.parametrize(
    ("program", "target", "message"),
    [
        (programs.gemm(tile=(8, 8, 8)), "sm_80", r"TileLang cannot lower kernel 'gemm' for sm_80: .*must be divisible by 16"),
        (programs.staged(256), "sm_90a", r"'staged' needs 262,144 bytes of shared memory a block, and sm_90a has 232,448; choose smaller"),
        (programs.staged(192), "gfx942", r"'staged' needs 147,456 bytes of shared memory a block, and gfx942 has 65,536"),
        (programs.row_norm(threads=2048), "sm_80", r"kernel 'row_norm' has 2048 threads a block, and sm_80 takes 1024; use fewer"),
        (programs.gemm_in_tensor_memory(), "sm_80", r"TileLang cannot lower kernel 'gemm_in_tensor_memory' for sm_80: "),
        (programs.gemm, "sm_80", r"only a PrimFunc can be lowered, not function; call the kernel's function"),
        (programs.gemm(), "sm_81", r"no target is named 'sm_81'; did you mean sm_80"),
    ],
)
def test_refusals(program: Any, target: str, message: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        lower(program, target, binary=False)
    assert "\n" not in str(caught.value)


@NEEDS_TOOLS
def test_what_nvcc_refuses_is_a_refusal_too() -> None:
    # TileLang has no int8 product of these operands in its templates for Ampere, and leaves it to nvcc to say so.
    with pytest.raises(TargetError, match=r"^nvcc refuses kernel 'gemm' for sm_80: mma\.h, line \d+: static assertion failed"):
        lower(programs.gemm(dtype="int8"), "sm_80")


def test_without_nvcc_there_is_source_and_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "find_cuda_tool", lambda name: None)
    lowered = lower(programs.row_norm(), "sm_80", cache=Cache(tmp_path))
    assert (lowered.binary, lowered.emitted) == (None, None)
    assert "pip install nvidia-cuda-nvcc" in lowered.notes[0]


def test_a_cached_program_costs_less_than_50_ms(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = lower(programs.nest(), "sm_90a", cache=cache)
    again = [lower(programs.nest(), "sm_90a", cache=cache) for _ in range(9)]
    assert not first.cached
    assert all(lowered.cached for lowered in again)
    assert statistics.median(lowered.seconds for lowered in again) < 0.05 < first.seconds
    for lowered in again:
        assert (lowered.source, lowered.emitted, lowered.notes, lowered.binary) == (first.source, first.emitted, first.notes, first.binary)


def test_a_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = lower(programs.row_norm(), "gfx942", cache=cache)
    (source,) = tmp_path.rglob("kernel.hip")
    source.write_text("// damaged")
    again = lower(programs.row_norm(), "gfx942", cache=cache)
    assert not again.cached
    assert again.source == first.source == source.read_text()


def test_the_cache_tells_targets_and_wishes_apart(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    made = [
        lower(programs.row_norm(), "sm_80", binary=False, cache=cache),
        lower(programs.row_norm(), "gfx942", binary=False, cache=cache),
        lower(programs.row_norm(M=128), "sm_80", binary=False, cache=cache),
        lower(programs.one_layout(by_row=True), "sm_80", binary=False, cache=cache),
        lower(programs.one_layout(by_row=False), "sm_80", binary=False, cache=cache),
    ]
    assert not any(lowered.cached for lowered in made)
    assert made[3].source != made[4].source
    assert lower(programs.row_norm(), "sm_80", binary=False, cache=cache).cached
