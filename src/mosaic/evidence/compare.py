"""Two packets side by side: their figures, and in what they are not alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mosaic.evidence.packet import Packet, packet_id

ABSENT: Final = "absent"


@dataclass(frozen=True)
class FigureRow:
    """One figure of two packets. A side that has none is None; `ratio` is second / first, where both have it in one unit and it has sense.

    `labels` are measured, derived, proxy or source-reported; "" on a side that has none.
    """

    place: str
    unit: str
    first: float | None
    second: float | None
    labels: tuple[str, str]

    @property
    def ratio(self) -> float | None:
        if self.first is None or self.second is None or self.first == 0:
            return None
        return self.second / self.first


@dataclass(frozen=True)
class Difference:
    """A place where two packets differ, with both values; "absent" where one has nothing."""

    place: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Comparison:
    """Two packets. Times are comparable only if `environment` holds nothing that matters to them; it names every unlike setting."""

    ids: tuple[str, str]
    statuses: tuple[str, str]
    same_task: bool
    figures: tuple[FigureRow, ...]
    candidate: tuple[Difference, ...]
    environment: tuple[Difference, ...]


def compare(first: Packet, second: Packet) -> Comparison:
    """Figures of all categories side by side, matched by place, and where candidate and environment differ.

    Items of lists are matched by their names (case, clock, output, ...) rather than by their order. What must differ between any two
    runs is left out of `environment`: conditions (they are among the figures), the seed and the replay command.
    """
    documents = first.document(), second.document()
    left, right = (dict(_figures(document, "")) for document in documents)
    rows = []
    for key in dict.fromkeys([*left, *right]):
        a, b = left.get(key), right.get(key)
        labels = (a["label"] if a else "", b["label"] if b else "")
        rows.append(FigureRow(key[0], key[1], a["value"] if a else None, b["value"] if b else None, labels))
    tasks = [(packet.candidate.task, packet.candidate.task_sha256) for packet in (first, second)]
    changing = ("before", "after", "seed", "replay")
    settings = [{key: value for key, value in document["environment"].items() if key not in changing} for document in documents]
    return Comparison(
        ids=(packet_id(first), packet_id(second)),
        statuses=(first.status, second.status),
        same_task=tasks[0] == tasks[1],
        figures=tuple(rows),
        candidate=tuple(_differences(documents[0]["candidate"], documents[1]["candidate"])),
        environment=tuple(_differences(settings[0], settings[1])),
    )


def _figures(value: Any, place: str) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """Every figure below a value, with its place and unit."""
    if isinstance(value, Mapping) and {"label", "value", "unit"} <= value.keys():
        yield (place, str(value["unit"])), value
        return
    for key, item in _items(value):
        yield from _figures(item, _join(place, key))


def _differences(first: Any, second: Any, place: str = "") -> Iterator[Difference]:
    left, right = dict(_items(first)), dict(_items(second))
    if (left or right) and type(first) is type(second):
        for key in dict.fromkeys([*left, *right]):
            yield from _differences(left.get(key, ABSENT), right.get(key, ABSENT), _join(place, key))
    elif first != second:
        yield Difference(place, first, second)


# What tells an item of a list from the others, in this order.
_NAMES: Final = ("name", "path", "case", "clock", "launch", "output", "distribution", "trial")


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """What is directly in an object or list, each with a key that is the same in another packet."""
    if isinstance(value, Mapping):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        seen: dict[str, int] = {}
        for index, item in enumerate(value):
            names = item if isinstance(item, Mapping) else {}
            names = {**names.get("reference", {}), **names} if isinstance(names.get("reference"), Mapping) else names
            key = ", ".join(str(names[name]) for name in _NAMES if name in names) or str(index)
            seen[key] = seen.get(key, 0) + 1
            yield f"[{key}]" if seen[key] == 1 else f"[{key} #{seen[key]}]", item


def _join(place: str, key: str) -> str:
    return place + key if key.startswith("[") else f"{place}.{key}".removeprefix(".")
