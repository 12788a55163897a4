"""From what is known of a graph to a `Problem`: which layout decisions there are, what binds them, what they cost (docs/constraints.md).

For each group `threads`, `tile`, `stages`; for each product `policy`, `instruction`, `order` of the contraction and `swap` of the
operands; for each edge `memory`, `source` and `target` (the tile's layout at both ends), `handover` (its class) and `swizzle`.

Edges and products that are alike share their functions, so that their tables are made once: everything here that returns a function is
cached on plain data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from mosaic.layouts.atoms import ATOMS
from mosaic.layouts.constraints import Problem
from mosaic.layouts.facts import Edge, Facts, Group, Limits, Product
from mosaic.layouts.fragments import Family, Policy, warp_grid
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.places import EMPTY, Handover, Memory, Order, Place, Room, conversion, is_sound, same_but_names
from mosaic.layouts.prices import conversion_price, device_price, occupancy_price, operand_price, store_price
from mosaic.layouts.swizzle import alignment


def build(facts: Facts) -> Problem:
    """The problem. Raises LayoutError for facts that name what is not there, or an annotation of no variable."""
    return _Builder(facts).problem


def instruction_of(family: Family | None, dtype: str, product_k: int) -> str:
    """The name of the instruction that TileLang takes of a family: the longest contraction that divides the product's."""
    if family is None:
        return "loops"
    if family == "wgmma":
        return f"wgmma.k{_depth('wgmma', dtype)}"
    return f"{family}.k{_depth(family, dtype, product_k)}"


@cache
def _depth(family: Family, dtype: str, product_k: int = 1 << 20) -> int:
    """The contraction of one instruction of this family that TileLang takes; 0 if it has none for the dtype."""
    prefix = "mfma.16x16" if family == "mfma" else family
    found = sorted({atom.k for atom in ATOMS if atom.name.startswith(prefix) and atom.dtype == dtype})
    fitting = [k for k in found if product_k % k == 0]
    if family == "mfma":  # the one of 8 bytes a lane, which all of AMD's targets have
        return fitting[0] if fitting else 0
    return fitting[-1] if fitting else 0


class _Builder:
    def __init__(self, facts: Facts) -> None:
        self.facts, self.limits = facts, facts.limits
        self.problem = Problem()
        self.groups = {group.name: group for group in facts.groups}
        self.products = {product.name: product for product in facts.products}
        self.edges: dict[str, Edge] = {}
        for group in facts.groups:
            self._group(group)
        for product in facts.products:
            self._product(product)
        for edge in facts.edges:
            self._edge(edge)
            self.edges[edge.name] = edge
        for group in facts.groups:
            self._room(group, [edge for edge in facts.edges if edge.group == group.name])
        self._annotate()

    # -- groups and products

    def _group(self, group: Group) -> None:
        problem, name = self.problem, group.name
        problem.choose(f"threads[{name}]", (count for count, _ in group.threads), f"a block of {', '.join(group.nodes[-1:])}")
        problem.choose(f"tile[{name}]", (group.tile,), "a block's tile, as planned")
        problem.choose(f"stages[{name}]", (group.stages,), "of its pipeline, as planned")
        problem.minimise(f"compute[{name}]", "compute", (f"threads[{name}]",), _compute(group.threads))

    def _product(self, product: Product) -> None:
        problem, name = self.problem, product.name
        if product.group not in self.groups:
            raise LayoutError(f"product {name} is in group {product.group}, which there is not")
        threads = f"threads[{product.group}]"
        issued = [self._instruction(product, count) for count, _ in self.groups[product.group].threads]
        problem.choose(f"policy[{name}]", product.policies, "how warps share its tile")
        problem.choose(f"instruction[{name}]", dict.fromkeys(issued), f"for {product.m}x{product.n}x{product.k} of {product.dtype}")
        problem.choose(f"order[{name}]", ("natural", "permuted") if product.reorders else ("natural",), "of its contraction")
        problem.choose(f"swap[{name}]", (self.limits.kind == "hip",), "of its operands, as the code generator has it")
        problem.require(
            f"issue[{name}]",
            "instruction",
            (f"instruction[{name}]", threads),
            _issued(self.limits, _nameless(product)),
            f"{product.dtype} products of {product.m} rows are issued as this target does for so many threads",
        )
        if self.limits.kind != "cpu":
            problem.require(
                f"cover[{name}]",
                "coverage",
                (f"policy[{name}]", threads),
                _covered(self.limits, _nameless(product)),
                f"warps cover the {product.m}x{product.n} tile of {name} evenly",
            )
            price = operand_price(_nameless(product), self.groups[product.group].blocks, self.limits)
            problem.minimise(f"operands[{name}]", "compute", (f"policy[{name}]", threads), price)

    def _instruction(self, product: Product, threads: int) -> str:
        return instruction_of(self.limits.family(product, threads), product.dtype, product.k)

    # -- edges

    def _edge(self, edge: Edge) -> None:
        for what, known in (
            (edge.source, self.products),
            (edge.target, self.products),
            (edge.follows, self.edges),
            (edge.group, self.groups),
        ):
            if what is not None and what not in known:
                raise LayoutError(f"edge {edge.name} is about {what}, which there is not")
        problem, name = self.problem, edge.name
        on_chip: tuple[Memory, ...] = edge.memories if edge.group is not None else ("shared",)
        problem.choose(f"memory[{name}]", on_chip if edge.inner else (*on_chip, "device"), f"of {edge.tensor} in between")
        classes: tuple[Handover, ...] = ("identity", "permute", "shuffle", "shared", "split")
        problem.choose(f"handover[{name}]", classes, f"from {edge.producer} to {edge.consumer}")
        problem.minimise(f"bytes[{name}]", "device memory", (f"memory[{name}]",), device_price(edge.tensor_bytes, self.limits))
        if edge.refusal is not None:
            check, reason = edge.refusal
            problem.require(
                f"{check}[{name}]", "legality", (f"memory[{name}]",), _only_device, f"{edge.producer} and {edge.consumer}: {reason}"
            )
        source, target = self._ends(edge)
        problem.choose(f"source[{name}]", source, f"{edge.tensor} where it is made")
        problem.choose(f"target[{name}]", target, f"{edge.tensor} where it is used")
        problem.choose(f"swizzle[{name}]", edge.swizzles, "bytes, of the stage in shared memory")
        self._bind(edge, source)
        order = f"order[{edge.target}]" if edge.target else None
        scope = (f"handover[{name}]", f"memory[{name}]", f"source[{name}]", f"target[{name}]", *([order] if order else []))
        problem.require(
            f"class[{name}]", "agreement", scope, _agrees, f"the handover of {edge.tensor} is what its two layouts and memory make it"
        )
        if any(edge.swizzles):
            problem.require(
                f"aligned[{name}]",
                "alignment",
                (f"swizzle[{name}]",),
                _aligned(edge.rows, edge.columns * edge.dtype_bytes),
                f"rows of {edge.columns * edge.dtype_bytes} bytes hold whole swizzles, and {edge.rows} of them its pattern",
            )
        if edge.group is None:
            return
        threads = f"threads[{edge.group}]"
        blocks = self.groups[edge.group].blocks
        problem.minimise(
            f"convert[{name}]",
            "conversion",
            (*scope[1:4], f"swizzle[{name}]", threads, *scope[4:]),
            conversion_price(edge.rows, edge.columns, edge.dtype_bytes, edge.runs * blocks, self.limits),
        )
        if edge.stored:
            price = store_price(edge.rows, edge.columns, edge.dtype_bytes, edge.runs * blocks, self.limits)
            problem.minimise(f"width[{name}]", "vector width", (f"memory[{name}]", f"target[{name}]"), price)

    def _ends(self, edge: Edge) -> tuple[tuple[Place, ...], tuple[Place, ...]]:
        rows = Place("rows", edge.rows, edge.columns)
        if edge.source is not None and self.limits.kind != "cpu":
            source = self._places("C", self.products[edge.source], edge)
        elif edge.follows is not None:
            followed = self.problem.variables[f"target[{edge.follows}]"].domain
            source = tuple(dict.fromkeys([rows, *(p for p in followed if isinstance(p, Place))]))
        else:
            source = (rows,)
        if (given := self.facts.layouts.get(edge.name)) is not None:
            source = (*source, Place("given", edge.rows, edge.columns, given=given, label=f"the given layout of {edge.name}"))
        if edge.target is not None and self.limits.kind != "cpu":
            return source, self._places("A", self.products[edge.target], edge)
        return source, tuple(dict.fromkeys([rows, *source]))

    def _places(self, kind: str, product: Product, edge: Edge) -> tuple[Place, ...]:
        """C or A of a product with each policy and number of threads."""
        found = []
        for count, _ in self.groups[product.group].threads:
            for policy in product.policies:
                place = _place(kind, self.limits, _nameless(product), policy, count)
                if place is not None:
                    found.append(place)
        return tuple(dict.fromkeys(found)) or (Place("rows", edge.rows, edge.columns),)

    def _bind(self, edge: Edge, source: tuple[Place, ...]) -> None:
        """The layouts at both ends are what instructions and neighbours make them."""
        problem, name = self.problem, edge.name
        for end, kind, which in (("source", "C", edge.source), ("target", "A", edge.target)):
            if which is None or self.limits.kind == "cpu":
                continue
            product = self.products[which]
            problem.require(
                f"{end}[{name}]",
                "instruction",
                (f"{end}[{name}]", f"policy[{which}]", f"threads[{product.group}]"),
                _is_fragment(kind, self.limits, _nameless(product)),
                f"{edge.tensor} lies as {kind} of {which}, whose instruction, policy and threads say where",
            )
        if edge.source is None and edge.follows is not None:
            problem.require(
                f"follow[{name}]",
                "agreement",
                (f"source[{name}]", f"target[{edge.follows}]", f"memory[{edge.follows}]"),
                _follows,
                f"{edge.producer} keeps the layout in which it got {self.edges[edge.follows].tensor}",
            )
        if edge.target is None:
            problem.require(
                f"keep[{name}]",
                "agreement",
                (f"source[{name}]", f"target[{name}]", f"memory[{name}]"),
                _keeps,
                f"{edge.consumer} works on {edge.tensor} element by element, as it lies in registers or by rows",
            )
        if any(place.kind == "given" for place in source):
            problem.require(
                f"injective[{name}]",
                "coverage",
                (f"source[{name}]",),
                is_sound,
                "a layout holds every element, and no thread holds one twice",
            )

    # -- what a block may use

    def _room(self, group: Group, edges: list[Edge]) -> None:
        """What lies on the chip up to each edge of a group in turn, so that no constraint is about all of them (see `_more`)."""
        problem, threads = self.problem, f"threads[{group.name}]"
        if self.limits.kind == "cpu" or not edges:
            return
        before: tuple[Room, ...] = (EMPTY,)
        last: tuple[str, ...] = ()
        for number, edge in enumerate(edges):
            memories: Any = problem.variables[f"memory[{edge.name}]"].domain
            sums = tuple(dict.fromkeys(_more(total, memory, edge.stage_bytes) for total in before for memory in memories))
            name = problem.choose(
                f"room[{group.name}:{number}]", sums, "bytes of stages, of this fragment and of fragments at most, up to this edge"
            )
            scope = (name, f"memory[{edge.name}]", *last)
            problem.require(f"sum[{group.name}:{number}]", "agreement", scope, _sums(edge.stage_bytes), "tiles on the chip add up")
            before, last = sums, (name,)
        limits = self.limits
        problem.require(
            f"shared[{group.name}]",
            "shared memory",
            last,
            _fits_shared(group.shared_bytes, limits.shared_per_block),
            f"{group.shared_bytes:,} bytes and the stages of a block fit {limits.shared_per_block:,} bytes of shared memory",
        )
        problem.require(
            f"registers[{group.name}]",
            "registers",
            (*last, threads),
            _fits_registers(group.fragment_bytes, limits.registers_per_thread),
            f"{group.fragment_bytes:,} bytes of fragments and what is handed over fit {limits.registers_per_thread} registers a thread",
        )
        price = occupancy_price(group.shared_bytes, group.fragment_bytes, group.blocks, group.threads, limits)
        problem.minimise(f"occupancy[{group.name}]", "occupancy", (*last, threads), price)

    def _annotate(self) -> None:
        problem = self.problem
        for edge in self.facts.layouts:
            if f"source[{edge}]" not in problem.variables:
                raise LayoutError(f"a layout is given for the edge {edge}, which there is not")
            given = next(p for p in problem.variables[f"source[{edge}]"].domain if isinstance(p, Place) and p.kind == "given")
            problem.pin(f"source[{edge}]", given, f"the tile of {edge} lies as the user gives it")
        for name, wanted in self.facts.annotations.items():
            if name not in problem.variables:
                raise LayoutError(f"there is no choice called {name}; mosaic layouts --problem lists them")
            value = next((v for v in problem.variables[name].domain if str(v) == wanted), wanted)
            problem.pin(name, value, f"the user asks for {wanted} as {name}")


def _nameless(product: Product) -> Product:
    """What of a product decides its layouts: names apart, so that like products share their functions."""
    return replace(product, name="", group="")


@cache
def _place(kind: str, limits: Limits, product: Product, policy: Policy, threads: int) -> Place | None:
    family = limits.family(product, threads)
    grid = None if family is None else warp_grid(family, policy, product.m, product.n, threads // limits.lanes)
    if family is None or grid is None:
        return None
    depth = _depth(family, product.dtype, product.k)
    if kind == "C":
        return Place("C", product.m, product.n, family, grid)
    return Place("A", product.m, product.k, family, grid, product.dtype, depth) if depth else None


@cache
def _compute(threads: tuple[tuple[int, float], ...]) -> Callable[..., float]:
    return dict(threads).__getitem__


@cache
def _issued(limits: Limits, product: Product) -> Callable[..., bool]:
    return lambda instruction, threads: instruction == instruction_of(limits.family(product, threads), product.dtype, product.k)


@cache
def _covered(limits: Limits, product: Product) -> Callable[..., bool]:
    def holds(policy: Policy, threads: int) -> bool:
        family = limits.family(product, threads)
        return family is not None and warp_grid(family, policy, product.m, product.n, threads // limits.lanes) is not None

    return holds


@cache
def _is_fragment(kind: str, limits: Limits, product: Product) -> Callable[..., bool]:
    def holds(place: Place, policy: Policy, threads: int) -> bool:
        wanted = _place(kind, limits, product, policy, threads)
        if wanted is None:
            return place.kind == "rows"
        return place == wanted or (place.kind == "given" and same_but_names(place, wanted))

    return holds


def _only_device(memory: Memory) -> bool:
    return memory == "device"


def _agrees(handover: Handover, memory: Memory, source: Place, target: Place, order: Order = "natural") -> bool:
    if memory == "device":
        return handover == "split"
    if memory == "shared":
        return handover == "shared"
    return handover == conversion(source, target, order).kind


def _follows(source: Place, followed: Place, memory: Memory) -> bool:
    return source == followed if memory == "register" else source.kind in ("rows", "given")


def _keeps(source: Place, target: Place, memory: Memory) -> bool:
    return target == source if memory == "register" else target.kind == "rows"


@cache
def _aligned(rows: int, row_bytes: int) -> Callable[..., bool]:
    return lambda swizzle: swizzle == 0 or (row_bytes % swizzle == 0 and rows * row_bytes % alignment(swizzle) == 0)


def _more(room: Room, memory: Memory, stage: int) -> Room:
    """Stages add up; a fragment lives beside the one before it, from which it is made, and beside none that came earlier."""
    fragment = stage if memory == "register" else 0
    return Room((room.stages + (stage if memory == "shared" else 0), fragment, max(room.most, room.last + fragment)))


@cache
def _sums(stage: int) -> Callable[..., bool]:
    return lambda room, memory, before=EMPTY: bool(room == _more(before, memory, stage))


@cache
def _fits_shared(own: int, most: int) -> Callable[..., bool]:
    return lambda room: own + room.stages <= most


@cache
def _fits_registers(own: int, most: int) -> Callable[..., bool]:
    return lambda room, threads: (own + room.most) / (4 * threads) <= most
