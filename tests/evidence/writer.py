"""A process that appends packets to a ledger and, once each is acknowledged, says so in a file of its own: to be killed at any moment.

usage: python writer.py LEDGER ACKNOWLEDGED WRITER FIRST COUNT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mosaic.evidence.canonical import digest
from mosaic.evidence.categories import Artifact
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.packet import parse, seal
from tests.evidence import samples


def content_of(writer: int, number: int) -> bytes:
    """An artifact of some pages, so that an append is many writes."""
    return f"writer {writer}, packet {number}\n".encode() * 400


def main(ledger_path: str, acknowledged: str, writer: int, first: int, count: int) -> None:
    base = samples.failed()
    with Ledger(ledger_path) as ledger, Path(acknowledged).open("ab", buffering=0) as file:
        for number in range(first, first + count):
            content = content_of(writer, number)
            artifact = Artifact(name="log", kind="compile-log", sha256=digest(content), size=len(content))
            packet = base.model_copy(update={"tags": (f"writer-{writer}", f"number-{number}"), "artifacts": (artifact,)})
            name = ledger.append(packet, [content])
            os.write(file.fileno(), f"{number} {name} {artifact.sha256}\n".encode())
            assert parse(seal(packet)) == packet


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
