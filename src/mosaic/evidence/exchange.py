"""A ledger as a folder, and back: JSON Lines and the artifacts, each line and file checkable without us.

folder/entries.jsonl          sealed packets and notes, one a line, in the ledger's order
folder/artifacts/3f0c…        each artifact's content, named by its SHA-256
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.database import told, transaction
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.notes import FORMAT as NOTE
from mosaic.evidence.notes import parse_note, seal_note
from mosaic.evidence.packet import unseal

ENTRIES: Final = "entries.jsonl"
ARTIFACTS: Final = "artifacts"


@dataclass(frozen=True)
class Exchanged:
    """How many entries there were, how many of them were new, and how many artifacts came with them."""

    entries: int
    new: int
    artifacts: int


def export(ledger: Ledger, folder: str | Path) -> Exchanged:
    """Write a ledger to a new folder, which appears whole or not at all.

    Raises InputError if it exists, cannot be written, or an entry is damaged.
    """
    target = Path(folder)
    if target.exists():
        raise InputError(f"cannot export to {target}: it exists; name a new folder")
    if not target.absolute().parent.is_dir():
        raise InputError(f"cannot export to {target}: there is no folder {target.parent}; make it first")
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}")
    entries = artifacts = 0
    try:
        (temporary / ARTIFACTS).mkdir(parents=True)
        with (temporary / ENTRIES).open("wb") as file:
            for _, kind, name, _, content in ledger.entries():
                if kind == "packet":
                    for artifact in unseal(content, name, f"packet {name}").artifacts or ():
                        path = temporary / ARTIFACTS / artifact.sha256
                        if not path.exists() and ledger.has_artifact(artifact.sha256):
                            path.write_bytes(ledger.artifact(artifact.sha256))
                            artifacts += 1
                file.write(content + b"\n")
                entries += 1
        temporary.rename(target)
    except OSError as error:
        raise InputError(f"cannot export to {target}: {(error.strerror or str(error)).lower()}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exchanged(entries, entries, artifacts)


def load(ledger: Ledger, folder: str | Path) -> Exchanged:
    """Add all that was exported to `folder` to a ledger, or nothing. What is there already stays as it is.

    Raises InputError, naming the line or file, for what was changed since the export.
    """
    source = Path(folder)
    entries = new = artifacts = 0
    with told(ledger.path), transaction(ledger.connection):
        for place, line in _lines(source / ENTRIES):
            if _format_of(line) == NOTE:
                note = parse_note(line, place)
                if seal_note(note) != line:
                    raise InputError(f"{place} was changed: its bytes are not those of its canonical form")
                _, is_new = ledger.add_note(note)
            else:
                packet = unseal(line, what=place)
                contents = []
                for artifact in packet.artifacts or ():
                    path = source / ARTIFACTS / artifact.sha256
                    if path.is_file():
                        contents.append(_content(path))
                _, is_new = ledger.add(packet, contents, partial=True)
                artifacts += len(contents) if is_new else 0
            entries += 1
            new += is_new
    return Exchanged(entries, new, artifacts)


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    raise InputError(f"{path} was cut short in line {number}")
                yield f"{path}, line {number},", line[:-1]
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _format_of(line: bytes) -> object:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None  # the packet's own parser says what is wrong
    return document.get("format") if isinstance(document, dict) else None


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    if digest(content) != path.name:
        raise InputError(f"{path} was changed: its SHA-256 is {digest(content)}")
    return content
