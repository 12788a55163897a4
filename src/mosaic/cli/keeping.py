"""Where verbs keep the packets that they make: a file, a ledger, or else the user's own ledger; and how a packet is named to them.

The user's own ledger is $MOSAIC_LEDGER, else ~/.local/share/mosaic/ledger.db. MOSAIC_LEDGER= (empty) means that there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mosaic.errors import InputError
from mosaic.files import check_writable

if TYPE_CHECKING:
    from mosaic.evidence.collection import Found
    from mosaic.evidence.packet import Packet

LARGEST: Final = 16 << 20
"""Bytes of a content that is kept in the user's own ledger; a ledger or a .zip that is named takes all."""

PacketFile = Annotated[
    Path | None,
    typer.Option(
        "--packet",
        help="Write the packet of this run: .json for the packet alone, .zip with the contents of its artifacts.",
        show_default=False,
    ),
]

LedgerFile = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        help="Append the packet to this ledger. Without either it goes to $MOSAIC_LEDGER, or ~/.local/share/mosaic/ledger.db.",
        show_default=False,
    ),
]

PacketName = Annotated[
    str, typer.Argument(metavar="PACKET", help="A file that holds one packet, FILE#ID, or the beginning of an id in your own ledger.")
]


@dataclass(frozen=True)
class Kept:
    """Where a packet is now."""

    id: str
    status: str
    places: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.id, "status": self.status, "kept": list(self.places)}

    def tell(self) -> None:
        """A line for each place, with how to run it again."""
        for place in self.places:
            typer.echo(f"packet: {self.id[:12]}, {self.status}, in {place}")


def own_ledger() -> Path | None:
    """The user's own ledger; None if there is to be none."""
    named = os.environ.get("MOSAIC_LEDGER")
    if named is not None:
        return Path(named).expanduser() if named else None
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data).expanduser() if data else Path.home() / ".local" / "share") / "mosaic" / "ledger.db"


def check_places(packet: Path | None, ledger: Path | None) -> None:
    """Raise InputError before the work if its packet could not be kept after it."""
    if packet is not None:
        if packet.suffix not in (".json", ".zip"):
            raise InputError(f"cannot write the packet {packet}: its name must end in .json, or in .zip to hold the artifacts too")
        check_writable(packet)
    if ledger is not None:
        from mosaic.evidence.ledger import Ledger

        Ledger(ledger).close()


def keep(made: Packet, contents: Iterable[bytes], packet: Path | None, ledger: Path | None) -> Kept:
    """Keep a packet, with the contents of its artifacts, where the user wants it.

    Without a place of the user's choice a ledger that can't be written is no error: a warning, and the packet is nowhere.
    """
    from mosaic.evidence import archive
    from mosaic.evidence.ledger import Ledger
    from mosaic.evidence.packet import packet_id

    held = tuple(contents)
    places = []
    if packet is not None:
        archive.write(packet, made, held)
        places.append(str(packet))
    if ledger is not None:
        with Ledger(ledger) as store:
            store.append(made, held, partial=True)
        places.append(str(ledger))
    own = own_ledger()
    if not places and own is not None:
        try:
            own.parent.mkdir(parents=True, exist_ok=True)
            with Ledger(own) as store:
                store.append(made, [content for content in held if len(content) <= LARGEST], partial=True)
            places.append(str(own))
        except (InputError, OSError) as error:
            typer.echo(f"mosaic: warning: the packet is not kept: {error}", err=True)
    return Kept(packet_id(made), made.status, tuple(places))


def find_packet(reference: str) -> Found:
    """The packet of a name as users give it. Raises InputError if there is none, or several."""
    from mosaic.evidence.collection import find

    own = own_ledger()
    is_id = len(reference) >= 8 and set(reference) <= set("0123456789abcdef")
    if is_id and not Path(reference).exists() and own is not None and own.is_file():
        return find(f"{own}#{reference}")
    return find(reference)


def paths_or_own(paths: list[Path] | None) -> list[Path]:
    """The paths that were given, else the user's own ledger. Raises InputError if there is none."""
    if paths:
        return paths
    own = own_ledger()
    if own is None or not own.is_file():
        raise InputError("you have no ledger of your own yet; name a ledger, a folder or a packet file")
    return [own]
