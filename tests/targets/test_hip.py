"""HIP source and what is read of it."""

from __future__ import annotations

import pytest

from mosaic.targets import hip, upstream
from mosaic.targets.target import find
from tests.targets import programs


@pytest.mark.parametrize(
    ("target", "dtype", "family"),
    [
        ("gfx942", "float16", "mfma_f32_16x16x16f16"),
        ("gfx942", "bfloat16", "mfma_f32_16x16x16bf16_1k"),
        ("gfx950", "float16", "mfma_f32_16x16x16f16"),
    ],
)
def test_the_matrix_builtin_is_named(target: str, dtype: str, family: str) -> None:
    source = upstream.lower_source(programs.gemm(dtype=dtype), find(target), {})
    found = hip.read_source(source.text, source.launches[0].dynamic_shared_bytes)
    assert found.origin == "source"
    assert found.families[family] >= 1
    assert found.uses_matrix_units
    assert found.shared_bytes == source.launches[0].dynamic_shared_bytes
    assert (found.registers, found.spill_bytes) == (None, None)


def test_only_the_later_target_copies_to_shared_memory_by_itself() -> None:
    def families(target: str) -> set[str]:
        return set(hip.read_source(upstream.lower_source(programs.gemm(), find(target), {}).text, 0).families)

    assert families("gfx950") - families("gfx942") == {"load_lds"}


def test_a_kernel_without_products() -> None:
    found = hip.read_source(upstream.lower_source(programs.row_norm(), find("gfx942"), {}).text, 0)
    assert not found.uses_matrix_units
    assert "cross_lane" in found.families
