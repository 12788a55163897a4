"""What `lower` returns survives the cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mosaic.targets.cache import Cache, key_of
from mosaic.targets.emitted import Emitted
from mosaic.targets.lowered import Lowered, from_entry, to_files
from mosaic.targets.target import TARGETS

LOWERED = Lowered(
    name="gemm",
    target=TARGETS["sm_90a"],
    source="__global__ void gemm_kernel() { /* Σ */ }",
    binary=None,
    emitted=Emitted(168, 0, 0, 50_176, {"HGMMA": 8}, "sass"),
    params=("A", "B", "C"),
    threads=256,
    shared_bytes=49_152,
    kernels=1,
    warp_specialized=True,
    notes=("a note",),
    seconds=0.0,
    cached=False,
    pass_configs={"tl.disable_warp_specialized": True},
    program="the program",
)


@pytest.mark.parametrize("binary", [b"\x7fELF", None])
@pytest.mark.parametrize("emitted", [LOWERED.emitted, None])
def test_stored_and_read_back(tmp_path: Path, binary: bytes | None, emitted: Emitted | None) -> None:
    before = replace(LOWERED, emitted=emitted)
    entry = Cache(tmp_path).put(key_of("x"), to_files(before, binary))
    after = from_entry(entry, before.target, before.program, 0.25, cached=True)
    assert after == replace(before, binary=after.binary, seconds=0.25, cached=True)
    assert after.program == before.program
    assert (after.binary.read_bytes() if after.binary else None) == binary


def test_every_field_that_the_program_does_not_bring_is_stored() -> None:
    record = json.loads(to_files(LOWERED, None)["lowered.json"])
    given_otherwise = {"target", "source", "binary", "seconds", "cached", "program"}
    assert set(record) == {field for field in Lowered.__dataclass_fields__ if field not in given_otherwise}


def test_the_source_has_the_name_of_its_language() -> None:
    assert "kernel.hip" in to_files(replace(LOWERED, target=TARGETS["gfx942"]), None)
    assert "kernel.cu" in to_files(LOWERED, None)
