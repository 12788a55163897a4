"""Canonical JSON and SHA-256: the same value has the same bytes everywhere, and so the same name.

The form is that of RFC 8785: UTF-8, no white space, the keys of an object in order of their UTF-16 code units, strings with the
fewest escapes, numbers as ECMAScript writes a double (the shortest digits that give it back; `1.0` is `1`, `1e-07` is `1e-7`).
What it could not hold exactly is refused, never changed: NaN and infinities, whole numbers that a double cannot hold, lone
surrogates, and an object with a key twice.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from mosaic.errors import InputError

EXACT: Final = 2**53 - 1
"""Up to this magnitude every whole number is a double."""

DEPTH: Final = 64
"""How deep arrays and objects may be nested."""

_quote: Final[Callable[[str], str]] = json.encoder.encode_basestring  # in C, where Python has that


def canonical(value: object) -> bytes:
    """The canonical JSON of a value of None, booleans, numbers, strings, lists, tuples and mappings with string keys.

    Raises InputError, naming the place, for anything else and for what the form cannot hold (see above).
    """
    pieces: list[str] = []
    _write(value, pieces, [])
    text = "".join(pieces)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"a string holds half of a surrogate pair, {text[error.start]!r}; write text that UTF-8 can hold") from None


def digest(data: bytes) -> str:
    """SHA-256 of bytes, in 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def parse(text: str | bytes, what: str = "the JSON") -> Any:
    """The value of a JSON text in whatever formatting, as `canonical` would write it again.

    Raises InputError, in a sentence that begins with `what`, for a text that is not JSON or holds what the form cannot.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise InputError(f"{what} has the key {key!r} twice in one object; keep one of them")
            found[key] = value
        return found

    def whole(digits: str) -> int | float:
        number = float(digits)
        if abs(number) <= EXACT:
            return int(digits)
        # Above that a double is written with the shortest digits that give it back, then zeros.
        if not math.isfinite(number) or _number(number) != digits:
            raise InputError(f"{what} holds {digits[:40]}, which no double holds exactly; write it as a string")
        return number

    def refuse(name: str) -> float:
        raise InputError(f"{what} holds {name}, which is not JSON; write it as a string where the field allows that, or leave it out")

    def real(digits: str) -> float:
        number = float(digits)
        return number if math.isfinite(number) else refuse(digits[:40])

    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=unique, parse_int=whole, parse_float=real, parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{what} is not JSON at line {error.lineno}, column {error.colno}: {error.msg.lower()}") from None
    except RecursionError:
        raise InputError(f"{what} is nested too deep; the limit is {DEPTH} levels") from None


def _write(value: object, pieces: list[str], path: list[str | int]) -> None:
    """Append the text of a value, which lies at `path`. A list, not generators within each other: ledgers hold many thousands."""
    if len(path) > DEPTH:
        raise InputError(f"the value at {dotted(tuple(path[:4]))}… is nested too deep; the limit is {DEPTH} levels")
    match value:
        case None:
            pieces.append("null")
        case bool():
            pieces.append("true" if value else "false")
        case str():
            pieces.append(_quote(value))
        case int():
            pieces.append(_whole(value, path))
        case float():
            if not math.isfinite(value):
                place = dotted(tuple(path))
                raise InputError(f"{place} is {value}, which JSON cannot hold; write it as a string where the field allows that")
            pieces.append(_number(value))
        case list() | tuple():
            _write_array(value, pieces, path)
        case dict() | Mapping():
            _write_object(value, pieces, path)
        case _:
            raise InputError(f"{dotted(tuple(path))} is a {type(value).__name__}, which JSON cannot hold")


def _write_array(value: list[Any] | tuple[Any, ...], pieces: list[str], path: list[str | int]) -> None:
    pieces.append("[")
    for index, item in enumerate(value):
        if index:
            pieces.append(",")
        path.append(index)
        _write(item, pieces, path)
        path.pop()
    pieces.append("]")


def _write_object(value: Mapping[Any, Any], pieces: list[str], path: list[str | int]) -> None:
    separator = "{"
    for key in _sorted_keys(value, path):
        pieces.append(f"{separator}{_quote(key)}:")
        separator = ","
        path.append(key)
        _write(value[key], pieces, path)
        path.pop()
    pieces.append("}" if value else "{}")


def _sorted_keys(value: Mapping[Any, Any], path: list[str | int]) -> list[str]:
    """By their UTF-16 code units, which for ASCII is the order that Python has."""
    for key in value:
        if not isinstance(key, str):
            raise InputError(f"{dotted(tuple(path))} has the key {key!r}; keys are strings")
    if all(map(str.isascii, value)):
        return sorted(value)
    return sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))


def _whole(value: int, path: list[str | int]) -> str:
    text = str(int(value))
    if abs(value) > EXACT and (abs(value) >= 10**21 or _number(float(value)) != text):
        raise InputError(f"{dotted(tuple(path))} is {text[:40]}, which no double holds exactly; write it as a string")
    return text


def dotted(path: tuple[str | int, ...]) -> str:
    """A place in a document, as `performance.timings[2].median`; `the top` for the document itself."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the top"


def _number(value: float) -> str:
    """A finite double as ECMAScript's Number::toString writes it."""
    text = repr(value)
    if "e" not in text:  # from 1e-4 to 1e16 Python writes the same digits, and ".0" after whole numbers
        short = text.removesuffix(".0")
        return "0" if short == "-0" else short
    sign, decimals, exponent = Decimal(text).normalize().as_tuple()
    digits = "".join(map(str, decimals))
    point = len(digits) + int(exponent)  # the value is 0.digits * 10**point
    if len(digits) <= point <= 21:
        body = digits.ljust(point, "0")
    elif -6 < point <= 0:
        body = "0." + "0" * -point + digits
    else:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        body = f"{digits[0]}{fraction}e{point - 1:+d}"
    return f"-{body}" if sign else body
