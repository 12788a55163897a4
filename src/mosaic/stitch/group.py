"""One fused kernel: which tunables its nodes get, where each is attached, and the stitched program.

search_group   nodes -> Recipe      tries tunables and attachments, keeps the cheapest
build_group    nodes, Recipe -> Group      applies a recipe; the same recipe serves every like group
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mosaic.errors import KernelError
from mosaic.graph.graph import Graph, Node
from mosaic.graph.kernel import Value
from mosaic.stitch.attach import Attachment, attachments
from mosaic.stitch.coarsen import coarsen_axes
from mosaic.stitch.cost import Device, can_specialize, cheapest, cost, cost_inside, fits, has_products
from mosaic.stitch.finish import finished
from mosaic.stitch.inline import Scope, inline, with_threads
from mosaic.stitch.legality import Refusal
from mosaic.stitch.library import Library, Tunables, freeze
from mosaic.stitch.products import with_policies
from mosaic.stitch.recipe import Choice, Group, Move, Recipe
from mosaic.stitch.share import share
from mosaic.stitch.tunables import ANY_THREADS, descend, is_too_fine
from mosaic.tiles.affine import Affine, Var
from mosaic.tiles.program import Access, TileProgram
from mosaic.tiles.read import read

MAX_RECOMPUTE = 16
"""A producer computed more often than this is not looked at any further."""

TIE_BREAK = 0.01
"""Weight of shared memory and of turns, between placements that cost the same."""

MAX_COARSENINGS = 3
"""Doublings of what one block takes over, where a consumer's tiles are finer than its producer's."""

MAX_REFUSALS = 2
"""Recipes of one group that may be refused by a target before the group is given up."""


class Searcher:
    """Searches and builds groups of one graph for one device."""

    def __init__(self, graph: Graph, library: Library, device: Device, *, prefer: Scope = "shared") -> None:
        self.graph, self.library, self.device, self.prefer = graph, library, device, prefer
        self._recipes: dict[tuple[object, tuple[int, ...], tuple[int, ...]], Recipe | Refusal] = {}
        self._placements: dict[object, Tunables | Refusal] = {}
        self._refused: dict[object, dict[tuple[Choice, ...], Refusal]] = {}
        self._plain: dict[object, Recipe] = {}
        self.tried: dict[object, dict[Recipe, float]] = {}
        """Of every structure that was searched, the recipes that were legal, with the seconds of each by the cost model."""

    # -- groups of several nodes

    def search(self, nodes: Sequence[Node], parts: Sequence[Group] = ()) -> Group | Refusal:
        """The cheapest group of `nodes` (in topological order, with one sink, the last) that was found.

        `parts` are the groups it is made of, if there are any: the sizes of their tiles are where the search starts.
        """
        threads = tuple(dict.fromkeys([*(part.recipe.threads for part in parts), *self._thread_choices(nodes)]))
        sizes = sorted({v for part in parts for _, v in part.recipe.choices[-1].tunables if isinstance(v, int)})
        key = self.structure(nodes), threads, tuple(sizes)
        if key not in self._recipes:
            self._recipes[key] = self._search(nodes, threads, sizes)
        recipe = self._recipes[key]
        return recipe if isinstance(recipe, Refusal) else self.build(nodes, recipe)

    def refuse(self, group: Group, refusal: Refusal) -> None:
        """Do not offer this recipe again, for these nodes or any like them: it was refused later on.

        After MAX_REFUSALS recipes nothing is offered for such nodes, unless it is a single one.
        """
        structure = self.structure([self.graph.node(n) for n in group.nodes])
        self._refused.setdefault(structure, {})[group.recipe.choices] = refusal
        self._recipes = {key: recipe for key, recipe in self._recipes.items() if key[0] != structure}

    def structure(self, nodes: Sequence[Node]) -> object:
        """A key that is equal for groups that can share a recipe."""
        numbers: dict[str, int] = {}

        def number(tensor: str) -> int:
            return numbers.setdefault(tensor, len(numbers))

        inside = {node.name for node in nodes}
        return tuple(
            (
                self.library.structure(node),
                tuple(number(t) for t in node.inputs),
                tuple((number(t), self.is_kept(t, inside)) for t in node.outputs),
            )
            for node in nodes
        )

    def is_kept(self, tensor: str, inside: set[str]) -> bool:
        """Whether a tensor is needed outside of a group."""
        return tensor in self.graph.outputs or any(c.name not in inside for c in self.graph.consumers(tensor))

    def _search(self, nodes: Sequence[Node], thread_choices: Sequence[int], sizes: Sequence[int]) -> Recipe | Refusal:
        best: Group | None = None
        refusal: Refusal = Refusal("block-map", "no choice of tunables fits")
        sink = nodes[-1]
        refused = self._refused.get(self.structure(nodes), {})
        if len(refused) >= MAX_REFUSALS and len(nodes) > 1:
            return next(reversed(refused.values()))
        for threads in thread_choices:
            seen: dict[object, Group | Refusal] = {}

            def attempt(choice: Tunables, threads: int = threads, seen: dict[object, Group | Refusal] = seen) -> float:
                found = seen[freeze(choice)] = self._assemble(nodes, choice, threads)
                return float("inf") if isinstance(found, Refusal) else found.cost.seconds

            descend(sink, threads, attempt, sizes)
            tries = list(seen.values())
            if len(nodes) > 1 and is_too_fine(sink, sizes):
                tries += self._coarser(nodes, tries, threads)
            legal = self.tried.setdefault(self.structure(nodes), {})
            legal |= {found.recipe: found.cost.seconds for found in tries if not isinstance(found, Refusal)}
            for found in tries:
                if not isinstance(found, Refusal) and found.recipe.choices in refused:
                    refusal = refused[found.recipe.choices]
                elif isinstance(found, Refusal):
                    refusal = found
                elif best is None or found.cost.seconds < best.cost.seconds:
                    best = found
        return best.recipe if best is not None else refusal

    def _coarser(self, nodes: Sequence[Node], tries: Sequence[Group | Refusal], threads: int) -> list[Group | Refusal]:
        """The best of `tries`, with its sink's blocks run by ever fewer, while that pays."""
        done = [found for found in tries if not isinstance(found, Refusal)]
        if not done:
            return []
        best = min(done, key=lambda group: group.cost.seconds)
        made: list[Group | Refusal] = []
        axes = len(best.program.grid)
        for _ in range(MAX_COARSENINGS):
            sink = best.recipe.choices[-1]
            factors = sink.coarse or (1,) * axes
            steps = [tuple(f * (1 + (n == axis)) for n, f in enumerate(factors)) for axis in range(axes)]
            found = [self._assemble(nodes, dict(sink.tunables), threads, step) for step in steps]
            made += found
            better = min((g for g in found if not isinstance(g, Refusal)), key=lambda group: group.cost.seconds, default=best)
            if better.cost.seconds >= best.cost.seconds:
                break
            best = better
        return made

    def _thread_choices(self, nodes: Sequence[Node]) -> tuple[int, ...]:
        """Numbers of threads that the nodes with products, or else the sink, can have."""
        if self.device.kind == "cpu":
            return (ANY_THREADS,)
        found: list[int] = []
        with_products = [n for n in nodes if self.has_product(n)]
        for node in with_products or nodes[-1:]:
            assert node.kernel is not None
            choices = [int(v) for v in node.kernel.tunables.get("threads", ())]
            found += choices or [self.library.program(node, node.kernel.default_tunables()).thread_count]
        return tuple(dict.fromkeys(found))

    def has_product(self, node: Node) -> bool:
        """Whether the node's kernel multiplies matrices."""
        assert node.kernel is not None
        return has_products(self._any_program(node))

    def _any_program(self, node: Node) -> TileProgram:
        """The node's program for the author's own tunables, or the first that are valid."""
        assert node.kernel is not None and node.binding is not None
        default = node.kernel.default_tunables()
        if node.kernel.is_valid(node.binding, default):
            return self.library.program(node, default)
        for choice in node.kernel.choices(node.binding):
            return self.library.program(node, choice)
        raise KernelError(f"kernel {node.kernel.name!r} has no valid tunables for {node.name!r}; widen its choices")

    def plain(self, group: Group) -> Group:
        """The cheapest group of the same nodes whose warps all compute: several groups in one launch can be nothing else."""
        if not group.recipe.specialized or not can_specialize(group.program, self.device):
            return group
        nodes = [self.graph.node(name) for name in group.nodes]
        key = self.structure(nodes)
        if key not in self._plain:
            tried = [replace(recipe, specialized=False) for recipe in self.tried.get(key, {group.recipe: 0.0})]
            built = [self.build(nodes, recipe) for recipe in dict.fromkeys(tried)]
            self._plain[key] = min(built, key=lambda found: found.cost.seconds).recipe
        return self.build(nodes, self._plain[key])

    # -- one attempt

    def _assemble(self, nodes: Sequence[Node], sink: Tunables, threads: int, coarse: tuple[int, ...] = ()) -> Group | Refusal:
        choices = {nodes[-1].name: Choice(freeze(sink), coarse=coarse)}
        host = self._host(nodes[-1], choices[nodes[-1].name], threads)
        if isinstance(host, Refusal):
            return host
        moves: list[Move] = []
        for node in reversed(nodes[:-1]):
            placed = self._place(node, nodes, host, threads)
            if isinstance(placed, Refusal):
                return placed
            choices[node.name], move, host = placed
            moves.append(move)
        if limit := fits(host, self.device):
            return Refusal("on-chip-limits", f"{host.name} needs too much {limit}")
        price, specialized, resident = cheapest(host, self.device)
        recipe = Recipe(tuple(choices[n.name] for n in nodes), threads, specialized, resident=resident)
        # Not finished: what is searched for is the recipe, from which `build` makes the program.
        return Group(tuple(n.name for n in nodes), recipe, tuple(moves), host, price)

    def _host(self, sink: Node, choice: Choice, threads: int) -> TileProgram | Refusal:
        """The sink's program, before anything is stitched into it."""
        program = self._with_policies(sink, choice, threads)
        return program if isinstance(program, Refusal) else coarsen_axes(program, choice.coarse)

    def _threaded(self, node: Node, tunables: Tunables, threads: int) -> TileProgram | Refusal:
        """The node's program with blocks of `threads`; tile operators spread over any number, named threads don't."""
        program = self.library.program(node, tunables)
        if threads in (ANY_THREADS, program.thread_count):
            return program
        pinned = sorted(program.features & {"thread indices", "annotated layouts"})
        if pinned:
            return Refusal(
                "thread-count", f"{program.name} is written for {program.thread_count} threads ({', '.join(pinned)}), not {threads}"
            )
        return read(with_threads(program.func, threads))

    def _with_policies(self, node: Node, choice: Choice, threads: int) -> TileProgram | Refusal:
        """The node's program as a choice has it."""
        program = self._threaded(node, dict(choice.tunables), threads)
        if isinstance(program, Refusal) or not choice.policies:
            return program
        return read(with_policies(program.func, choice.policies))

    def _tensors(self, node: Node, host: TileProgram) -> tuple[str, ...]:
        read_there = {p.name for p in host.params}
        return tuple(label for label in map(self.library.label, node.outputs) if label in read_there)

    def _place(self, node: Node, nodes: Sequence[Node], host: TileProgram, threads: int) -> tuple[Choice, Move, TileProgram] | Refusal:
        """Attach `node` to `host` with the tunables that cost least."""
        refusals: list[Refusal] = []

        def score(tunables: Tunables) -> float:
            found = self._best_attachment(node, tunables, nodes, host, threads)
            if isinstance(found, Refusal):
                refusals.append(found)
                return float("inf")
            program, attachment = found
            added = cost_inside(program, host, attachment.runs, attachment.stage_bytes, self.device)
            room = (attachment.stage_bytes + program.shared_bytes) / self.device.shared_per_block
            return added * (1 + TIE_BREAK * (room + attachment.repeats()))

        key = self._situation(node, nodes, host, threads)
        if key not in self._placements:
            wanted = self._wanted(node, host)
            found_tunables = descend(node, threads, score, wanted)
            nothing = Refusal("thread-count", f"{node.name} has no valid tunables with {threads} threads")
            self._placements[key] = found_tunables or (refusals[-1] if refusals else nothing)
        best = self._placements[key]
        if isinstance(best, Refusal):
            return best
        found = self._best_attachment(node, best, nodes, host, threads)
        if isinstance(found, Refusal):
            return found
        program, attachment = found
        scope = self._scope(attachment)
        return self._apply(node, freeze(best), program, attachment, scope, nodes, host, threads)

    def _reads(self, node: Node, host: TileProgram) -> list[Access]:
        return [a for t in self._tensors(node, host) for a in host.accesses_of(t, "read")]

    def _wanted(self, node: Node, host: TileProgram) -> tuple[int, ...]:
        """Sizes that a producer's tile might have to fit `host`: extents of its reads, and of the loops in them."""
        sizes: dict[int, None] = {}
        for access in self._reads(node, host):
            sizes |= dict.fromkeys(access.extent)
            sizes |= dict.fromkeys(loop.extent for loop in access.loops if isinstance(loop.extent, int))
        return tuple(sizes)

    def _situation(self, node: Node, nodes: Sequence[Node], host: TileProgram, threads: int) -> object:
        """A key that is equal where the same tunables serve a producer: how the host reads it, and what room is left."""
        grid = {axis.var: position for position, axis in enumerate(host.grid)}
        reads = []
        for access in self._reads(node, host):
            numbers = grid | {loop.var: len(grid) + i for i, loop in enumerate(access.loops)}
            starts = tuple(
                None if s is None else repr(s.substitute({v: Affine(((Var(n, f"v{n}"), 1),)) for v, n in numbers.items()}))
                for s in access.start
            )
            reads.append((access.op, starts, access.extent, tuple((loop.extent, loop.kind) for loop in access.loops)))
        room = host.shared_bytes // 8192
        extents = tuple(axis.extent for axis in host.grid)
        return self.library.structure(node), threads, tuple(reads), extents, room, bool(self._kept(node, nodes))

    def _best_attachment(
        self, node: Node, tunables: Tunables, nodes: Sequence[Node], host: TileProgram, threads: int
    ) -> tuple[TileProgram, Attachment] | Refusal:
        program = self._threaded(node, tunables, threads)
        if isinstance(program, Refusal):
            return program
        tensors = self._tensors(node, host)
        found = attachments(program, host, tensors)
        if isinstance(found, Refusal):
            return found
        kept = self._kept(node, nodes)
        for attachment in found:
            if attachment.recompute > MAX_RECOMPUTE:
                return Refusal("recompute", f"{program.name} would be computed {float(attachment.recompute):.1f} times in {host.name}")
            if kept and not (attachment.recompute == 1 and attachment.complete):
                return Refusal(
                    "several-consumers",
                    f"{kept[0]} is needed elsewhere too, but would be computed {float(attachment.recompute):.1f} times or in part",
                )
            if (
                self.device.kind == "cpu"
                or program.shared_bytes + host.shared_bytes + attachment.stage_bytes < self.device.shared_per_block
            ):
                return program, attachment
        return Refusal(
            "on-chip-limits", f"{', '.join(tensors)} needs {found[0].stage_bytes} bytes on the chip beside {program.name} and {host.name}"
        )

    def _kept(self, node: Node, nodes: Sequence[Node]) -> tuple[str, ...]:
        inside = {n.name for n in nodes}
        return tuple(self.library.label(t) for t in node.outputs if self.is_kept(t, inside))

    def _scope(self, attachment: Attachment) -> Scope:
        if self.prefer == "register" and all(h.registers for h in attachment.handovers):
            return "register"
        return "shared"

    def _apply(
        self,
        node: Node,
        tunables: tuple[tuple[str, Value], ...],
        program: TileProgram,
        attachment: Attachment,
        scope: Scope,
        nodes: Sequence[Node],
        host: TileProgram,
        threads: int,
    ) -> tuple[Choice, Move, TileProgram]:
        tensors = tuple(h.tensor for h in attachment.handovers)
        kept = tuple(t for t in self._kept(node, nodes) if t in tensors)
        name = re.sub(r"\W", "_", f"{node.name}__{nodes[-1].name}")
        func = inline(program, host, attachment, dict.fromkeys(tensors, scope), keep=frozenset(kept), threads=threads or None, name=name)
        names = tuple(self.library.tensor(t) for t in tensors)
        move = Move(
            node.name,
            names,
            scope,
            attachment.depth,
            attachment.recompute,
            attachment.stage_bytes,
            tuple(map(self.library.tensor, kept)),
            attachment.handovers,
            attachment.runs,
        )
        stitched = read(func)
        shared = share(stitched)
        return Choice(tunables, attachment.depth, scope), move, stitched if shared is func else read(shared)

    # -- building from a recipe

    def build(self, nodes: Sequence[Node], recipe: Recipe) -> Group:
        """The group that a recipe describes.

        Raises KernelError if the recipe does not fit these nodes: it was made for others.
        """
        by_name = dict(zip((n.name for n in nodes), recipe.choices, strict=True))
        host = self._host(nodes[-1], recipe.choices[-1], recipe.threads)
        moves: list[Move] = []
        for node in reversed(nodes[:-1]):
            choice = by_name[node.name]
            if isinstance(host, Refusal):
                break
            program = self._with_policies(node, choice, recipe.threads)
            if isinstance(program, Refusal):
                host = program
                break
            found = attachments(program, host, self._tensors(node, host))
            attachment = None if isinstance(found, Refusal) else next((a for a in found if a.depth == choice.depth), None)
            if attachment is None:
                host = found if isinstance(found, Refusal) else Refusal("block-map", f"depth {choice.depth} does not fit")
                break
            scope: Scope = choice.scope if all(h.registers for h in attachment.handovers) else "shared"
            _, move, host = self._apply(node, choice.tunables, program, attachment, scope, nodes, host, recipe.threads)
            moves.append(move)
        if isinstance(host, Refusal):
            raise KernelError(f"the recipe for {', '.join(n.name for n in nodes)} does not fit: {host}")
        price = cost(host, self.device, specialized=recipe.specialized and can_specialize(host, self.device))
        return Group(tuple(n.name for n in nodes), recipe, tuple(moves), finished(host, recipe), price)
