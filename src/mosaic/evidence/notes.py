"""What was learned: proven facts and dead ends, each resting on packets that it names by id."""

from __future__ import annotations

import functools
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.evidence.canonical import parse as parse_json
from mosaic.evidence.record import Digest, Moment, Name, Record, Text, explain

FORMAT: Final = "mosaic-note"
VERSION: Final = 1


class _Note(Record):
    format: Literal["mosaic-note"]
    version: Literal[1]
    created: Moment
    statement: Text
    """What holds, or what was tried."""
    scope: Text
    """Where it holds: devices, shapes, dtypes, versions."""
    packets: Annotated[tuple[Digest, ...], Field(min_length=1)]
    """The ids of the packets that show it."""
    tags: tuple[Name, ...] | None = None
    replaces: Digest | None = None
    """The id of a note that this one corrects."""


class Fact(_Note):
    """What has been proven."""

    kind: Literal["fact"]


class DeadEnd(_Note):
    """What was tried and does not pay."""

    kind: Literal["dead-end"]
    why: Text


Note = Fact | DeadEnd


@functools.cache
def _adapter() -> TypeAdapter[Note]:
    return TypeAdapter(Annotated[Note, Field(discriminator="kind")])


def note_id(note: Note) -> str:
    """SHA-256 of the note's canonical JSON."""
    return digest(canonical(note.document()))


def seal_note(note: Note) -> bytes:
    """The note's canonical JSON with its id as one more field."""
    return canonical({**note.document(), "id": note_id(note)})


def parse_note(text: str | bytes, what: str = "the note") -> Note:
    """The note of a JSON text, in any formatting, with or without its id.

    Raises InputError, in a sentence that begins with `what`, for a text that is no note, or whose id is not that of its content.
    """
    document = parse_json(text, what)
    if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (FORMAT, VERSION):
        raise InputError(f"{what} is not a note of version {VERSION}")
    content = {key: value for key, value in document.items() if key != "id"}
    data = canonical(content)
    if "id" in document and document["id"] != digest(data):
        raise InputError(f"{what} was changed: its id is {document['id']}, but its content's is {digest(data)}")
    try:
        return _adapter().validate_json(data)
    except ValidationError as error:
        raise explain(error, content, what) from None
