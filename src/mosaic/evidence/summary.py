"""What the ledger's tables hold of a packet, and how its entries are chained."""

from __future__ import annotations

from typing import Final, NamedTuple

from mosaic.evidence.canonical import digest
from mosaic.evidence.packet import FailPacket, Packet, candidate_id, packet_id

START: Final = "0" * 64
"""The chain before the first entry."""


class Summary(NamedTuple):
    """What a listing shows of a packet. `failure` is its failure class, if it failed; `tags` are separated by line ends."""

    seq: int
    id: str
    created: str
    status: str
    failure: str | None
    candidate: str
    candidate_id: str
    task: str
    device: str
    tag_lines: str

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.tag_lines.splitlines())


COLUMNS: Final = "packets.seq, packets.id, created, status, failure, candidate, candidate_id, task, device, packets.tags"


def summary(seq: int, packet: Packet, name: str | None = None) -> Summary:
    """What the ledger's tables hold of a packet; `name` is its id, if that is known already."""
    return Summary(
        seq=seq,
        id=name or packet_id(packet),
        created=packet.created,
        status=packet.status,
        failure=packet.failure.kind if isinstance(packet, FailPacket) else None,
        candidate=packet.candidate.name,
        candidate_id=candidate_id(packet),
        task=packet.candidate.task,
        device=packet.environment.device.name,
        tag_lines="\n".join(dict.fromkeys(packet.tags or ())),
    )


def link(chain: str, kind: str, name: str) -> str:
    """The chain after an entry, from that before it."""
    return digest(f"{chain}\n{kind}\n{name}".encode())
