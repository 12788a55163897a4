"""How each scalar type is stored and computed with in the emitted C.

Types narrower than float are stored in their own bits and computed with as a C `float` that is
rounded to the type after every operation, as a GPU rounds: a float product or sum of two such
numbers rounded once more to the narrow type is what rounding the exact result would give, since
float has more than twice their digits plus two.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final


@dataclass(frozen=True)
class Scalar:
    """One scalar type in C.

    `storage` is the C type in memory and `value` the one in expressions; `tag` is what the runtime
    header calls the type in the names of its helpers. `section` is the header section that holds them.
    """

    name: str
    storage: str
    value: str
    tag: str
    section: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether a value must be rounded after each operation (float16, bfloat16, float8)."""
        return self.storage != self.value and self.value == "float"

    @property
    def is_float(self) -> bool:
        return self.value in ("float", "double")

    @property
    def is_signed(self) -> bool:
        return not self.storage.startswith("u")

    @cached_property
    def bits(self) -> int:
        return {"float": 32, "double": 64}.get(self.storage) or int("".join(c for c in self.storage if c.isdigit()))

    @property
    def bytes(self) -> int:
        return self.bits // 8

    def load(self, address: str) -> str:
        """The value held at the C lvalue `address`."""
        if self.is_narrow:
            return f"ms_{self.tag}_to_f32({address})"
        return f"({address} != 0)" if self.name == "bool" else address

    def stored(self, value: str) -> str:
        """What to assign to memory so that it holds `value`."""
        return f"ms_f32_to_{self.tag}({_without_call(value, f'ms_round_{self.tag}')})" if self.is_narrow else value

    def rounded(self, value: str) -> str:
        """A value of the type nearest to the C float expression `value`."""
        return f"ms_round_{self.tag}({value})" if self.is_narrow else value

    def exact(self, number: float | int) -> float | int:
        """The number that a constant of this type written as `number` has: rounded to a float, for one no wider."""
        return number if not self.is_float or self.value == "double" else _to_single(float(number))

    def literal(self, number: float | int) -> str:
        """The C constant for `number`, rounded to the type."""
        if not self.is_float:
            return _integer_literal(int(number), self)
        if math.isnan(number):
            return "ms_nan()"
        single = float(number) if self.value == "double" else _to_single(float(number))
        suffix = "" if self.value == "double" else "f"
        if math.isinf(single):
            text = "__builtin_inf" + suffix + "()"
            return text if single > 0 else f"(-{text})"
        text = repr(single) + suffix
        text = f"({text})" if single < 0 or text.startswith("-") else text
        return self.rounded(text) if self.is_narrow and not _is_small_integer(single) else text


def _without_call(text: str, function: str) -> str:
    """`text` less a call of `function` around all of it: rounding once is enough."""
    if not text.startswith(f"{function}("):
        return text
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ")" and depth == 0:
            return text[len(function) + 1 : -1] if position == len(text) - 1 else text
    return text


def _is_small_integer(number: float) -> bool:
    """Integers up to 8 are exact in every float type here, so need no rounding."""
    return number.is_integer() and abs(number) <= 8


def _to_single(number: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def _integer_literal(number: int, scalar: Scalar) -> str:
    if scalar.bits == 64:
        if number == -(2**63):
            return "INT64_MIN"
        return f"{'(' if number < 0 else ''}{number}{'LL' if scalar.is_signed else 'ULL'}{')' if number < 0 else ''}"
    if number == -(2**31):
        return "INT32_MIN"
    suffix = "u" if scalar.bits == 32 and not scalar.is_signed else ""
    return f"({number})" if number < 0 else f"{number}{suffix}"


SCALARS: Final[dict[str, Scalar]] = {
    s.name: s
    for s in (
        Scalar("float64", "double", "double", "f64"),
        Scalar("float32", "float", "float", "f32"),
        Scalar("float16", "uint16_t", "float", "f16", "half"),
        Scalar("bfloat16", "uint16_t", "float", "bf16", "bfloat16"),
        Scalar("float8_e4m3fn", "uint8_t", "float", "e4m3", "float8"),
        Scalar("float8_e5m2", "uint8_t", "float", "e5m2", "float8"),
        Scalar("int64", "int64_t", "int64_t", "i64"),
        Scalar("int32", "int32_t", "int32_t", "i32"),
        Scalar("int16", "int16_t", "int16_t", "i16"),
        Scalar("int8", "int8_t", "int8_t", "i8"),
        Scalar("uint64", "uint64_t", "uint64_t", "u64"),
        Scalar("uint32", "uint32_t", "uint32_t", "u32"),
        Scalar("uint16", "uint16_t", "uint16_t", "u16"),
        Scalar("uint8", "uint8_t", "uint8_t", "u8"),
        Scalar("bool", "uint8_t", "int", "bool"),
    )
}
"""Every scalar type that the emitter knows, by TileLang's name."""
