"""Evidence: what was run, on what, whether it was right and how fast, as packets that anyone can check; and the ledger that keeps them."""

from __future__ import annotations

from mosaic.evidence.compare import Comparison, compare
from mosaic.evidence.exchange import export, load
from mosaic.evidence.ledger import Ledger
from mosaic.evidence.notes import DeadEnd, Fact, Note
from mosaic.evidence.packet import (
    ErrorPacket,
    FailPacket,
    InconclusivePacket,
    Packet,
    PassPacket,
    SkippedPacket,
    packet_id,
    parse,
    seal,
    unseal,
)
from mosaic.evidence.record import derived, measured
from mosaic.evidence.summary import Summary

__all__ = [
    "Comparison",
    "DeadEnd",
    "ErrorPacket",
    "Fact",
    "FailPacket",
    "InconclusivePacket",
    "Ledger",
    "Note",
    "Packet",
    "PassPacket",
    "SkippedPacket",
    "Summary",
    "compare",
    "derived",
    "export",
    "load",
    "measured",
    "packet_id",
    "parse",
    "seal",
    "unseal",
]
