"""Stitches whatever is legal, whether it pays or not, and runs what comes of it on the CPU."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from mosaic.dtypes import DTYPES
from mosaic.graph.graph import Node
from mosaic.stitch.attach import Attachment, attachments
from mosaic.stitch.coarsen import check_coarsen, coarsen
from mosaic.stitch.concatenate import check_concatenate, concatenate
from mosaic.stitch.inline import Scope, inline
from mosaic.stitch.legality import Refusal
from mosaic.stitch.library import Library
from mosaic.targets.cpu import compile_cpu
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read
from mosaic.tiles.verify import verify
from tests.fuzz.generate import Case

PINNED = {"thread indices", "annotated layouts"}
MAX_RECOMPUTE = 64


@dataclass(eq=False)
class Part:
    """Some nodes of the graph as one program, and how it came about."""

    nodes: frozenset[str]
    program: TileProgram
    story: tuple[str, ...] = ()


@dataclass
class Stitcher:
    """Joins the nodes of a case at random. `refusals` counts the checks that forbade something."""

    case: Case
    random: random.Random
    parts: list[Part] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.graph = self.case.graph
        self.library = Library(self.graph)
        for node in self.graph.nodes:
            if not node.is_view:
                self.parts.append(Part(frozenset((node.name,)), self.library.program(node, self.case.tunables[node.name])))

    # -- what depends on what

    def needs(self, part: Part) -> set[str]:
        """Nodes that make what a part reads, through views."""
        found: set[str] = set()
        for name in part.nodes:
            for tensor in self.case.node(name).inputs:
                found |= self._makers(tensor)
        return found - part.nodes

    def _makers(self, tensor: str) -> set[str]:
        node = self.graph.producer(tensor)
        if node is None:
            return set()
        return self._makers(node.inputs[0]) if node.is_view else {node.name}

    def order(self, parts: Sequence[Part]) -> list[Part] | None:
        """The parts in an order in which they can run; None if there is none."""
        left, done, ordered = list(parts), set[str](), list[Part]()
        while left:
            ready = next((p for p in left if self.needs(p) <= done), None)
            if ready is None:
                return None
            left.remove(ready)
            ordered.append(ready)
            done |= ready.nodes
        return ordered

    def kept(self, tensor: str, inside: frozenset[str]) -> bool:
        """Whether a tensor is needed outside: as an output of the graph, by another node, or by a view."""
        return tensor in self.graph.outputs or any(c.name not in inside for c in self.graph.consumers(tensor))

    # -- moves

    def fuse(self) -> None:
        """Tries every pair of parts, in random order, until nothing more is legal."""
        tried: set[tuple[Part, Part]] = set()
        if self.random.random() < 0.3:
            self.coarsen(self.random.choice(self.parts))
        while True:
            pairs = [(a, b) for a in self.parts for b in self.parts if a is not b and (a, b) not in tried and self.needs(b) & a.nodes]
            if not pairs:
                break
            pair = self.random.choice(pairs)
            tried.add(pair)
            self.inline(*pair)
        if self.random.random() < 0.4:
            self.concatenate()

    def replace(self, old: Sequence[Part], new: Part) -> None:
        verify(new.program)
        self.parts = [p for p in self.parts if p not in old] + [new]

    def inline(self, producer: Part, consumer: Part) -> None:
        nodes = producer.nodes | consumer.nodes
        rest = [p for p in self.parts if p not in (producer, consumer)]
        if self.order([*rest, Part(nodes, consumer.program)]) is None:
            self.refusals["cycle"] += 1
            return
        made = [t for name in producer.nodes for t in self.case.node(name).outputs]
        read_there = {p.name for p in consumer.program.params}
        labels = tuple(label for t in made if (label := self.library.label(t)) in read_there)
        if not labels or self._reads_a_view(consumer, producer):
            self.refusals["view"] += 1
            return
        found = attachments(producer.program, consumer.program, labels)
        if isinstance(found, Refusal):
            self.refusals[found.check] += 1
            return
        keep = frozenset(label for label in labels if self.kept(self.library.tensor(label), nodes))
        legal = [a for a in found if a.recompute <= MAX_RECOMPUTE and (not keep or (a.recompute == 1 and a.complete))]
        if not legal:
            self.refusals["recompute"] += 1
            return
        self._apply(producer, consumer, self.random.choice(legal), keep)

    def _reads_a_view(self, consumer: Part, producer: Part) -> bool:
        """Whether the consumer also reads, by way of a view, what the producer makes: that has to be in device memory before."""
        tensors = [t for name in consumer.nodes for t in self.case.node(name).inputs]
        views = [t for t in tensors if (node := self.graph.producer(t)) is not None and node.is_view]
        return any(self._makers(t) & producer.nodes for t in views)

    def _apply(self, producer: Part, consumer: Part, attachment: Attachment, keep: frozenset[str]) -> None:
        scopes: dict[str, Scope] = {
            h.tensor: "register" if h.registers and self.random.random() < 0.5 else "shared" for h in attachment.handovers
        }
        pinned = (producer.program.features | consumer.program.features) & PINNED
        threads = None if pinned else self.random.choice((None, producer.program.thread_count))
        func = inline(producer.program, consumer.program, attachment, scopes, keep=keep, threads=threads)
        who = f"{'+'.join(sorted(producer.nodes))} into {'+'.join(sorted(consumer.nodes))}"
        story = f"{who} at depth {attachment.depth}, {scopes}, kept {sorted(keep)}"
        self.moves["inline"] += 1
        self.replace([producer, consumer], Part(producer.nodes | consumer.nodes, read(func), (*producer.story, *consumer.story, story)))

    def coarsen(self, part: Part) -> None:
        axis, factor = self.random.choice(part.program.grid), self.random.choice((2, 3, 4))
        if refusal := check_coarsen(part.program):
            self.refusals[f"coarsen {refusal.check}"] += 1
            return
        self.moves["coarsen"] += 1
        story = f"{'+'.join(sorted(part.nodes))} coarsened {factor} times along {axis.var!r}"
        self.replace([part], Part(part.nodes, read(coarsen(part.program, axis, factor)), (*part.story, story)))

    def concatenate(self) -> None:
        """Puts a random set of independent parts side by side."""
        chosen: list[Part] = []
        for part in self.random.sample(self.parts, len(self.parts)):
            trial = [*chosen, part]
            if check_concatenate([p.program for p in trial]) is not None or any(self._linked(part, c) for c in chosen):
                continue
            rest = [p for p in self.parts if p not in trial]
            if self.order([*rest, Part(frozenset().union(*(p.nodes for p in trial)), part.program)]) is not None:
                chosen = trial
        if len(chosen) > 1:
            self.moves["concatenate"] += 1
            nodes = frozenset().union(*(p.nodes for p in chosen))
            story = (*(line for p in chosen for line in p.story), f"{len(chosen)} side by side: {[sorted(p.nodes) for p in chosen]}")
            self.replace(chosen, Part(nodes, read(concatenate([p.program for p in chosen])), story))

    def _linked(self, one: Part, other: Part) -> bool:
        return bool(self.needs(one) & other.nodes or self.needs(other) & one.nodes)


Run = Callable[[TileProgram], Callable[..., None]]


def on_cpu(program: TileProgram) -> Callable[..., None]:
    """The program compiled, with on-chip memory that nobody has written yet full of NaN."""
    return compile_cpu(program.func, poison=True)


def execute(case: Case, library: Library, parts: Sequence[Part], compiler: Run = on_cpu) -> dict[str, torch.Tensor]:
    """Every tensor of the graph that some part writes, by name. `parts` are in order."""
    memory: dict[str, torch.Tensor] = dict(case.inputs) | {n: t for n, t in case.graph.constants.items() if t is not None}
    for part in parts:
        arguments = []
        for param in part.program.params:
            name = library.tensor(param.name)
            if param.mode in ("write", "update"):
                memory[name] = poisoned(case.graph.tensors[name].shape, case.graph.tensors[name].dtype)
            arguments.append(fetch(case, memory, name))
        compiler(part.program)(*arguments)
    return {name: fetch(case, memory, name) for name in case.graph.tensors if root(case, name) in memory}


def root(case: Case, tensor: str) -> str:
    node: Node | None = case.graph.producer(tensor)
    return root(case, node.inputs[0]) if node is not None and node.is_view else tensor


def fetch(case: Case, memory: Mapping[str, torch.Tensor], tensor: str) -> torch.Tensor:
    return memory[root(case, tensor)].reshape(case.graph.tensors[tensor].shape)


def poisoned(shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    """Memory that shows where it has not been written: NaN, or the smallest integer."""
    kind = DTYPES[dtype].torch
    if kind is torch.bool:
        return torch.ones(shape, dtype=kind)
    if not kind.is_floating_point:
        return torch.full(shape, torch.iinfo(kind).min, dtype=kind)
    return torch.full(shape, float("nan")).to(kind)


def unfused(case: Case, library: Library) -> list[Part]:
    """One part a node, in the graph's order."""
    return [Part(frozenset((n.name,)), library.program(n, case.tunables[n.name])) for n in case.graph.nodes if not n.is_view]


def describe(parts: Sequence[Part]) -> str:
    return "\n".join(f"  {'+'.join(sorted(p.nodes))}: " + "; ".join(p.story) for p in parts)
