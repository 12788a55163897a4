"""The canonical form: one text for one value, and nothing that it can't hold exactly."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.errors import InputError
from mosaic.evidence.canonical import DEPTH, EXACT, canonical, digest, dotted, parse
from tests.evidence.samples import values

# The bits of a double, and its text as ECMAScript's rules give it: at the borders of each of their cases.
DOUBLES = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), DOUBLES)
def test_doubles(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value) == text.encode()
    assert parse(text) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back(value: float) -> None:
    text = canonical(value)
    assert float(text) == value
    assert canonical(parse(text)) == text
    assert len(text) <= 25


def test_objects_and_strings() -> None:
    value = {"b": [1, 1.0, -0.0, True, None, [], {}], "a": 'é"\\/\n\x0f\x7f', "€": 1, "\U0001f600": 2, "\ufb33": 3}
    expected = '{"a":"é\\"\\\\/\\n\\u000f\x7f","b":[1,1,0,true,null,[],{}],"€":1,"\U0001f600":2,"\ufb33":3}'
    assert canonical(value).decode() == expected  # UTF-16 puts the emoji before U+FB33, code points would not


@given(values)
def test_round_trip(value: Any) -> None:
    data = canonical(value)
    assert canonical(parse(data)) == data
    assert parse(json.dumps(value)) == parse(data) == value


def strict(value: Any) -> Any:
    """A value that is equal only to what JSON takes for the same: True is not 1, but 1.0 is."""
    match value:
        case bool() | None:
            return ("constant", value)
        case list():
            return ("array", *map(strict, value))
        case dict():
            return ("object", *((key, strict(value[key])) for key in sorted(value)))
        case _:
            return value


@given(values, values)
def test_unlike_values_have_unlike_bytes(first: Any, second: Any) -> None:
    assert (canonical(first) == canonical(second)) is (strict(first) == strict(second))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [0, float("nan")]}, r"a\[1\] is nan, which JSON cannot hold"),
        (float("inf"), "the top is inf"),
        ({"seed": EXACT + 2}, "seed is 9007199254740993, which no double holds exactly; write it as a string"),
        (10**4000, "which no double holds exactly"),
        ({1: 2}, "has the key 1; keys are strings"),
        ({"a": {1, 2}}, "a is a set"),
        (["\ud800"], "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_held(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        canonical(value)


def test_depth_is_limited() -> None:
    value: object = 1
    for _ in range(DEPTH):
        value = [value]
    assert parse(canonical(value)) == value
    with pytest.raises(InputError, match="nested too deep; the limit is 64 levels"):
        canonical([value])
    with pytest.raises(InputError, match="nested too deep"):
        parse("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the file has the key 'c' twice"),
        ('{"a": NaN}', "the file holds NaN, which is not JSON"),
        ('{"a": 1e999}', "the file holds 1e999"),
        ('{"a": 9007199254740993}', "the file holds 9007199254740993, which no double holds exactly"),
        ("1" * 5000, "which no double holds exactly"),
        ('{"a": 1,\n "b" 2}', "the file is not JSON at line 2, column 6"),
        ("", "the file is not JSON at line 1, column 1"),
        (b'"\xff"', "the file is not UTF-8: byte 1 is 0xff"),
        (b'["\\ud800"]', None),
    ],
)
def test_what_is_no_json(text: str | bytes, message: str | None) -> None:
    if message is None:  # JSON, but of a text that has no bytes
        with pytest.raises(InputError, match="surrogate"):
            canonical(parse(text))
        return
    with pytest.raises(InputError, match=message):
        parse(text, "the file")


def test_digest_and_places() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert dotted(("a", 0, "b")) == "a[0].b"
    assert dotted(()) == "the top"
