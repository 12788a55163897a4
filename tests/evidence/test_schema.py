"""The published schema says what the records check, and is current."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical
from mosaic.evidence.packet import parse, seal
from mosaic.evidence.schema import schema, tables, text
from tests.evidence import samples
from tests.evidence.test_packet import MALFORMED, leaves

ROOT: Final = Path(__file__).parents[2]
SCHEMA: Final = schema()
PACKETS: Final = samples.all_packets()

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
# Keywords of the schema that this validator applies, and those that say nothing of validity.
_APPLIED: Final = {
    *("$ref", "type", "const", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "items"),
    *(
        "prefixItems",
        "properties",
        "required",
        "additionalProperties",
        "minProperties",
        "propertyNames",
        "patternProperties",
        "oneOf",
        "anyOf",
        "if",
        "then",
    ),
}
_SILENT: Final = {"description", "discriminator", "title", "$schema", "$defs"}


def accepts(rule: Any, value: Any) -> bool:  # noqa: PLR0911 - a line a keyword
    """Whether a value meets a schema: the part of JSON Schema that ours uses, written apart from what made it."""
    if isinstance(rule, bool):
        return rule
    assert set(rule) <= _APPLIED | _SILENT, set(rule) - _APPLIED - _SILENT
    if "$ref" in rule and not accepts(SCHEMA["$defs"][rule["$ref"].removeprefix("#/$defs/")], value):
        return False
    if "type" in rule and not (isinstance(value, _TYPES[rule["type"]]) and (rule["type"] == "boolean" or not isinstance(value, bool))):
        return False
    if "const" in rule and json.dumps(value) != json.dumps(rule["const"]):
        return False
    if "enum" in rule and value not in rule["enum"]:
        return False
    if "oneOf" in rule and sum(accepts(option, value) for option in rule["oneOf"]) != 1:
        return False
    if "anyOf" in rule and not any(accepts(option, value) for option in rule["anyOf"]):
        return False
    if "if" in rule and accepts(rule["if"], value) and not accepts(rule["then"], value):
        return False
    match value:
        case str():
            return _accepts_text(rule, value)
        case bool() | None:
            return True
        case int() | float():
            return bool(rule.get("minimum", value) <= value <= rule.get("maximum", value))
        case list():
            return _accepts_array(rule, value)
        case _:
            return _accepts_object(rule, value)


def _accepts_text(rule: dict[str, Any], value: str) -> bool:
    pattern = re.sub(r"\$$", r"\\Z", rule.get("pattern", ""))  # `$` of a schema is not before a line end
    return rule.get("minLength", 0) <= len(value) <= rule.get("maxLength", len(value)) and re.search(pattern, value) is not None


def _accepts_array(rule: dict[str, Any], value: list[Any]) -> bool:
    first = rule.get("prefixItems", [])
    return (
        rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value))
        and all(accepts(each, item) for each, item in zip(first, value, strict=False))
        and all(accepts(rule.get("items", True), item) for item in value[len(first) :])
    )


def _accepts_object(rule: dict[str, Any], value: dict[str, Any]) -> bool:
    known, patterns = rule.get("properties", {}), rule.get("patternProperties", {})

    def rule_of(name: str) -> Any:
        fitting = [each for pattern, each in patterns.items() if re.search(pattern, name)]
        return known.get(name, fitting[0] if fitting else rule.get("additionalProperties", True))

    return (
        set(rule.get("required", ())) <= set(value)
        and len(value) >= rule.get("minProperties", 0)
        and all(accepts(rule.get("propertyNames", True), name) for name in value)
        and all(accepts(rule_of(name), item) for name, item in value.items())
    )


def test_the_published_schema_is_current() -> None:
    published = ROOT / "docs" / "schema" / "packet-1.json"
    assert published.read_text(encoding="utf-8") == text(), "run: python -m mosaic.evidence.schema > docs/schema/packet-1.json"


def test_the_tables_of_the_format_reference_are_current() -> None:
    reference = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert tables() in reference, "run: python -m mosaic.evidence.schema tables, and put its output under '## All records'"


def test_the_examples_of_the_format_reference_are_packets() -> None:
    reference = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    examples = re.findall(r"```json packet\n(.*?)```", reference, re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        assert accepts(SCHEMA, json.loads(example))
        assert parse(seal(parse(example, "the example"))).status in example


@pytest.mark.parametrize("name", PACKETS)
def test_packets_meet_the_schema(name: str) -> None:
    assert accepts(SCHEMA, json.loads(seal(PACKETS[name])))
    assert accepts(SCHEMA, json.loads(canonical(PACKETS[name].document())))
    assert accepts(SCHEMA, {**json.loads(seal(PACKETS[name])), "provenance": {"a": [None, 1]}})


# What a schema can't say; docs/evidence.md lists it.
BEYOND: Final = ("was changed", "meant?")


@pytest.mark.parametrize("make", [make for make, message in MALFORMED if not any(words in message for words in BEYOND)])
def test_malformed_packets_do_not_meet_it(make: Any) -> None:
    assert not accepts(SCHEMA, make())


@pytest.mark.parametrize("name", ["fail", "noisy"])
@pytest.mark.parametrize("wrong", [None, -1, "", {}])
def test_schema_and_records_agree_on_every_field(name: str, wrong: Any) -> None:
    """Each value in turn becomes something that most fields refuse: both refuse it, or both accept it."""
    for path in leaves(json.loads(canonical(PACKETS[name].document()))):
        changed = json.loads(canonical(PACKETS[name].document()))
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        refused = ""
        try:
            parse(json.dumps(changed))
        except InputError as error:
            refused = str(error)
        if not re.search(r"it has the (median|interval)|a seed whose|read as another", refused):  # beyond a schema
            assert accepts(SCHEMA, changed) is not bool(refused), (path, refused)
