"""What to fuse: groups of nodes, each one launch, chosen by the cost of what they save.

Greedy over the graph in topological order: each group is offered its producers' groups, and joins
them where the group that results is legal and cheaper than both. Then independent groups that read
the same tensor are offered one launch. The full solver will search layouts and groups together;
it takes the place of `plan` and hands on the same `Plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mosaic.errors import KernelError
from mosaic.graph.graph import Graph, Node
from mosaic.stitch.concatenate import check_concatenate, concatenate
from mosaic.stitch.cost import Cost, Device, cost, fits
from mosaic.stitch.group import Searcher
from mosaic.stitch.inline import Scope
from mosaic.stitch.legality import Refusal
from mosaic.stitch.library import Library
from mosaic.stitch.recipe import Group
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read

How = Literal["shared", "register", "split", "view"]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Edge:
    """What became of one tensor on its way from one node to another, and why."""

    tensor: str
    producer: str
    consumer: str
    how: How
    reason: str
    bytes: int


@dataclass(frozen=True)
class Launch:
    """One kernel of the fused graph: a group, or several side by side."""

    name: str
    groups: tuple[Group, ...]
    program: TileProgram
    cost: Cost

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(n for group in self.groups for n in group.nodes)


@dataclass(frozen=True)
class Plan:
    """The launches, in an order in which they can run, and what became of each edge."""

    graph: Graph
    launches: tuple[Launch, ...]
    edges: tuple[Edge, ...]
    unfused_seconds: float
    labels: tuple[tuple[str, str], ...]
    """Names of tensors in source code, and in the graph."""

    @property
    def seconds(self) -> float:
        """The cost model's time for all launches; for comparing plans, not a prediction."""
        return sum(launch.cost.seconds for launch in self.launches)

    def bytes_between(self) -> int:
        """Bytes of intermediates that launches write to and read from device memory."""
        names = dict(self.labels)
        moved = [
            (self.graph.root(names[p.name]).name, p.mode) for launch in self.launches for p in launch.program.params if p.name in names
        ]
        made = {name for name, mode in moved if mode != "read"}
        read_again = {name for name, mode in moved if mode == "read"}
        return sum(self.graph.tensors[name].bytes for name, _ in moved if name in made & read_again)


class Planner:
    """Plans one graph for one device; what is refused later can be planned around (`refuse`, then `plan` again)."""

    def __init__(self, graph: Graph, device: Device, *, prefer: Scope = "shared", progress: Progress = lambda _: None) -> None:
        self.graph, self.device, self.progress = graph, device, progress
        self.library = Library(graph)
        self.searcher = Searcher(graph, self.library, device, prefer=prefer)
        self.order = {node.name: position for position, node in enumerate(graph.nodes)}
        self.group_of: dict[str, Group] = {}
        self.refusals: dict[tuple[str, str], Refusal] = {}
        self.apart: set[frozenset[str]] = set()
        self.cut: set[tuple[str, str]] = set()
        self.together: list[tuple[str, ...]] = []
        self.unfused_seconds = 0.0

    def plan(self, *, fuse: bool = True) -> Plan:
        """A plan; with `fuse` False every node is a launch.

        Raises KernelError for a node whose kernel can't be read, or has no tunables that fit the device.
        """
        self.group_of, self.refusals, self.together = {}, {}, []
        # First what only its consumer needs; then what can stand side by side; then what others need too.
        launches = self.launches(self.groups(fuse=fuse), fuse=fuse)
        groups = self._groups()
        if fuse:
            joined = [launch for launch in launches if len(launch.groups) > 1]
            self.together = [launch.nodes for launch in joined]
            self._offer_all(lambda _: True, {n for nodes in self.together for n in nodes})
            groups = self._groups()
            rest = [g for g in groups if not any(g in launch.groups for launch in joined)]
            launches = self.runnable([*joined, *(Launch(g.program.name, (g,), g.program, g.cost) for g in rest)])
        labels = tuple((self.library.label(t), t) for t in self.graph.tensors)
        return Plan(self.graph, tuple(launches), self.edges(groups), self.unfused_seconds, labels)

    def refuse(self, launch: Launch, refusal: Refusal) -> None:
        """Do not plan this launch again: a later stage refused it."""
        if len(launch.groups) > 1:
            self.apart.add(frozenset(launch.nodes))
        else:
            self.searcher.refuse(launch.groups[0], refusal)

    def key(self, launch: Launch) -> object:
        """A key that is equal for launches that are the same program but for the names of their tensors."""
        structure = self.searcher.structure([self.graph.node(n) for n in launch.nodes])
        return structure, tuple((len(group.nodes), group.recipe) for group in launch.groups)

    # -- vertical: producers into consumers

    def groups(self, *, fuse: bool) -> list[Group]:
        kernels = [n for n in self.graph.nodes if not n.is_view]
        for node in kernels:
            self.group_of[node.name] = self._required(self.searcher.search([node]), node)
        self.unfused_seconds = sum(g.cost.seconds for g in self.group_of.values())
        if fuse:
            self._offer_all(lambda tensor: len(self.graph.consumers(tensor)) == 1 and tensor not in self.graph.outputs)
        return self._groups()

    def _groups(self) -> list[Group]:
        return sorted({id(g): g for g in self.group_of.values()}.values(), key=lambda g: self.order[g.nodes[-1]])

    def _offer_all(self, wanted: Callable[[str], bool], taken: Collection[str] = ()) -> None:
        """Offer every edge whose tensor is wanted and whose nodes are not taken, in topological order."""
        for node in self.graph.nodes:
            if node.is_view or node.name in taken:
                continue
            self.progress(f"planning {node.name}")
            for tensor in node.inputs:
                producer = self.graph.producer(tensor)
                if producer is not None and not producer.is_view and producer.name not in taken and wanted(tensor):
                    self._offer(producer, node)

    @staticmethod
    def _required(found: Group | Refusal, node: Node) -> Group:
        if isinstance(found, Refusal):
            raise KernelError(
                f"no tunables of {node.name!r} fit this device ({found}); widen its kernel's choices or choose another target"
            )
        return found

    def _offer(self, producer: Node, node: Node) -> None:
        """Join the groups of two neighbours, if that is legal and pays."""
        mine, theirs = self.group_of[node.name], self.group_of[producer.name]
        if mine is theirs or (node.name != mine.nodes[-1] and producer.name != theirs.nodes[-1]):
            return
        edge = producer.name, node.name
        if edge in self.cut:
            self.refusals[edge] = Refusal("layouts", "device memory is cheaper for it by the layout plan, or was asked for")
            return
        names = sorted({*mine.nodes, *theirs.nodes}, key=self.order.__getitem__)
        if not self.graph.is_convex(names) or not self._stays_acyclic(names):
            self.refusals[edge] = Refusal("cycle", "a path from one to the other leads through a kernel outside")
            return
        if len(self._sinks(names)) > 1:
            self.refusals[edge] = Refusal("several-sinks", "the group would have several last kernels, each with a grid of its own")
            return
        nodes = [self.graph.node(n) for n in names]
        found = self.searcher.search(nodes, (theirs, mine))
        if isinstance(found, Refusal):
            self.refusals[edge] = found
            return
        apart = mine.cost.seconds + theirs.cost.seconds
        if found.cost.seconds >= apart:
            self.refusals[edge] = Refusal(
                "cost", f"together {found.cost.seconds * 1e6:.1f} µs by the model (fill {found.cost.fill:.0%}), apart {apart * 1e6:.1f} µs"
            )
            return
        for name in names:
            self.group_of[name] = found

    def _stays_acyclic(self, names: Sequence[str]) -> bool:
        """Whether all launches could run one after another if `names` were one, given those that already stand side by side."""
        owner: dict[str, int] = {}
        for number, group in enumerate(self._groups()):
            owner |= dict.fromkeys(group.nodes, number)
        for number, together in enumerate([*self.together, tuple(names)]):
            owner |= dict.fromkeys(together, -1 - number)
        return _order(owner, self.graph) is not None

    def _sinks(self, names: Sequence[str]) -> list[str]:
        inside = set(names)
        return [n for n in names if not any(c.name in inside for t in self.graph.node(n).outputs for c in self.graph.consumers(t))]

    # -- horizontal: independent groups side by side

    def launches(self, groups: Sequence[Group], *, fuse: bool) -> list[Launch]:
        launches = [Launch(g.program.name, (g,), g.program, g.cost) for g in groups]
        position = 0
        while fuse and position < len(launches):
            partner = next((j for j in range(position + 1, len(launches)) if self._side_by_side(launches, position, j)), None)
            if partner is None:
                position += 1
                continue
            launches[position] = self.join(self._plain(launches[position]), self._plain(launches[partner]))
            del launches[partner]
            for group in launches[position].groups:
                self.group_of.update(dict.fromkeys(group.nodes, group))
        return self.runnable(launches)

    def _side_by_side(self, launches: Sequence[Launch], first: int, second: int) -> bool:
        one, other = launches[first], launches[second]
        if (
            frozenset((*one.nodes, *other.nodes)) in self.apart
            or not self._inputs(one) & self._inputs(other)
            or self._depends(launches, one, other)
        ):
            return False
        parts = self._plain(one), self._plain(other)
        if check_concatenate([g.program for part in parts for g in part.groups]) is not None:
            return False
        joined = self.join(*parts)
        return fits(joined.program, self.device) is None and joined.cost.seconds < one.cost.seconds + other.cost.seconds

    def _plain(self, launch: Launch) -> Launch:
        """The launch with groups that can share it with others; its program and cost are still those of its own."""
        return replace(launch, groups=tuple(self.searcher.plain(group) for group in launch.groups))

    def _inputs(self, launch: Launch) -> set[str]:
        """Tensors of the graph that are not fixed, read by a launch."""
        read_here = {self.library.tensor(p.name) for p in launch.program.params if p.mode == "read"}
        return {self.graph.root(t).name for t in read_here if self.graph.tensors[t].kind != "constant"}

    def _depends(self, launches: Sequence[Launch], one: Launch, other: Launch) -> bool:
        """Whether a path leads from one launch to the other, in either direction."""
        return not self._acyclic([launch for launch in launches if launch not in (one, other)], (*one.nodes, *other.nodes)) or self._path(
            one, other
        )

    def _path(self, one: Launch, other: Launch) -> bool:
        outputs = {t for n in one.nodes for t in self.graph.node(n).outputs}
        inputs = {self.graph.root(t).name for n in other.nodes for t in self.graph.node(n).inputs}
        return bool(outputs & inputs)

    def _acyclic(self, rest: Sequence[Launch], joined: Sequence[str]) -> bool:
        """Whether all launches could still run one after another if `joined` were one."""
        owner = {n: i for i, launch in enumerate(rest) for n in launch.nodes} | dict.fromkeys(joined, len(rest))
        return _order(owner, self.graph) is not None

    def join(self, one: Launch, other: Launch) -> Launch:
        groups = (*one.groups, *other.groups)
        name = f"{one.name}_and_{other.name}" if len(groups) == 2 else f"{one.name}_{other.name}"
        program = read(concatenate([g.program for g in groups], name=name))
        joined = self._side_by_side_cost(groups, program)
        return Launch(name, groups, program, joined)

    def _side_by_side_cost(self, groups: Sequence[Group], program: TileProgram) -> Cost:
        """One launch; blocks of all grids share the device, so that part-filled waves of one are filled by the others."""
        launch = self.device.launch_seconds
        own = [cost(g.program, self.device) for g in groups]
        seconds = launch + max(sum((c.seconds - launch) * c.fill for c in own), *(c.seconds - launch for c in own))
        moved = sum(p.bytes or 0 for p in program.params)
        return replace(
            own[0],
            seconds=seconds,
            moved_bytes=moved,
            loaded_bytes=sum(c.loaded_bytes for c in own),
            work=sum(c.work for c in own),
            blocks=program.blocks,
            fill=min(1.0, sum(c.fill for c in own)),
        )

    def runnable(self, launches: list[Launch]) -> list[Launch]:
        """The launches of the whole graph, in an order in which each comes after those that it needs."""
        owner = {n: i for i, launch in enumerate(launches) for n in launch.nodes}
        order = _order(owner, self.graph)
        assert order is not None
        return [launches[i] for i in order]

    # -- edges

    def _unasked(self, producer: str, consumer: str) -> Refusal:
        """Why an edge was never offered."""
        for nodes in self.together:
            if producer in nodes or consumer in nodes:
                joined = producer if producer in nodes else consumer
                return Refusal("side-by-side", f"{joined} shares a launch with kernels that do not depend on it, which saves more")
        return Refusal("not-neighbours", "both are inside groups already, and neither is its group's last")

    def edges(self, groups: Sequence[Group]) -> tuple[Edge, ...]:
        scopes = {(t, g.nodes): move for g in groups for move in g.moves for t in move.tensors}
        found = []
        for node in self.graph.nodes:
            for tensor in node.inputs:
                producer = self.graph.producer(tensor)
                if producer is None:
                    continue
                size = self.graph.tensors[tensor].bytes
                if node.is_view:
                    found.append(Edge(tensor, producer.name, node.name, "view", "a view moves no bytes", size))
                    continue
                move = scopes.get((tensor, self.group_of[node.name].nodes))
                if move is not None:
                    kept = ", also written to device memory for others" if tensor in move.kept else ""
                    extra = f", computed {float(move.recompute):.2f} times" if move.recompute != 1 else ""
                    found.append(
                        Edge(
                            tensor,
                            producer.name,
                            node.name,
                            move.scope,
                            f"{move.stage_bytes:,} bytes a block at loop depth {move.depth}{extra}{kept}",
                            size,
                        )
                    )
                elif producer.is_view:
                    found.append(
                        Edge(tensor, producer.name, node.name, "split", "view: a stage is not followed through a change of shape", size)
                    )
                else:
                    refusal = self.refusals.get((producer.name, node.name)) or self._unasked(producer.name, node.name)
                    found.append(Edge(tensor, producer.name, node.name, "split", str(refusal), size))
        return tuple(found)


def _order(owner: Mapping[str, int], graph: Graph) -> list[int] | None:
    """An order of launches in which each comes after those it needs; None if there is none."""
    needs: dict[int, set[int]] = {i: set() for i in owner.values()}
    source: dict[str, int | None] = {}
    for node in graph.nodes:
        for tensor in node.inputs:
            made = source.get(tensor)
            if made is not None and not node.is_view and made != owner[node.name]:
                needs[owner[node.name]].add(made)
        for tensor in node.outputs:
            source[tensor] = source.get(node.inputs[0]) if node.is_view else owner[node.name]
    order: list[int] = []
    ready = sorted(i for i, n in needs.items() if not n)
    while ready:
        done = ready.pop(0)
        order.append(done)
        for i, n in needs.items():
            if done in n:
                n.discard(done)
                if not n:
                    ready.append(i)
        ready.sort()
    return order if len(order) == len(needs) else None


def plan(graph: Graph, device: Device, *, prefer: Scope = "shared", fuse: bool = True, progress: Progress = lambda _: None) -> Plan:
    """A plan for `graph` on `device`; see `Planner`."""
    return Planner(graph, device, prefer=prefer, progress=progress).plan(fuse=fuse)
