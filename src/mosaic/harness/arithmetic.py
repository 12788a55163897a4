"""What is assumed about the arithmetic of an honest kernel: roundoffs, intrinsics, and how errors of a sum add up.

Everything a bound rests on is in this file, with its source, so that it can be argued with:

- Kernels compute in float32 (`Arithmetic.compute`) whatever they store, as TileLang's accumulators do.
- Sums of n terms: any order costs at most n u sum|t|; with rounding errors that are independent and of
  mean zero, at most lambda sqrt(n) u sum|t| but for a probability 2 exp(-lambda^2 / 2) (Higham and Mary,
  "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019, A2815).
  Equal terms round alike, so sqrt(n) becomes sqrt(n m) where up to m terms are equal.
- Tensor cores truncate instead of rounding to nearest (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior
  of NVIDIA tensor cores", PeerJ Comput. Sci. 7:e330, 2021): a bias of up to 2u of the running sum for each
  group of products added at once; the smallest group in use is 8.
- Intrinsics: the larger error of the accurate function and its fast variant, because TileLang emits `expf` for
  CUDA but `__expf`, `__logf` and `__sinf` for HIP from the same kernel. Figures: CUDA C++ Programming Guide,
  appendix on mathematical functions (tables of maximum ulp error); where `Arithmetic.fast_math` is set, those of
  nvcc's --use_fast_math (`tanh.approx.f32`, relative error 2^-11, in the PTX ISA; flushed subnormals).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch

from mosaic.dtypes import DTYPES, DType
from mosaic.errors import InputError

TENSOR_CORE_GROUP: Final = 8
"""Products that a tensor core adds at once, at least: the more often it truncates, the larger the bias."""

FP8_GROUP: Final = 32
"""Products of one fp8 tensor-core instruction along the reduction (wgmma m64nNk32)."""

DIVISION_ULPS: Final = 2.0
"""`__fdividef`; an IEEE division is within half an ulp."""

SQUARE_ROOT_ULPS: Final = 3.0
"""`sqrtf` with -prec-sqrt=false on the worst listed device; 1/2 ulp otherwise."""

RSQRT_ULPS: Final = 2.0
POWER_ULPS: Final = 9.0
ERF_ULPS: Final = 2.0
TANH_ULPS: Final = 2.0
EXP_ULPS: Final = 2.0
EXP_ULPS_SLOPE: Final = 1.173
"""`__expf(x)`: 2 + floor(|1.173 x|) ulp, since it is `ex2.approx` of a rounded x log2(e)."""

LOG_ULPS: Final = 3.0
LOG_ABSOLUTE: Final = 2.0**-21.41
"""`__logf` on [1/2, 2], and `__sinf`, `__cosf` on [-pi, pi]: an absolute error of 2^-21.41 (sine: 2^-21.41, cosine: 2^-21.19)."""
SINE_ABSOLUTE: Final = 2.0**-21.19

GELU_ROUNDOFFS: Final = 16.0
"""Error of erf or tanh inside GELU, in roundoffs of 1: 5 with `erff` and `tanhf`; PyTorch's own vectorised GELU on the CPU
approximates erf, and is off by 12.05 (largest of 2,000,000 normal samples, PyTorch 2.13)."""

FAST_TANH: Final = 2.0**-11


@dataclass(frozen=True)
class Arithmetic:
    """The freedom that an honest kernel has.

    compute: dtype of accumulators and of the arithmetic inside a kernel (nodes with a float64 tensor use float64).
    tf32: float32 operands of contractions may be truncated to tf32's 11 significant bits (relative 2^-10, of which
        one half is a bias: the hardware drops bits where the program doesn't round before).
    narrow_operands: a contraction's operand that the kernel computes itself (the probabilities in attention, a
        dequantised weight) may first be rounded to the node's 16-bit dtype, as tensor cores demand.
    fp8_accumulator_bits: fraction bits kept when products of fp8 operands are added; 0 means all of `compute`.
        Hopper keeps 13 (DeepSeek-V3 technical report, arXiv 2412.19437, section 3.5.2).
    fast_math: compiled with --use_fast_math.
    failure: probability, for each reduction of each output element, that an honest kernel exceeds the bound.
    """

    compute: str = "float32"
    tf32: bool = False
    narrow_operands: bool = True
    fp8_accumulator_bits: int = 0
    fast_math: bool = False
    failure: float = 1e-10

    def __post_init__(self) -> None:
        if self.compute not in ("float32", "float64", "float16", "bfloat16"):
            raise InputError(f"arithmetic cannot be computed in {self.compute!r}; choose float32, float64, float16 or bfloat16")
        if not 0 < self.failure < 1:
            raise InputError(f"a failure probability of {self.failure} makes no sense; choose one between 0 and 1")
        if not 0 <= self.fp8_accumulator_bits <= 23:
            raise InputError(f"an accumulator cannot keep {self.fp8_accumulator_bits} bits; choose 0 to 23")

    @property
    def confidence(self) -> float:
        """lambda of the probabilistic bounds: 2 exp(-lambda^2 / 2) = failure (Hoeffding)."""
        return math.sqrt(2.0 * math.log(2.0 / self.failure))


def half_spacing(dtype: DType, magnitude: torch.Tensor) -> torch.Tensor:
    """Largest error of rounding a real of that magnitude (float64, >= 0) to `dtype`: half the spacing there.

    Zero at zero and at infinity; half the subnormals' spacing below the smallest normal number. Overflow is not its business.
    """
    if not dtype.is_float:
        return torch.zeros_like(magnitude)
    finite = torch.where(torch.isfinite(magnitude), magnitude, torch.zeros_like(magnitude))
    _, exponent = torch.frexp(finite)  # magnitude = f 2^exponent with f in [1/2, 1)
    spacing = torch.ldexp(torch.full_like(finite, dtype.roundoff), exponent - 1)
    return torch.where(finite == 0, torch.zeros_like(finite), spacing.clamp(min=dtype.smallest / 2))


def representable(value: torch.Tensor, dtype: DType) -> torch.Tensor:
    """Which float64 values `dtype` holds exactly (bool, same shape)."""
    return (value.to(dtype.torch).to(torch.float64) == value) | torch.isnan(value)


def overflow_threshold(dtype: DType) -> float:
    """Magnitude from which rounding to nearest leaves `dtype`'s finite range (its largest number plus half a spacing)."""
    if not dtype.is_float:
        return float(torch.iinfo(dtype.torch).max) if dtype.torch is not torch.bool else 1.0
    largest = float(torch.finfo(dtype.torch).max)
    exponent = math.frexp(largest)[1] - 1
    return largest + math.ldexp(dtype.roundoff, exponent)


def operand_dtype(dtypes: list[str], compute: str) -> DType:
    """The dtype that a kernel with tensors of these dtypes feeds to a matrix unit: its coarsest 16-bit one, else `compute`."""
    narrow = [DTYPES[name] for name in dtypes if DTYPES[name].is_float and DTYPES[name].bits == 16]
    return max(narrow, key=lambda d: d.roundoff, default=DTYPES[compute])
