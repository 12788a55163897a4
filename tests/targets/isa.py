"""AMD machine code in the forms in which it is met, written by hand after the instruction set guides and LLVM's AMDGPU notes."""

from __future__ import annotations

from typing import Final

ASSEMBLY: Final = """\
	.amdgcn_target "amdgcn-amd-amdhsa--gfx942"
	.text
product:
	s_load_dwordx4 s[0:3], s[4:5], 0x0
	v_lshlrev_b32_e32 v1, 4, v0
	global_load_dwordx4 v[2:5], v1, s[0:1]
	ds_write_b128 v1, v[2:5]
	s_waitcnt lgkmcnt(0)
	s_barrier
	ds_read_b64 v[6:7], v1
	ds_read_b64_tr_b16 v[8:9], v1
	v_mfma_f32_16x16x16_f16 a[0:3], v[6:7], v[8:9], a[0:3]
	v_mfma_f32_16x16x16_f16 a[4:7], v[6:7], v[8:9], a[4:7]	; the second of them
	v_smfmac_f32_16x16x64_bf16 a[0:3], v[6:7], v[8:11], v12
	v_accvgpr_read_b32 v10, a0
	v_pk_fma_f32 v[2:3], v[4:5], v[6:7], v[2:3]
	v_fmac_f32_e32 v2, v3, v4
	v_exp_f32_e32 v2, v2
	ds_bpermute_b32 v2, v1, v2
	v_add_f32_dpp v2, v2, v2 row_shr:1 row_mask:0xf bank_mask:0xf
	global_atomic_add_f32 v1, v2, s[2:3]
	global_load_lds_dword v1, s[0:1]
	buffer_load_dword v2, s[0:3], 0 offen lds
	scratch_store_dword off, v2, s32
	scratch_load_dword v2, off, s32
	global_store_dwordx4 v1, v[2:5], s[2:3]
	v_dot2_f32_f16 v2, v3, v4, v2
	s_endpgm
; NumVgprs: 13
; NumAgprs: 8
; TotalNumVgprs: 24
; ScratchSize: 16
; LDSByteSize: 8192
	.amdgpu_metadata
---
amdhsa.kernels:
  - .agpr_count:     8
    .args:
      - .address_space:  global
        .name:           x
        .offset:         0
        .size:           8
        .value_kind:     global_buffer
    .group_segment_fixed_size: 8192
    .name:           product
    .private_segment_fixed_size: 16
    .sgpr_spill_count: 0
    .symbol:         product.kd
    .vgpr_count:     24
    .vgpr_spill_count: 3
  - .agpr_count:     0
    .args:           []
    .group_segment_fixed_size: 0
    .name:           other
    .private_segment_fixed_size: 0
    .sgpr_spill_count: 0
    .symbol:         other.kd
    .vgpr_count:     6
    .vgpr_spill_count: 0
amdhsa.version:
  - 1
  - 2
	.end_amdgpu_metadata
"""

FAMILIES: Final = {
    "accvgpr": 1,
    "atomic": 1,
    "cross_lane": 2,
    "dot": 1,
    "ds_read": 1,
    "ds_read_tr": 1,
    "ds_write": 1,
    "fma": 2,
    "load": 2,
    "load_lds": 2,
    "mfma_f32_16x16x16f16": 2,
    "s_barrier": 1,
    "scratch_load": 1,
    "scratch_store": 1,
    "smfmac_f32_16x16x64bf16": 1,
    "store": 1,
    "transcendental": 1,
}

DISASSEMBLY: Final = """\
product.o:	file format elf64-amdgpu

Disassembly of section .text:

0000000000001600 <product>:
	s_load_dwordx2 s[0:1], s[4:5], 0x0                         // 000000001600: C0060002 00000000
	v_mfma_f32_32x32x8_f16 a[0:15], v[0:1], v[2:3], a[0:15]    // 000000001608: D3CC8000 04020500
	s_barrier                                                  // 000000001610: BF8A0000
	s_endpgm                                                   // 000000001614: BF810000
"""
