"""AMD's machine code as text: families, resources, and what isn't it."""

from __future__ import annotations

from mosaic.targets.amdgpu import emitted, is_amdgpu, read_amdgpu, read_resources
from mosaic.targets.emitted import read_hip
from tests.targets.isa import ASSEMBLY, DISASSEMBLY, FAMILIES


def test_families_of_an_assembly() -> None:
    assert read_amdgpu(ASSEMBLY) == FAMILIES


def test_families_of_a_disassembly() -> None:
    assert read_amdgpu(DISASSEMBLY) == {"load": 1, "mfma_f32_32x32x8f16": 1, "s_barrier": 1}


def test_matrix_instructions_have_the_names_of_their_builtins() -> None:
    source = "acc = __builtin_amdgcn_mfma_f32_16x16x16f16(a, b, acc, 0, 0, 0);"
    assert set(read_hip(source)) <= set(read_amdgpu(ASSEMBLY))


def test_resources_of_each_kernel() -> None:
    first, second = read_resources(ASSEMBLY)
    assert (first.kernel, first.registers, first.spill_bytes, first.stack_bytes, first.shared_bytes) == ("product", 24, 12, 16, 8192)
    assert (second.kernel, second.registers, second.spill_bytes) == ("other", 6, 0)


def test_without_metadata_the_comments_tell() -> None:
    (found,) = read_resources(ASSEMBLY.partition("\t.amdgpu_metadata")[0])
    assert (found.registers, found.spill_bytes, found.stack_bytes, found.shared_bytes) == (24, None, 16, 8192)
    assert read_resources(DISASSEMBLY) == []


def test_all_kernels_together() -> None:
    found = emitted(ASSEMBLY)
    assert (found.registers, found.spill_bytes, found.stack_bytes, found.shared_bytes, found.origin) == (24, 12, 16, 8192, "isa")
    assert found.uses_matrix_units
    assert emitted(DISASSEMBLY).registers is None


def test_what_is_amds() -> None:
    assert is_amdgpu(ASSEMBLY)
    assert is_amdgpu(DISASSEMBLY)
    assert not is_amdgpu(".version 8.0\n.target sm_90a\n")
    assert not is_amdgpu("s_endpgm is the last instruction of a program")
