"""What was decided about a group of nodes: how to stitch it (`Recipe`), and the program that this gave (`Group`)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from mosaic.graph.kernel import Value
from mosaic.layouts.fragments import Policy
from mosaic.stitch.attach import Handover
from mosaic.stitch.cost import Cost
from mosaic.stitch.inline import Scope
from mosaic.tiles.program import TileProgram


@dataclass(frozen=True)
class Choice:
    """What a recipe says of one node: its tunables and, unless it is the sink, at which depth and in what memory.

    `coarse` is the sink's: how many blocks along each grid axis one block takes over (nothing for one each).
    `policies` are the warp policies of the node's products, in the order of its text; none: the author's.
    """

    tunables: tuple[tuple[str, Value], ...]
    depth: int = 0
    scope: Scope = "shared"
    coarse: tuple[int, ...] = ()
    policies: tuple[Policy, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How to stitch a group: a choice per node, in the group's topological order, and the threads of a block.

    specialized: whether a GPU's compiler may set warps aside that only load; where it can't, this says nothing. swizzled: whether stages
    in shared memory are (`stitch.swizzle`). resident: blocks that a processor must have the registers for at once; 0 leaves it open.
    """

    choices: tuple[Choice, ...]
    threads: int
    specialized: bool = True
    swizzled: bool = False
    resident: int = 0


@dataclass(frozen=True)
class Move:
    """One producer inlined: what was decided about its tensors, for reports. runs: of its body, over the whole grid."""

    producer: str
    tensors: tuple[str, ...]
    scope: Scope
    depth: int
    recompute: Fraction
    stage_bytes: int
    kept: tuple[str, ...]
    handovers: tuple[Handover, ...] = ()
    runs: int = 0


@dataclass(frozen=True)
class Group:
    """A group of nodes as one program."""

    nodes: tuple[str, ...]
    recipe: Recipe
    moves: tuple[Move, ...]
    program: TileProgram
    cost: Cost
