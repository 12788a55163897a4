"""The packet: the record of one run. Its status decides what it may hold; its name is the hash of all that it holds.

    packet = parse(text)          from JSON in any formatting, by whoever wrote it
    packet_id(packet)             SHA-256 of its canonical JSON
    seal(packet)                  its canonical JSON with that name in it: what is stored and sent
    unseal(data)                  the packet of sealed bytes; refused if a single byte is not what it was

A category that this version does not know is kept as it is, and counts in the hash.
"""

from __future__ import annotations

import difflib
import functools
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.evidence.canonical import parse as parse_json
from mosaic.evidence.categories import Artifact, Candidate, Environment, Failed, FailureClass, Passed, Performance, Unclear
from mosaic.evidence.optional import Capacity, Quantisation, Security, Serving
from mosaic.evidence.record import Moment, Name, Record, Text, explain, refusal

FORMAT: Final = "mosaic-packet"
VERSION: Final = 1

STATUSES: Final = ("pass", "fail", "error", "skipped", "inconclusive")


class _Packet(Record):
    """What every packet holds."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, dict[str, JsonValue]]

    format: Literal["mosaic-packet"]
    version: Literal[1]
    """Of this format."""
    created: Moment
    """When the run ended."""
    tags: tuple[Name, ...] | None = None
    candidate: Candidate
    environment: Environment
    artifacts: tuple[Artifact, ...] | None = None
    security: Security | None = None
    quantisation: Quantisation | None = None
    serving: Serving | None = None
    capacity: Capacity | None = None

    @model_validator(mode="after")
    def _unknown_categories_are_no_slips(self) -> Self:
        for name in self.__pydantic_extra__:
            if name in OF_SOME_STATUS:
                raise refusal(f"has {name}, which a packet of this status does not hold")
            close = difflib.get_close_matches(name, (*type(self).model_fields, *OF_SOME_STATUS), n=1, cutoff=0.85)
            if close:
                raise refusal(f"has the unknown category {name!r}; is {close[0]} meant?")
        return self


# What only packets of some status hold; `id` is what sealed bytes have beside the packet's own fields.
OF_SOME_STATUS: Final = ("validation", "performance", "failure", "error", "reason", "id")


class Failure(Record):
    """Why the candidate failed."""

    kind: FailureClass
    message: Text


class Error(Record):
    """What went wrong that is not the candidate's doing."""

    phase: Name
    """set-up, compile, validate, time, ..."""
    message: Text
    """The error's text; a long one is an artifact."""
    exit_code: int | None = None


class PassPacket(_Packet):
    """The candidate is right; `performance` if it was timed."""

    status: Literal["pass"]
    validation: Passed
    performance: Performance | None = None


class FailPacket(_Packet):
    """The candidate is wrong, cheats, or cannot be run. Its validation may have passed, but its times count for nothing."""

    status: Literal["fail"]
    failure: Failure
    validation: Annotated[Passed | Failed, Field(discriminator="outcome")] | None = None


class ErrorPacket(_Packet):
    """The judge could not finish: nothing is said of the candidate."""

    status: Literal["error"]
    error: Error


class SkippedPacket(_Packet):
    """It was not run."""

    status: Literal["skipped"]
    reason: Text


class InconclusivePacket(_Packet):
    """It was run, and nothing can be concluded: bounds too loose, or noise larger than the effect."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["performance"]},
            "then": {"required": ["validation"], "properties": {"validation": {"properties": {"outcome": {"const": "pass"}}}}},
        }
    )

    status: Literal["inconclusive"]
    reason: Text
    validation: Annotated[Passed | Unclear, Field(discriminator="outcome")] | None = None
    performance: Performance | None = None

    @model_validator(mode="after")
    def _only_what_is_right_is_timed(self) -> Self:
        if self.performance is not None and not isinstance(self.validation, Passed):
            raise refusal("has performance, but its validation did not pass")
        return self


Packet = PassPacket | FailPacket | ErrorPacket | SkippedPacket | InconclusivePacket


@functools.cache
def adapter() -> TypeAdapter[Packet]:
    """What validates packets of every status."""
    return TypeAdapter(Annotated[Packet, Field(discriminator="status")])


def parse(text: str | bytes, what: str = "the packet") -> Packet:
    """The packet of a JSON text, in any formatting, with or without its id.

    Raises InputError, in a sentence that begins with `what`, for a text that is no packet, or whose id is not that of its content.
    """
    return from_document(parse_json(text, what), what)


def from_document(document: object, what: str = "the packet") -> Packet:
    """The packet of JSON values. Raises InputError as `parse` does."""
    if not isinstance(document, dict):
        raise InputError(f"{what} is no JSON object")
    if document.get("format") != FORMAT:
        raise InputError(f"{what} is not a packet: its format is {document.get('format')!r}, not {FORMAT!r}")
    if document.get("version") != VERSION:
        raise InputError(f"{what} has version {document.get('version')!r}; this release reads version {VERSION}")
    content = {key: value for key, value in document.items() if key != "id"}
    data = canonical(content)
    if "id" in document and document["id"] != digest(data):
        raise InputError(f"{what} was changed: its id is {document['id']}, but its content's is {digest(data)}")
    return _validated(content, data, what)


def _validated(content: dict[str, Any], data: bytes, what: str) -> Packet:
    """The packet of a document without its id, whose canonical form is `data`."""
    try:
        packet = adapter().validate_json(data)
    except ValidationError as error:
        raise explain(error, content, what) from None
    if canonical(packet.document()) != data:  # no field may be read as anything but what is written
        raise InputError(f"{what} holds a value that is read as another; write numbers as numbers and text as text")
    return packet


def packet_id(packet: Packet) -> str:
    """SHA-256 of the packet's canonical JSON: over every field, also of categories that are not known here."""
    return digest(canonical(packet.document()))


def seal(packet: Packet) -> bytes:
    """The packet's canonical JSON with its id as one more field. The bytes are the same everywhere.

    Raises InputError if the packet holds what no reader would accept (possible only by what was put into its free-form fields).
    """
    return sealed(packet)[1]


def sealed(packet: Packet) -> tuple[str, bytes]:
    """The packet's id, and what `seal` makes. Raises InputError as that does."""
    content = packet.document()
    data = canonical(content)
    _validated(content, data, "the packet")
    name = digest(data)
    return name, canonical({**content, "id": name})


def unseal(data: bytes, expected: str | None = None, what: str = "the packet") -> Packet:
    """The packet of sealed bytes, with or without a line end after them.

    Raises InputError unless they are what `seal` wrote, byte for byte (and, if given, the packet has the id `expected`).
    """
    document: Any = parse_json(data, what)
    packet = from_document(document, what)
    if "id" not in document:
        raise InputError(f"{what} is not sealed: it has no id; `seal` writes it")
    if canonical(document) != data.removesuffix(b"\n"):
        raise InputError(f"{what} was changed: its bytes are not those of its canonical form")
    if expected is not None and document["id"] != expected:
        raise InputError(f"{what} is another one: its id is {document['id']}, not {expected}")
    return packet


def candidate_id(packet: Packet) -> str:
    """SHA-256 of the candidate's canonical JSON: the same for all runs of one candidate, wherever they ran."""
    return digest(canonical(packet.candidate.document()))


def check_artifact(artifact: Artifact, content: bytes) -> None:
    """Raise InputError unless `content` is that artifact's, by size and hash."""
    if len(content) != artifact.size or digest(content) != artifact.sha256:
        raise InputError(
            f"the content of artifact {artifact.name!r} is not what its packet names: {artifact.size} bytes, {artifact.sha256}"
        )
