"""What CUDA and HIP call things: types of elements, and the helper functions that the text of a conversion begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mosaic.dtypes import DTYPES
from mosaic.layouts.banks import GFX942, GFX950, NVIDIA, Banks
from mosaic.layouts.linear import LayoutError

# The names that TileLang's generated source has for them, CUDA and HIP alike.
TYPES: Final = {
    "float32": "float",
    "float16": "half_t",
    "bfloat16": "bfloat16_t",
    "float8_e4m3fn": "fp8_e4_t",
    "float8_e4m3fnuz": "fp8_e4_t",
    "float8_e5m2": "fp8_e5_t",
    "float8_e5m2fnuz": "fp8_e5_t",
    "int32": "int",
    "uint32": "unsigned",
    "int16": "short",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
}
_MORE_BYTES: Final = {"float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "uint32": 4}
_PLAIN: Final = frozenset({"float32", "int32", "uint32", "int16", "int8", "uint8", "bool"})


PACKS: Final = {"float8_e4m3fn": "pack_e4m3", "float8_e5m2": "pack_e5m2"}
"""The helper that makes a word of four floats, by the dtype that it rounds them to."""


@dataclass(frozen=True)
class Dialect:
    """One architecture: `hip` or CUDA, threads of a warp, its banks, and which lane instructions it has.

    transposes: whether it has movmatrix. swaps: the lane bits that one instruction exchanges with a register.
    packs_fp8: whether it rounds two floats to a type of 8 bits at once.
    """

    arch: str
    hip: bool
    warp_size: int
    banks: Banks
    transposes: bool = False
    swaps: tuple[int, ...] = ()
    packs_fp8: bool = False


def dialect(arch: str) -> Dialect:
    """That of an architecture such as sm_90a or gfx942. Raises LayoutError if it is neither CUDA's nor one of AMD's CDNA 3 and 4."""
    if arch.startswith("sm_") and arch[3:].rstrip("af").isdigit():
        number = int(arch[3:].rstrip("af"))
        return Dialect(arch, False, 32, NVIDIA, transposes=number >= 75, packs_fp8=number >= 89)
    known = {"gfx940": GFX942, "gfx941": GFX942, "gfx942": GFX942, "gfx950": GFX950}
    if arch in known:
        return Dialect(arch, True, 64, known[arch], swaps=(4, 5) if arch == "gfx950" else ())
    raise LayoutError(f"no conversions are emitted for {arch}: it is neither sm_NN nor one of {', '.join(known)}")


def type_name(dtype: str) -> str:
    """The C++ type of elements. Raises LayoutError for one that conversions don't move."""
    if dtype not in TYPES:
        raise LayoutError(f"conversions between layouts do not move {dtype}, only {', '.join(TYPES)}")
    return TYPES[dtype]


def element_bytes(dtype: str) -> int:
    """Raises LayoutError for a dtype that conversions don't move."""
    type_name(dtype)
    return _MORE_BYTES[dtype] if dtype in _MORE_BYTES else DTYPES[dtype].bytes


def cast(value: str, source: str, target: str) -> str:
    """An expression of type `source` as one of type `target`, rounded to nearest even if narrower; integers cut off as in C."""
    if TYPES[source] == TYPES[target]:
        return value
    if source in _PLAIN and target in _PLAIN:
        return f"static_cast<{TYPES[target]}>({value})"
    if source == "float32":
        return f"{TYPES[target]}({value})"
    if target == "float32":
        return f"static_cast<float>({value})"
    # The small floats have no conversions between each other; float holds all of their values.
    wide = f"static_cast<float>({value})"
    return f"static_cast<{TYPES[target]}>({wide})" if target in _PLAIN else f"{TYPES[target]}({wide})"


_COMMON: Final = """\
// The bits of an element, and an element of bits.
template <typename T> __device__ __forceinline__ unsigned bits(const T &value) {
  if constexpr (sizeof(T) == 4) { unsigned raw; memcpy(&raw, &value, 4); return raw; }
  else if constexpr (sizeof(T) == 2) { unsigned short raw; memcpy(&raw, &value, 2); return raw; }
  else { unsigned char raw; memcpy(&raw, &value, 1); return raw; }
}
template <typename T> __device__ __forceinline__ T element(unsigned word, int slot) {
  T value;
  if constexpr (sizeof(T) == 4) { memcpy(&value, &word, 4); }
  else if constexpr (sizeof(T) == 2) { const unsigned short raw = word >> 16 * slot; memcpy(&value, &raw, 2); }
  else { const unsigned char raw = word >> 8 * slot; memcpy(&value, &raw, 1); }
  return value;
}
template <typename T> __device__ __forceinline__ unsigned get(const T *registers) {
  unsigned word;
  memcpy(&word, registers, 4);
  return word;
}
template <typename T> __device__ __forceinline__ void put(T *registers, unsigned word) { memcpy(registers, &word, 4); }
template <typename T> __device__ __forceinline__ unsigned pack(T a) { return bits(a); }
template <typename T> __device__ __forceinline__ unsigned pack(T a, T b) { return bits(a) | bits(b) << 16; }
template <typename T> __device__ __forceinline__ unsigned pack(T a, T b, T c, T d) {
  return bits(a) | bits(b) << 8 | bits(c) << 16 | bits(d) << 24;
}
"""
_CUDA: Final = """\
__device__ __forceinline__ unsigned permute(unsigned low, unsigned high, unsigned selector) {
  return __byte_perm(low, high, selector);
}
__device__ __forceinline__ unsigned shuffle(unsigned value, unsigned lane) { return __shfl_sync(0xffffffffu, value, lane); }
template <unsigned Mask> __device__ __forceinline__ unsigned shuffle_xor(unsigned value) {
  return __shfl_xor_sync(0xffffffffu, value, Mask);
}
__device__ __forceinline__ void barrier() { __syncthreads(); }
#if defined(__CUDACC__)
__device__ __forceinline__ unsigned transpose(unsigned value) {
  unsigned out;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(value));
  return out;
}
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
// Two floats at once, to nearest even; what is too large becomes the largest number, as with one float. The second instruction adds its
// bytes to the first one's.
__device__ __forceinline__ unsigned pack_e4m3(float a, float b, float c, float d) {
  unsigned word;
  asm("{.reg .b16 low, high; cvt.rn.satfinite.e4m3x2.f32 low, %2, %1; cvt.rn.satfinite.e4m3x2.f32 high, %4, %3; "
      "mov.b32 %0, {low, high};}" : "=r"(word) : "f"(a), "f"(b), "f"(c), "f"(d));
  return word;
}
__device__ __forceinline__ unsigned pack_e5m2(float a, float b, float c, float d) {
  unsigned word;
  asm("{.reg .b16 low, high; cvt.rn.satfinite.e5m2x2.f32 low, %2, %1; cvt.rn.satfinite.e5m2x2.f32 high, %4, %3; "
      "mov.b32 %0, {low, high};}" : "=r"(word) : "f"(a), "f"(b), "f"(c), "f"(d));
  return word;
}
#endif
__device__ __forceinline__ void barrier(unsigned id, unsigned threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
#endif
"""
_HIP: Final = """\
__device__ __forceinline__ unsigned permute(unsigned low, unsigned high, unsigned selector) {
  return __builtin_amdgcn_perm(high, low, selector);
}
__device__ __forceinline__ unsigned shuffle(unsigned value, unsigned lane) {
  return __builtin_amdgcn_ds_bpermute(lane << 2, value);
}
template <unsigned Mask> __device__ __forceinline__ unsigned shuffle_xor(unsigned value) {
  // Data parallel primitives need no trip through the data share; they reach 1, 2, 3 (quad_perm), 7 and 15 (mirrors), 8 (a rotation).
  if constexpr (Mask == 1) return __builtin_amdgcn_mov_dpp(value, 0xb1, 0xf, 0xf, true);
  else if constexpr (Mask == 2) return __builtin_amdgcn_mov_dpp(value, 0x4e, 0xf, 0xf, true);
  else if constexpr (Mask == 3) return __builtin_amdgcn_mov_dpp(value, 0x1b, 0xf, 0xf, true);
  else if constexpr (Mask == 7) return __builtin_amdgcn_mov_dpp(value, 0x141, 0xf, 0xf, true);
  else if constexpr (Mask == 8) return __builtin_amdgcn_mov_dpp(value, 0x128, 0xf, 0xf, true);
  else if constexpr (Mask == 15) return __builtin_amdgcn_mov_dpp(value, 0x140, 0xf, 0xf, true);
  else if constexpr (Mask < 32) return __builtin_amdgcn_ds_swizzle(value, Mask << 10 | 0x1f);
  else return __builtin_amdgcn_ds_bpermute((__lane_id() ^ Mask) << 2, value);
}
__device__ __forceinline__ void barrier() { __syncthreads(); }
"""
_EXCHANGES: Final = """\
__device__ __forceinline__ void exchange16(unsigned &first, unsigned &second) {
  const auto both = __builtin_amdgcn_permlane16_swap(first, second, false, false);
  first = both[0], second = both[1];
}
__device__ __forceinline__ void exchange32(unsigned &first, unsigned &second) {
  const auto both = __builtin_amdgcn_permlane32_swap(first, second, false, false);
  first = both[0], second = both[1];
}
"""


def prelude(how: Dialect) -> str:
    """The helper functions, guarded, so that several conversions may stand in one source file."""
    body = _COMMON + (_HIP if how.hip else _CUDA) + (_EXCHANGES if how.swaps else "")
    return f"#ifndef MOSAIC_CONVERSION\n#define MOSAIC_CONVERSION\nnamespace mosaic {{\n{body}}}  // namespace mosaic\n#endif\n"
