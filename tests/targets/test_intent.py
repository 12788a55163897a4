"""Intents: what they ask for, against families that are there and that are not; their files; real code that misses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.targets import cuda, tools
from mosaic.targets.amdgpu import emitted as amd_emitted
from mosaic.targets.code import read_code
from mosaic.targets.emitted import Emitted, read_ptx, read_sass
from mosaic.targets.intent import GROUPS, Intent, Requirement, compare, from_json, places, to_json, untold
from mosaic.targets.target import find
from tests.targets.isa import ASSEMBLY
from tests.targets.test_code import NEEDS_DISASSEMBLER, NEEDS_NVCC, SOURCE

DATA = Path(__file__).parent / "data"


def sass(**families: int) -> Emitted:
    return Emitted(100, 0, 0, 1 << 16, families, "sass")


def wanted(*names: str, **more: Any) -> Intent:
    return Intent("sm_90a", tuple(Requirement((name,)) for name in names), **more)


@pytest.mark.parametrize(
    ("file", "there", "missing"),
    [
        ("gemm_sm_80", ["mma", "cp.async", "ldmatrix", "matrix", "async-copy"], ["wgmma", "tma", "tcgen05", "mfma"]),
        ("nest_sm_90a", ["wgmma", "tma", "mbarrier", "shuffle", "matrix"], ["mma", "tcgen05", "load-lds"]),
        ("fp8_sm_90a", ["wgmma", "tma", "QGMMA"], ["HGMMA", "mma"]),
        ("tmem_sm_100a", ["tcgen05", "tensor-memory", "tma"], ["mma", "wgmma"]),
    ],
)
@pytest.mark.parametrize("form", ["sass", "ptx"])
def test_real_code_holds_what_it_holds(file: str, there: list[str], missing: list[str], form: str) -> None:
    text = (DATA / f"{file}.{form}").read_text()
    found = Emitted(None, None, None, None, read_sass(text) if form == "sass" else read_ptx(text), "sass" if form == "sass" else "ptx")
    assert compare(wanted(*there), found) == ()
    assert [diagnosis.what for diagnosis in compare(wanted(*missing), found)] == missing


def test_amds_machine_code() -> None:
    intent = Intent(
        "gfx942", (Requirement(("mfma",)), Requirement(("mfma_f32_16x16x16*",), at_least=2)), ("register-moves",), {"spill_bytes": 0}
    )
    moves, spills = compare(intent, amd_emitted(ASSEMBLY))
    assert (moves.kind, moves.what) == ("forbidden", "register-moves")
    assert str(spills).startswith("12 bytes of spilled registers a thread, where 0 are allowed. Likely: more values")


@NEEDS_NVCC
@NEEDS_DISASSEMBLER
def test_a_real_kernel_that_keeps_an_array_in_local_memory() -> None:
    found = read_code(cuda.compile_source(SOURCE, "indexed", find("sm_90a"), ()).data)
    local, stack = compare(wanted("matrix", forbid=("local-memory",), limits={"stack_bytes": 0, "registers": 255}), found)[1:]
    assert any("known at run time only" in cause for cause in local.causes)
    assert stack.message == "128 bytes of stack a thread, where 0 are allowed"


SPILLING = """
extern "C" __global__ void __launch_bounds__(1024, 2) spilling(float* x) {
  float a[96];
  #pragma unroll
  for (int i = 0; i < 96; ++i) a[i] = x[i * 1024 + threadIdx.x];
  #pragma unroll
  for (int i = 0; i < 96; ++i) a[i] = a[i] * a[(i * 37) % 96] + a[(i * 11) % 96];
  __syncthreads();
  #pragma unroll
  for (int i = 0; i < 96; ++i) x[i * 1024 + threadIdx.x] = a[95 - i] * a[i];
}
"""


@NEEDS_NVCC
def test_a_real_kernel_that_spills() -> None:
    _, found = cuda.compile_and_read(SPILLING, "spilling", find("sm_80"), (), 0)
    assert found.spill_bytes is not None
    assert found.spill_bytes > 0
    kinds = {diagnosis.what: diagnosis for diagnosis in compare(wanted(forbid=("local-memory",), limits={"spill_bytes": 0}), found)}
    assert any("__launch_bounds__" in cause for cause in kinds["spill_bytes"].causes)
    assert "local-memory" in kinds


@NEEDS_NVCC
@NEEDS_DISASSEMBLER
def test_a_real_product_on_the_vector_units() -> None:
    source = """
extern "C" __global__ void product(const float* a, const float* b, float* c) {
  float sum = 0;
  for (int k = 0; k < 64; ++k) sum += a[threadIdx.y * 64 + k] * b[k * 64 + threadIdx.x];
  c[threadIdx.y * 64 + threadIdx.x] = sum;
}
"""
    assert tools.find_cuda_tool("nvdisasm") is not None
    _, found = cuda.compile_and_read(source, "product", find("sm_90a"), (), 0)
    (missing,) = compare(wanted("wgmma"), found)
    assert any("vector units" in cause for cause in missing.causes)


def test_a_diagnosis_says_what_where_and_why() -> None:
    (found,) = compare(Intent("sm_90a", (Requirement(("wgmma",), "the product", 4),)), sass(HGMMA=3, HMMA=1))
    assert found.message == "only 3 of 4 places with wgmma for the product in the machine code"
    (found,) = compare(wanted("wgmma"), Emitted(None, None, None, None, {"HMMA": 2}, "ptx"))
    assert str(found).startswith("no wgmma in the PTX. Likely: a block has fewer than 64 rows")
    (found,) = compare(wanted(limits={"shared_bytes": 1000}), sass())
    assert found.message == "65,536 bytes of shared memory a block, where 1,000 are allowed"
    (found,) = compare(Intent("other", (Requirement(("XYZ",)),)), sass())
    assert str(found) == "no XYZ in the machine code."
    assert found.to_dict() == {"kind": "missing", "what": "XYZ", "message": "no XYZ in the machine code", "causes": []}


def test_one_of_several_is_enough() -> None:
    either = Intent("sm_90a", (Requirement(("wgmma", "mma")),))
    assert compare(either, sass(HMMA=1)) == ()
    assert compare(either, sass(FFMA=1))[0].what == "wgmma or mma"


def test_what_is_not_told_is_no_mismatch() -> None:
    unknown = Emitted(None, None, None, 100, {}, "ptx")
    intent = wanted(limits={"registers": 1, "spill_bytes": 0, "shared_bytes": 200})
    assert compare(intent, unknown) == ()
    assert untold(intent, unknown) == ("registers", "spill_bytes")


def test_places_of_a_group() -> None:
    assert places("matrix", sass(HMMA=2, HGMMA=3, FFMA=5)) == 5
    assert places("mfma", Emitted(None, None, None, None, {"mfma_f32_16x16x16f16": 2, "smfmac_x": 1}, "isa")) == 3
    assert places("HMMA", sass(HMMA=2)) == 2
    assert all(GROUPS.values())


def test_as_json_and_back() -> None:
    intent = Intent("sm_90a", (Requirement(("wgmma", "mma"), "the product", 2),), ("local-memory",), {"registers": 168})
    assert from_json(to_json(intent)) == intent
    short = {"format": "mosaic-intent", "version": 1, "target": "sm_80", "require": ["mma"]}
    assert from_json(json.dumps(short)) == Intent("sm_80", (Requirement(("mma",)),))


GOOD: dict[str, Any] = {"format": "mosaic-intent", "version": 1, "target": "sm_80"}


@pytest.mark.parametrize(
    "document",
    [
        "nonsense",
        [],
        {},
        {**GOOD, "version": 2},
        {**GOOD, "wants": []},
        {**GOOD, "target": 80},
        {**GOOD, "limits": {"warps": 3}},
        {**GOOD, "limits": {"registers": "many"}},
        {**GOOD, "limits": {"registers": True}},
        {**GOOD, "forbid": "local-memory"},
        {**GOOD, "forbid": [1]},
        {**GOOD, "require": "mma"},
        {**GOOD, "require": [{"any": []}]},
        {**GOOD, "require": [{"any": ["mma"], "at_least": -1}]},
        {**GOOD, "require": [{"all": ["mma"]}]},
        {**GOOD, "require": [3]},
    ],
)
def test_what_is_no_intent(document: Any) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(InputError, match=r"^intent\.json "):
        from_json(text, "intent.json")
