"""A packet with the contents of its artifacts in one file: a zip, so that anyone can look into it without us.

packet.json              the sealed packet
artifacts/3f0c…          each artifact's content, named by its SHA-256

The same packet and contents make the same bytes. Nothing is ever unpacked to a path that the file names.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.exchange import ARTIFACTS
from mosaic.evidence.ledger import LARGEST_ARTIFACT
from mosaic.evidence.packet import Packet, check_artifact, seal, unseal
from mosaic.files import write_whole

PACKET: Final = "packet.json"
LARGEST_PACKET: Final = 64 * 2**20
"""Bytes."""
_MOMENT: Final = (1980, 1, 1, 0, 0, 0)  # the first that zip knows; when the run was is in the packet


def write(path: Path, packet: Packet, contents: Iterable[bytes] = ()) -> None:
    """Write a packet: as an archive with the contents of its artifacts if `path` ends in .zip, else sealed, alone.

    Raises InputError if it cannot be written, or for a content that the packet does not name.
    """
    write_whole(path, pack(packet, contents) if path.suffix == ".zip" else seal(packet) + b"\n")


def pack(packet: Packet, contents: Iterable[bytes]) -> bytes:
    """The archive's bytes. Raises InputError for a content that the packet does not name."""
    named = {artifact.sha256: artifact for artifact in packet.artifacts or ()}
    files = {}
    for content in contents:
        sha256 = digest(content)
        if sha256 not in named:
            raise InputError(f"a content of {len(content)} bytes was given that the packet does not name; its SHA-256 is {sha256}")
        files[f"{ARTIFACTS}/{sha256}"] = content
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [(PACKET, seal(packet)), *sorted(files.items())]:
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return made.getvalue()


def unpack(data: bytes, what: str = "the archive") -> tuple[Packet, Mapping[str, bytes]]:
    """The packet of an archive, and the contents of those of its artifacts that are there, by SHA-256; each is checked.

    Raises InputError, in a sentence that begins with `what`, for what is no such archive, or was cut short or changed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if names.count(PACKET) != 1:
                raise InputError(f"{what} holds {names.count(PACKET)} files called {PACKET}, not one")
            packet = unseal(_content(archive, PACKET, LARGEST_PACKET, what), what=f"{what}, {PACKET},")
            contents = {}
            named = {f"{ARTIFACTS}/{artifact.sha256}": artifact for artifact in packet.artifacts or ()}
            for name in names:
                if name == PACKET:
                    continue
                if name not in named or names.count(name) != 1:
                    raise InputError(f"{what} holds {name[:100]!r}, which its packet does not name once")
                artifact = named[name]
                content = _content(archive, name, min(artifact.size, LARGEST_ARTIFACT), what)
                check_artifact(artifact, content)
                contents[artifact.sha256] = content
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{what} is no archive, was cut short or changed: {str(error).lower() or type(error).__name__}") from None
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(what) else f"{what}: {error}") from None
    return packet, contents


def _content(archive: zipfile.ZipFile, name: str, most: int, what: str) -> bytes:
    """A member of at most `most` bytes: what it says of its size is not believed."""
    try:
        with archive.open(name) as file:
            content = file.read(most + 1)
    except (zlib.error, RuntimeError) as error:  # RuntimeError: encrypted
        raise InputError(f"{what} was changed: {name} cannot be read ({str(error).lower()})") from None
    if len(content) > most:
        raise InputError(f"{what} was changed: {name} is larger than the {most} bytes it may have")
    return content
