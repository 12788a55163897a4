"""Packets wherever they are: a ledger, an export, an archive, a sealed or formatted JSON file, or a folder of such files.

for found in collect([Path("evidence")]):
    found.packet, found.place, found.content(sha256)
find("ledger.db#3f91a04c")             one packet: a file that holds one, or FILE#ID
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mosaic.errors import InputError
from mosaic.evidence import archive
from mosaic.evidence.canonical import digest
from mosaic.evidence.exchange import ARTIFACTS, ENTRIES
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.notes import FORMAT as NOTE
from mosaic.evidence.packet import Packet, packet_id, parse, unseal

_SQLITE: Final = b"SQLite format 3\x00"
_ZIP: Final = b"PK\x03\x04"


@dataclass(frozen=True)
class Found:
    """A packet, where it is, and how to get the contents of its artifacts: `content` gives None for one that isn't there.

    `content` raises InputError for one that was changed. Of a ledger's packets, it is to be called while the ledger is open: during
    the iteration.
    """

    place: str
    packet: Packet
    content: Callable[[str], bytes | None]

    def contents(self) -> dict[str, bytes]:
        """All that are there, by SHA-256."""
        given = {artifact.sha256: self.content(artifact.sha256) for artifact in self.packet.artifacts or ()}
        return {sha256: content for sha256, content in given.items() if content is not None}


def is_ledger(path: Path) -> bool:
    """Whether a file is a database, as ledgers are. Raises InputError if it can't be read."""
    return _beginning(path) == _SQLITE


def collect(paths: Iterable[Path]) -> Iterator[Found]:
    """Every packet below the paths, folder by folder in order of names, ledgers in their order.

    Raises InputError, naming file and line, at the first that is damaged, and for a path that holds none.
    """
    for path in paths:
        for file in files(path):
            yield from read(file)


def files(path: Path) -> list[Path]:
    """The files that hold packets below a path: itself, or a folder's .json, .jsonl, .zip and ledgers (.db). Raises InputError if none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}")
    kinds = (".json", ".jsonl", ".zip", ".db")
    found = sorted(
        file for file in path.rglob("*") if file.is_file() and file.suffix in kinds and ARTIFACTS not in file.relative_to(path).parts
    )
    if not found:
        raise InputError(f"the folder {path} holds no packets: no .json, .jsonl, .zip or .db file")
    return found


def read(path: Path) -> Iterator[Found]:
    """The packets of one file. Raises InputError as `collect` does."""
    beginning = _beginning(path)
    if beginning == _SQLITE:
        yield from _ledger(path)
    elif beginning.startswith(_ZIP):
        packet, contents = archive.unpack(_bytes(path), str(path))
        yield Found(str(path), packet, contents.get)
    elif path.suffix == ".jsonl":
        yield from _lines(path)
    else:
        packet = parse(_bytes(path), str(path))
        yield Found(str(path), packet, _beside(path))


def find(reference: str) -> Found:
    """One packet: a file that holds one, or `FILE#ID` with the beginning of an id (8 digits at least) that no other in FILE shares.

    All contents of its artifacts are read. Raises InputError if there is none, or several.
    """
    name, hash_sign, wanted = reference.rpartition("#")
    path = Path(name if hash_sign else reference)
    if not hash_sign or not set(wanted) <= set("0123456789abcdef"):
        path, wanted = Path(reference), ""
    elif len(wanted) < 8:
        raise InputError(f"{wanted!r} is no id; give at least its first 8 hexadecimal digits")
    if wanted and path.is_file() and is_ledger(path):
        with Ledger(path, create=False) as ledger:
            packet = ledger.get(wanted)
            held = {a.sha256: ledger.artifact(a.sha256) for a in packet.artifacts or () if ledger.has_artifact(a.sha256)}
        return Found(f"{path}#{packet_id(packet)[:12]}", packet, held.get)
    some: list[Found] = []
    for found in collect([path]):
        if packet_id(found.packet).startswith(wanted):
            some.append(Found(found.place, found.packet, found.contents().get))
        if len(some) > 1 and packet_id(some[0].packet) != packet_id(some[1].packet):
            raise InputError(f"{reference} names several packets; write {path}#ID with the beginning of one's id")
    if not some:
        raise InputError(f"{path} holds no packet whose id begins with {wanted}" if wanted else f"{path} holds no packet")
    return some[0]


def _ledger(path: Path) -> Iterator[Found]:
    with Ledger(path, create=False) as ledger:

        def content(sha256: str) -> bytes | None:
            return ledger.artifact(sha256) if ledger.has_artifact(sha256) else None

        for _, kind, name, _, data in ledger.entries():
            if kind == "packet":
                if data is None:
                    raise InputError(f"the ledger {path} has lost packet {name}")
                yield Found(f"{path}#{name[:12]}", unseal(data, name, f"packet {name} in {path}"), content)


def _lines(path: Path) -> Iterator[Found]:
    """An export's entries, or any file of sealed packets, one a line."""
    content = _beside(path)
    lines = _bytes(path).split(b"\n")
    if lines[-1]:
        raise InputError(f"{path} was cut short in line {len(lines)}")
    for number, line in enumerate(lines[:-1], start=1):
        place = f"{path}, line {number},"
        if path.name == ENTRIES and f'"format":"{NOTE}"'.encode() in line and json.loads(line).get("format") == NOTE:
            continue
        packet = unseal(line, what=place)
        yield Found(f"{path}#{packet_id(packet)[:12]}", packet, content)


def _beside(path: Path) -> Callable[[str], bytes | None]:
    """Contents in a folder `artifacts` beside a packet's file, named by their hashes."""

    def content(sha256: str) -> bytes | None:
        file = path.parent / ARTIFACTS / sha256
        if not file.is_file():
            return None
        data = _bytes(file)
        if digest(data) != sha256:
            raise InputError(f"{file} was changed: its SHA-256 is {digest(data)}")
        return data

    return content


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE))
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
