"""What a listing shows is what the packet says."""

from __future__ import annotations

from mosaic.evidence.canonical import digest
from mosaic.evidence.packet import candidate_id, packet_id
from mosaic.evidence.summary import COLUMNS, START, Summary, link, summary
from tests.evidence import samples


def test_summaries() -> None:
    packet = samples.failed("nan")
    row = summary(7, packet)
    assert row == Summary(
        7,
        packet_id(packet),
        packet.created,
        "fail",
        "nan",
        "rows_times_two",
        candidate_id(packet),
        "scale rows",
        "NVIDIA H200",
        "nightly\nminute-1",
    )
    assert row.tags == ("nightly", "minute-1")
    assert summary(0, samples.passed()).failure is None
    assert COLUMNS.count(",") + 1 == len(Summary._fields)


def test_the_chain_binds_what_came_before() -> None:
    first = link(START, "packet", "a" * 64)
    assert first == digest(f"{START}\npacket\n{'a' * 64}".encode())
    assert len({first, link(START, "note", "a" * 64), link(first, "packet", "a" * 64), link(START, "packet", "b" * 64)}) == 4
