"""The scalar types of tensors: their names, sizes, and how exactly they hold a real number.

Names are TileLang's, as strings ("float16", "float8_e4m3fn", ...).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from mosaic.errors import GraphError


@dataclass(frozen=True)
class DType:
    """One scalar type.

    `bits` is its width; `roundoff` its unit roundoff u, so that rounding a real x gives
    x(1 + d) with |d| <= u (0 for integers, which are exact); `smallest` is the spacing of
    its subnormal numbers, below which the absolute error is smallest / 2.
    """

    name: str
    torch: torch.dtype
    bits: int
    roundoff: float
    smallest: float

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return self.bits // 8

    @property
    def is_float(self) -> bool:
        return self.torch.is_floating_point


def _float(name: str, dtype: torch.dtype, mantissa_bits: int) -> DType:
    info = torch.finfo(dtype)
    return DType(name, dtype, info.bits, 2.0 ** -(mantissa_bits + 1), info.smallest_normal * 2.0**-mantissa_bits)


def _integer(name: str, dtype: torch.dtype) -> DType:
    bits = 8 if dtype is torch.bool else torch.iinfo(dtype).bits
    return DType(name, dtype, bits, 0.0, 0.0)


DTYPES: Final[dict[str, DType]] = {
    d.name: d
    for d in (
        _float("float64", torch.float64, 52),
        _float("float32", torch.float32, 23),
        _float("float16", torch.float16, 10),
        _float("bfloat16", torch.bfloat16, 7),
        _float("float8_e4m3fn", torch.float8_e4m3fn, 3),
        _float("float8_e5m2", torch.float8_e5m2, 2),
        _integer("int64", torch.int64),
        _integer("int32", torch.int32),
        _integer("int16", torch.int16),
        _integer("int8", torch.int8),
        _integer("uint8", torch.uint8),
        _integer("bool", torch.bool),
    )
}

_BY_TORCH: Final[dict[torch.dtype, DType]] = {d.torch: d for d in DTYPES.values()}


def dtype(name: str | torch.dtype) -> DType:
    """The type of that name (or that PyTorch dtype).

    Raises GraphError if Mosaic does not know it.
    """
    found = DTYPES.get(name) if isinstance(name, str) else _BY_TORCH.get(name)
    if found is None:
        raise GraphError(f"unknown dtype {str(name)!r}; the known ones are {', '.join(DTYPES)}")
    return found
