"""The packet's JSON Schema and the tables of its fields, both made from the records, so that they say what is checked.

The schema is published as docs/schema/packet-1.json: `python -m mosaic.evidence.schema` prints it,
and with `tables` after that the tables of docs/evidence.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from mosaic.evidence.packet import OF_SOME_STATUS, VERSION, adapter

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Optional fields may be left out, but are never null; a default is what is meant by leaving out."""

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """The JSON Schema of version 1 of packets, of every status. It allows the `id` of sealed packets.

    What a schema can't say is in docs/evidence.md: that the id is right, medians are those of their samples, seeds keep their
    commitments, and intervals and moments are in order.
    """
    made = adapter().json_schema(schema_generator=_Generator)
    for name, definition in made["$defs"].items():
        definition.pop("title", None)
        if name.endswith("Packet"):
            # Without this a field that the status forbids would pass as a category not known yet.
            definition["properties"].update({field: False for field in OF_SOME_STATUS if field not in definition["properties"]})
            definition["properties"]["id"] = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Of a sealed packet."}
    _close(made)
    return {"$schema": DIALECT, "title": f"Mosaic packet, version {VERSION}", **made}


def _close(rule: Any) -> None:
    """Where keys must match a pattern, others are not allowed: pydantic checks that, but its schema doesn't say so."""
    if isinstance(rule, dict):
        if "patternProperties" in rule:
            rule["additionalProperties"] = False
        for part in rule.values():
            _close(part)
    elif isinstance(rule, list):
        for part in rule:
            _close(part)


def text() -> str:
    """The schema as it is published."""
    return json.dumps(schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def tables() -> str:
    """A Markdown table of the fields of each record, for docs/evidence.md."""
    return "\n".join(_tables(schema()["$defs"]))


def _tables(definitions: dict[str, Any]) -> Iterator[str]:
    for name, definition in definitions.items():
        if "properties" not in definition:
            continue
        yield f"#### {name}\n"
        if "description" in definition:
            yield definition["description"].replace("\n", " ") + "\n"
        yield "| field | what | |\n| --- | --- | --- |"
        for field, content in definition["properties"].items():
            if content is False:
                continue
            need = "required" if field in definition.get("required", ()) else ""
            cells = " ".join(filter(None, (_type(content), content.get("description", "").replace("\n", " "))))
            yield f"| `{field}` | {cells.replace('|', chr(92) + '|')} | {need} |"
        yield ""


def _type(content: dict[str, Any]) -> str:
    """What a field holds, in words."""
    match content:
        case {"$ref": reference}:
            name = reference.rpartition("/")[2]
            return f"[{name}](#{name.lower()})."
        case {"const": value}:
            return f"`{json.dumps(value)}`."
        case {"enum": values}:
            return " or ".join(f"`{json.dumps(value)}`" for value in values) + "."
        case {"oneOf": options} | {"anyOf": options}:
            return " or ".join(_type(option).removesuffix(".") for option in options) + "."
        case {"type": "array", "prefixItems": items}:
            return f"Array of {len(items)}: {', '.join(_type(item).removesuffix('.').lower() for item in items)}."
        case {"type": "array", "items": items}:
            return f"Array of: {_type(items)}"
        case {"type": "object", "patternProperties": patterns}:
            return f"Object of any names, each: {_type(next(iter(patterns.values())))}"
        case {"type": "object", "additionalProperties": values} if isinstance(values, dict) and values:
            return f"Object of any keys, each: {_type(values)}"
        case {"type": "string", "pattern": pattern} if len(pattern) < 80 and "S" not in pattern:
            return f"String matching `{pattern}`."
        case {"type": kind}:
            return f"{str(kind).capitalize()}."
        case _:
            return "Any JSON."


if __name__ == "__main__":
    print(tables() if sys.argv[1:] == ["tables"] else text(), end="")
