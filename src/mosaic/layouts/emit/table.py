"""Words from lane to lane for any two layouts: every word that a lane misses is given a round in which nobody is asked for two things.

Registers share a word if all lanes agree where their elements go. Rounds are colours of the edges from senders to receivers, given
greedily, neighbours at one distance together; there may be more of them than the busiest lane has words.
"""

from __future__ import annotations

from dataclasses import dataclass

from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.registers import Builder, Wanted
from mosaic.layouts.emit.steps import Part, Shuffle, Word
from mosaic.layouts.linear import LayoutError

_Holder = tuple[int, int]
"""A register of a thread."""


@dataclass(frozen=True)
class _Edge:
    sender: int
    receiver: int
    word: Word


def convert_table(builder: Builder, source: Places, target: Places) -> None:
    """Adds the steps. Raises LayoutError if an element is needed that no lane of the warp holds."""
    holder = _holders(source, target)
    receivers: dict[_Holder, set[int]] = {}
    for (_, thread), place in holder.items():
        receivers.setdefault(place, set()).add(thread)
    parts = _pack(builder, source, receivers, holder)
    edges = {_Edge(place[1], thread, parts[place[0]][0]) for (_, thread), place in holder.items() if place[1] != thread}
    arrived = _rounds(builder, edges)
    wanted: list[Wanted] = []
    for register in range(target.registers):
        row: list[Part | None] = [None] * builder.threads
        for thread in range(target.threads):
            if (register, thread) in holder:
                at, sender = holder[register, thread]
                word, slot = parts[at]
                row[thread] = (word if sender == thread else arrived[_Edge(sender, thread, word)], slot)
        wanted.append(tuple(row))
    builder.unpack(wanted)


def _holders(source: Places, target: Places) -> dict[tuple[int, int], _Holder]:
    """For each register and thread of the target, the nearest place that holds its element."""
    size = source.warp_size
    held: dict[tuple[int, int], list[_Holder]] = {}
    for register, row in enumerate(source.elements):
        for thread, element in enumerate(row):
            if element is not None:
                held.setdefault((thread // size, element), []).append((register, thread))
    found = {}
    for register, row in enumerate(target.elements):
        for thread, element in enumerate(row):
            if element is not None:
                places = held.get((thread // size, element))
                if not places:
                    raise LayoutError("the target layout needs an element of the tile that no lane of the warp holds")
                found[register, thread] = min(places, key=lambda place: (place[1] != thread, place[1] ^ thread, place[0]))
    return found


def _pack(builder: Builder, source: Places, receivers: dict[_Holder, set[int]], holder: dict[tuple[int, int], _Holder]) -> dict[int, Part]:
    """The slot that each source register has, of those that are needed."""
    first_use: dict[int, int] = {}
    for (register, _), (at, _) in holder.items():
        first_use[at] = min(register, first_use.get(at, register))
    alike: dict[tuple[frozenset[int], ...], list[int]] = {}
    for register in sorted(first_use, key=lambda at: (first_use[at], at)):
        signature = tuple(frozenset(receivers.get((register, thread), ())) for thread in range(source.threads))
        alike.setdefault(signature, []).append(register)
    parts: dict[int, Part] = {}
    for registers in alike.values():
        for start in range(0, len(registers), builder.slots):
            group = registers[start : start + builder.slots]
            word = builder.pack((*group, *(None,) * (builder.slots - len(group))))
            parts |= {register: (word, slot) for slot, register in enumerate(group)}
    return parts


def _rounds(builder: Builder, edges: set[_Edge]) -> dict[_Edge, Word]:
    sending: list[dict[int, Word]] = []
    reading: list[dict[int, int]] = []
    colour: dict[_Edge, int] = {}
    for edge in sorted(edges, key=lambda edge: (edge.sender ^ edge.receiver, edge.receiver, edge.word)):
        at = 0
        while at < len(sending) and (edge.receiver in reading[at] or sending[at].get(edge.sender, edge.word) != edge.word):
            at += 1
        if at == len(sending):
            sending.append({})
            reading.append({})
        sending[at][edge.sender] = edge.word
        reading[at][edge.receiver] = edge.sender
        colour[edge] = at
    words = []
    for send, read in zip(sending, reading, strict=True):
        value = builder.select([send.get(thread) for thread in range(builder.threads)])
        words.append(builder.word())
        lanes = tuple(read.get(thread, thread) % builder.warp_size for thread in range(builder.threads))
        builder.steps.append(Shuffle(words[-1], value, lanes))
    return {edge: words[at] for edge, at in colour.items()}
