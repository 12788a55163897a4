"""What a plan of launches says to the planner of layouts: its groups, their products, and every edge with what it may lie in.

The stitched launches are described as they were planned; where a handover may as well lie in registers, or its products be shared out
to warps in another way, that is left open for `layouts.plan` to decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mosaic.graph.graph import Node
from mosaic.layouts.facts import Edge, Facts, Group, Limits, Product
from mosaic.layouts.fragments import POLICIES
from mosaic.layouts.places import Memory
from mosaic.layouts.swizzle import widest
from mosaic.stitch.library import Library
from mosaic.stitch.plan import Edge as Planned
from mosaic.stitch.plan import Launch, Plan
from mosaic.stitch.products import ReadProduct, read_products
from mosaic.stitch.recipe import Group as Stitched
from mosaic.stitch.recipe import Move
from mosaic.tiles.program import TileProgram

_DTYPES: Final = {"float16": "float16", "bfloat16": "bfloat16", "int8": "int8", "uint8": "int8"}


def facts_of(
    plan: Plan,
    library: Library,
    limits: Limits,
    annotations: Mapping[str, str] | None = None,
    *,
    fixed: Callable[[Stitched], bool] = lambda _: False,
) -> Facts:
    """The facts of a plan.

    annotations: what the user asks of single choices (see `layouts.facts.Facts`). fixed: groups that stay as they are planned.
    """
    return _Reader(plan, library, limits, fixed).facts(annotations or {})


def edge_name(edge: Planned) -> str:
    """`producer -> consumer`, and the tensor if the two share several (as they would for two outputs)."""
    return f"{edge.producer} -> {edge.consumer}"


class _Reader:
    def __init__(self, plan: Plan, library: Library, limits: Limits, fixed: Callable[[Stitched], bool]) -> None:
        self.plan, self.library, self.limits = plan, library, limits
        self.fixed = {group.nodes for launch in plan.launches for group in launch.groups if limits.kind == "cpu" or fixed(group)}
        self.owner = {node: (launch, group) for launch in plan.launches for group in launch.groups for node in group.nodes}
        self.programs: dict[str, TileProgram] = {}
        self.products: dict[str, tuple[ReadProduct, ...]] = {}
        self.by_structure: dict[object, tuple[ReadProduct, ...]] = {}
        self.names: set[str] = set()

    def facts(self, annotations: Mapping[str, str]) -> Facts:
        groups: list[Group] = []
        products: list[Product] = []
        edges: list[Edge] = []
        for launch in self.plan.launches:
            for group in launch.groups:
                groups.append(self._group(launch, group))
                for name in group.nodes:
                    found = self._products(name, group)
                    products += found
                    edges += self._inner(name, groups[-1].name, found)
        order = {node.name: position for position, node in enumerate(self.plan.graph.nodes)}
        between = sorted((e for e in self.plan.edges if e.how != "view"), key=lambda e: order[e.consumer])
        for planned in between:
            edges.append(self._edge(planned, edges))
        # What edges hand over is counted by them, not by their group.
        groups = [self._less(group, [e for e in edges if e.group == group.name and not e.inner]) for group in groups]
        return Facts(self.plan.graph.name, self.limits, tuple(groups), tuple(products), tuple(edges), dict(annotations))

    # -- groups and products

    @staticmethod
    def _group(launch: Launch, group: Stitched) -> Group:
        tunables = dict(group.recipe.choices[-1].tunables)
        tile = "x".join(str(value) for name, value in tunables.items() if name.startswith("block")) or "fixed"
        stages = max((buffer.versions for buffer in group.program.buffers), default=1)
        program = group.program
        threads = ((program.thread_count, group.cost.seconds),)
        return Group(group.nodes[-1], group.nodes, threads, tile, stages, program.blocks, program.shared_bytes, program.fragment_bytes)

    def _less(self, group: Group, edges: Sequence[Edge]) -> Group:
        """The group without the tiles that its edges hand over, which lie where the plan has put them until now."""
        stages = sum(e.stage_bytes for e in edges if e.memories[0] == "shared")
        fragments = sum(e.stage_bytes for e in edges if e.memories[0] == "register")
        # Below 0 where stages share their memory: together with the same stages it is what the group really takes.
        return replace(group, shared_bytes=group.shared_bytes - stages, fragment_bytes=group.fragment_bytes - fragments)

    def _program(self, name: str) -> TileProgram:
        if name not in self.programs:
            _, group = self.owner[name]
            choice = group.recipe.choices[group.nodes.index(name)]
            self.programs[name] = self.library.program(self._node(name), dict(choice.tunables))
        return self.programs[name]

    def _node(self, name: str) -> Node:
        return self.plan.graph.node(name)

    def _products(self, name: str, group: Stitched) -> list[Product]:
        program = self._program(name)
        choice = group.recipe.choices[group.nodes.index(name)]
        key = self.library.structure(self._node(name)), choice.tunables
        if key not in self.by_structure:
            self.by_structure[key] = read_products(program)
        self.products[name] = self.by_structure[key]
        runs = self._runs(name, group)
        found = []
        for number, read in enumerate(self.products[name]):
            policy = choice.policies[number] if choice.policies else read.policy
            policies = tuple(dict.fromkeys([policy, *POLICIES]))
            turns = next((op.runs for op in program.ops if op.op.startswith("gemm") and read.c in op.writes), 1)
            # A pinned layout says what the policy must be.
            fixed = group.nodes in self.fixed or bool(program.features & {"annotated layouts", "thread indices"})
            found.append(
                Product(
                    _product_name(name, number),
                    group.nodes[-1],
                    read.m,
                    read.n,
                    read.k,
                    self._dtype(read.dtype),
                    policies[:1] if fixed else policies,
                    read.a_scope == "local.fragment",
                    read.takes_wgmma,
                    self._copies_rows(read, program, group),
                    runs=max(1, runs * turns),
                )
            )
        return found

    def _copies_rows(self, read: ReadProduct, program: TileProgram, group: Stitched) -> bool:
        """Whether B's rows, which are contracted, are copied from device memory, so that they may as well be copied in another order.

        Said only of formats for which that can help: a C of 16 bits is the next A as it is.
        """
        if self._dtype(read.dtype) in ("float16", "bfloat16"):
            return False
        handed = {self.library.label(tensor) for move in group.moves for tensor in move.tensors}
        on_chip = {buffer.name for buffer in program.buffers}
        filling = [op for op in program.ops if read.b in op.writes]
        copied = all(op.op == "copy" and not on_chip & set(op.reads) and not handed & set(op.reads) for op in filling)
        return bool(filling) and copied and read.b_scope.startswith("shared") and not read.transposed_b

    def _runs(self, name: str, group: Stitched) -> int:
        """How often a block of the group runs a node's body."""
        move = next((m for m in group.moves if m.producer == name), None)
        return 1 if move is None or not group.program.blocks else max(1, move.runs // group.program.blocks)

    def _dtype(self, dtype: str) -> str:
        if dtype.startswith("float8"):
            return "float8"
        if dtype == "float32":
            return "tfloat32" if self.limits.kind == "cuda" else "float32"
        return _DTYPES.get(dtype, dtype)

    def _inner(self, name: str, group: str, products: Sequence[Product]) -> list[Edge]:
        """Tiles that go from one product of a kernel to the next one's A without leaving registers."""
        program, found = self._program(name), []
        written = {op.writes[0]: op.reads for op in program.ops if op.op == "copy" and op.reads and op.writes}
        for number, read in enumerate(self.products[name]):
            if read.a_scope != "local.fragment":
                continue
            origin = (written.get(read.a) or (read.a,))[0]
            source = next((i for i, other in enumerate(self.products[name]) if i != number and other.c == origin), None)
            if source is None or (products[source].m, products[source].n) != (read.m, read.k):
                continue
            a, b = products[source].name, products[number].name
            size = next((buffer.bytes // math.prod(buffer.shape) for buffer in program.buffers if buffer.name == read.a), 2)
            found.append(
                Edge(
                    f"{a} -> {b}",
                    read.a,
                    a,
                    b,
                    0,
                    group,
                    read.m,
                    read.k,
                    size,
                    products[number].runs,
                    ("register",),
                    source=a,
                    target=b,
                    inner=True,
                )
            )
        return found

    # -- edges between kernels

    def _edge(self, planned: Planned, before: Sequence[Edge]) -> Edge:
        name = edge_name(planned)
        if name in self.names:
            name = f"{name}: {planned.tensor}"
        self.names.add(name)
        edge = Edge(name, planned.tensor, planned.producer, planned.consumer, planned.bytes)
        _, group = self.owner[planned.consumer]
        move = next((m for m in group.moves if planned.tensor in m.tensors), None)
        if planned.how == "split" or move is None:
            check, _, reason = planned.reason.partition(": ")
            return replace(edge, refusal=(check, reason or check))
        label = self.library.label(planned.tensor)
        handover = next(h for h in move.handovers if h.tensor == label)
        shape = [handover.shape[d] for d in handover.kept_dims]
        memories: tuple[Memory, ...] = (move.scope,)
        if handover.registers and all(h.registers for h in move.handovers) and group.nodes not in self.fixed:
            memories = tuple(dict.fromkeys([move.scope, "shared", "register"]))
        source, follows = self._source(planned, label, shape), self._followed(planned, shape, before, group)
        element_bytes = max(1, handover.bytes // math.prod(handover.shape))
        comes_from_product = (source or follows) is not None and len(shape) == 2 and "shared" in memories
        return replace(
            edge,
            group=group.nodes[-1],
            rows=math.prod(shape[:-1]),
            columns=shape[-1],
            dtype_bytes=element_bytes,
            swizzles=tuple(dict.fromkeys([widest(shape[-1] * element_bytes), 0])) if comes_from_product else (0,),
            runs=self._visits(move, group),
            memories=memories,
            source=source,
            follows=follows,
            stored=planned.consumer == group.nodes[-1],
        )

    @staticmethod
    def _visits(move: Move, group: Stitched) -> int:
        """How often a block fills the stage: at each turn of the loops around it."""
        return max(1, move.runs // max(1, group.program.blocks))

    def _source(self, planned: Planned, label: str, shape: Sequence[int]) -> str | None:
        """The product whose C is copied into the tensor, if its tile is what is handed over."""
        program = self._program(planned.producer)
        writes = [op for op in program.ops if label in op.writes]
        if len(writes) != 1 or writes[0].op != "copy" or not writes[0].reads:
            return None
        for number, read in enumerate(self.products[planned.producer]):
            if read.c == writes[0].reads[0] and [read.m, read.n] == list(shape):
                return _product_name(planned.producer, number)
        return None

    def _followed(self, planned: Planned, shape: Sequence[int], before: Sequence[Edge], group: Stitched) -> str | None:
        """The edge by which the producer got a tile of the same shape, if all that it does is element by element."""
        program = self._program(planned.producer)
        if {op.op for op in program.ops} - {"map", "copy"}:
            return None
        for edge in before:
            same = edge.consumer == planned.producer and edge.group == group.nodes[-1] and [edge.rows, edge.columns] == list(shape)
            if same and "register" in edge.memories:
                return edge.name
        return None


def _product_name(node: str, number: int) -> str:
    return node if number == 0 else f"{node}#{number + 1}"
