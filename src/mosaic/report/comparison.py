"""Packets side by side, as titled tables: a summary of all, then for each but the first its figures and differences against the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from mosaic.evidence.categories import Timing
from mosaic.evidence.compare import Comparison, compare
from mosaic.evidence.packet import Packet, packet_id
from mosaic.report.packet_sheets import LONGEST, Sheet, headline, series, verdict
from mosaic.report.quantities import digits, quantity

_SAME: Final = "alike"


def comparison_sheets(packets: Sequence[Packet]) -> tuple[Sheet, ...]:
    """The tables of two packets or more."""
    first, *others = packets
    made = [_summary(packets)]
    for number, other in enumerate(others, start=2):
        made.extend(_pair(compare(first, other), number, several=len(others) > 1))
    return tuple(made)


def shared_series(packets: Sequence[Packet]) -> dict[tuple[str, str, str], list[tuple[str, Timing]]]:
    """The samples of all packets, by case, clock and unit; each with its packet's number before its name."""
    found: dict[tuple[str, str, str], list[tuple[str, Timing]]] = {}
    for number, packet in enumerate(packets, start=1):
        for key, each in series(packet).items():
            found.setdefault(key, []).extend((f"{number}: {name}", timing) for name, timing in each)
    return found


def _summary(packets: Sequence[Packet]) -> Sheet:
    columns = [dict(_facts(packet)) for packet in packets]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = tuple((name, *(column.get(name, "") for column in columns)) for name in names)
    return Sheet("summary", "Side by side", ("", *(f"packet {i}" for i in range(1, len(packets) + 1))), rows)


def _facts(packet: Packet) -> Iterator[tuple[str, str]]:
    yield "id", packet_id(packet)[:16]
    yield "made", packet.created
    yield "candidate", packet.candidate.name
    yield "task", packet.candidate.task
    yield "device", packet.environment.device.name
    yield "status", packet.status
    if verdict(packet):
        yield "why", verdict(packet)
    for name, value, remark in headline(packet)[1:]:
        case = remark if name in ("time", "of the roof") or name.startswith("speed") else ""
        yield f"{name} ({case.partition(':')[0].partition(', median')[0]})" if case else name, value


def _pair(found: Comparison, number: int, *, several: bool) -> Iterator[Sheet]:
    which, suffix = (f" of packet {number} against the first", f"-{number}") if several else ("", "")
    both = [row for row in found.figures if row.first is not None and row.second is not None]
    rows = tuple(
        (
            row.place,
            quantity(row.first or 0.0, row.unit),
            quantity(row.second or 0.0, row.unit),
            digits(row.ratio) if row.ratio is not None else "",
            " / ".join(dict.fromkeys(row.labels)),
        )
        for row in both
    )
    same = "The same task." if found.same_task else "NOT the same task: figures say little."
    yield Sheet(
        f"figures{suffix}", f"Figures{which}", ("figure", "first", "second", "second / first", "labels"), rows, same, numeric=(1, 2, 3)
    )
    for name, title, differences in (
        ("unlike-candidate", "Where the candidates differ", found.candidate),
        ("unlike-environment", "Where the environments differ", found.environment),
    ):
        unlike = tuple((each.place, _text(each.first), _text(each.second)) for each in differences) or ((_SAME, "", ""),)
        yield Sheet(f"{name}{suffix}", f"{title}{which}", ("place", "first", "second"), unlike)


def _text(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
