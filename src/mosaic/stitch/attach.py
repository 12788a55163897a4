"""Where a producer's tile can be computed inside its consumer.

The consumer's reads of an intermediate touch, at each loop depth, a box of it. The producer's
tiles that cover this box can be computed there, into a stage on the chip:

    depth 1, inside `for k`         box [64*by : +64, 32*k : +32]    one 64x32 tile each turn
    depth 0, before the loop        box [64*by : +64, 0 : +1024]     32 tiles once, a larger stage

`attachments` lists every legal depth with its cost; choosing among them is the plan's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from mosaic.stitch.legality import (
    BlockMap,
    Refusal,
    block_map,
    check_aliasing,
    check_dynamic_shapes,
    check_features,
    check_specs,
    check_threads,
)
from mosaic.tiles.affine import Affine, Interval, Var
from mosaic.tiles.program import Access, Loop, TileProgram, element_bytes
from mosaic.tiles.region import Box, box, hull, inner_intervals, is_dense


@dataclass(frozen=True)
class Handover:
    """One tensor handed over on the chip.

    The stage holds elements base[d] ... base[d] + shape[d] - 1 of dim d; `base` is affine in the
    consumer's block and loop variables. `masked`: the stage reaches beyond the tensor, where it
    must hold what a load from device memory would give. `registers`: both sides touch the stage
    whole, element by element, so that it may be a fragment.
    """

    tensor: str
    base: tuple[Affine, ...]
    shape: tuple[int, ...]
    dtype: str
    masked: bool
    registers: bool

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * element_bytes(self.dtype)

    @property
    def kept_dims(self) -> tuple[int, ...]:
        """The dims of the stage buffer: those longer than 1, and the last if there are none."""
        return tuple(d for d, n in enumerate(self.shape) if n > 1) or (len(self.shape) - 1,)


@dataclass(frozen=True)
class Attachment:
    """The producer computed inside the consumer, under `loops` of it.

    Producer block index v runs over first[v] ... first[v] + count[v] - 1. `runs` is how often the
    producer's body runs over the whole grid; `recompute` that number over the producer's own blocks.
    `complete`: every block of the producer is run, so that what it writes to device memory is whole.
    """

    producer: str
    consumer: str
    loops: tuple[Loop, ...]
    first: Mapping[Var, Affine]
    count: Mapping[Var, int]
    handovers: tuple[Handover, ...]
    runs: int
    recompute: Fraction
    complete: bool

    @property
    def depth(self) -> int:
        return len(self.loops)

    @property
    def stage_bytes(self) -> int:
        return sum(h.bytes for h in self.handovers)

    def repeats(self) -> int:
        return math.prod(self.count.values())


def attachments(producer: TileProgram, consumer: TileProgram, tensors: Sequence[str]) -> list[Attachment] | Refusal:
    """Every depth at which `producer`, which writes `tensors`, can be computed in `consumer`, least recomputation first.

    Both programs name their tensors as the graph does. Raises nothing; a Refusal names the check.
    """
    for refusal in (
        check_dynamic_shapes(producer),
        check_dynamic_shapes(consumer),
        check_features(producer, repeated=True),
        check_features(consumer, repeated=False),
        check_threads(producer, consumer),
        *(check_specs(producer, consumer, t) for t in tensors),
        *(check_aliasing(producer, consumer, t, tensors) for t in tensors),
    ):
        if refusal is not None:
            return refusal
    maps: list[BlockMap] = []
    for tensor in tensors:
        found = block_map(producer, tensor)
        if isinstance(found, Refusal):
            return found
        maps.append(found)
    reads = [a for t in tensors for a in consumer.accesses_of(t)]
    if unfit := next((a for a in reads if a.op not in ("copy", "load")), None):
        return Refusal("access", f"{consumer.name} reads {unfit.tensor} by T.{unfit.op}, which only works from device memory")
    if lost := next((a for a in reads if None in a.start), None):
        return Refusal("access", f"{consumer.name} reads {lost.tensor} at places that can't be followed")
    legal: list[Attachment] = []
    refusal = Refusal("block-map", "no loop depth fits")
    for depth in range(len(_shared_loops(reads)), -1, -1):
        attempt = _attach(producer, consumer, maps, reads, depth)
        if isinstance(attempt, Refusal):
            refusal = attempt
        else:
            legal.append(attempt)
    return sorted(legal, key=lambda a: (a.recompute, a.stage_bytes, -a.depth)) if legal else refusal


def _shared_loops(reads: Sequence[Access]) -> tuple[Loop, ...]:
    """The loops around all reads in which a tile body can stand: those that run one turn after another, a known number of them."""
    shared: list[Loop] = []
    for level in zip(*(a.loops for a in reads), strict=False):
        if len({loop.var for loop in level}) > 1 or level[0].kind in ("parallel", "vectorized", "while"):
            break
        if not isinstance(level[0].extent, int):
            break
        shared.append(level[0])
    return tuple(shared)


def _attach(
    producer: TileProgram, consumer: TileProgram, maps: Sequence[BlockMap], reads: Sequence[Access], depth: int
) -> Attachment | Refusal:
    loops = _shared_loops(reads)[:depth]
    ranges = consumer.ranges(loops)
    first: dict[Var, Affine] = {}
    count: dict[Var, int] = {}
    handovers = []
    for block in maps:
        mine = [a for a in reads if a.tensor == block.tensor]
        param = consumer.param(block.tensor)
        shape = tuple(s for s in param.shape if isinstance(s, int))
        inner = inner_intervals(mine, depth)
        if inner is None or any(loop.kind == "while" for a in mine for loop in a.loops[depth:]):
            return Refusal("loop-carried", f"{consumer.name} reads {block.tensor} in a loop of unknown extent")
        boxes = [b for a in mine if (b := box(a, inner, ranges)) is not None]
        wanted = hull(boxes, ranges) if len(boxes) == len(mine) else None
        if wanted is None:
            return Refusal("access", f"{consumer.name} reads {block.tensor} at places that can't be followed")
        stage = _stage(block, wanted, shape, ranges)
        if isinstance(stage, Refusal):
            return stage
        base, extents, starts, counts = stage
        for axis, start, n in zip(block.axes, starts, counts, strict=True):
            if axis is None:
                continue
            if axis.var in first and (first[axis.var], count[axis.var]) != (start, n):
                return Refusal("block-map", f"{consumer.name} needs different blocks of {producer.name} for its several outputs")
            first[axis.var], count[axis.var] = start, n
        masked = any((span := b.interval(ranges)) is None or span[1] + n > size for b, n, size in zip(base, extents, shape, strict=True))
        registers = _whole_in_registers(mine, base, extents, depth, ranges) and _written_whole(producer, block, extents)
        handovers.append(Handover(block.tensor, base, extents, param.dtype, masked, registers))
    for axis in producer.grid:
        if axis.var not in first:
            if axis.extent != 1:
                return Refusal(
                    "block-map", f"the block index {axis.var!r} of {producer.name} moves none of {', '.join(m.tensor for m in maps)}"
                )
            first[axis.var], count[axis.var] = Affine(), 1
    turns = math.prod(loop.extent for loop in loops if isinstance(loop.extent, int))
    runs = consumer.blocks * turns * math.prod(count.values())
    recompute = Fraction(runs, max(1, producer.blocks))
    complete = _runs_every_block(producer, first, count, ranges)
    if refusal := _check_other_outputs(producer, consumer, [m.tensor for m in maps], recompute, complete=complete):
        return refusal
    return Attachment(producer.name, consumer.name, loops, first, count, tuple(handovers), runs, recompute, complete)


def _runs_every_block(producer: TileProgram, first: Mapping[Var, Affine], count: Mapping[Var, int], ranges: Mapping[Var, Interval]) -> bool:
    """Whether the block indices that are run leave no gap, and reach from the first block to the last."""
    starts, counts = tuple(first[axis.var] for axis in producer.grid), tuple(count[axis.var] for axis in producer.grid)
    for axis, start, n in zip(producer.grid, starts, counts, strict=True):
        span = start.interval(ranges)
        if span is None or not isinstance(axis.extent, int) or span[0] > 0 or span[1] + n < axis.extent:
            return False
    return is_dense(Access(producer.name, "read", "run", starts, counts), ranges)


def _check_other_outputs(
    producer: TileProgram, consumer: TileProgram, tensors: Sequence[str], recompute: Fraction, *, complete: bool
) -> Refusal | None:
    """What the producer writes beside the tensors handed over must still be written whole, and not be changed twice."""
    for param in producer.params:
        if param.name in tensors or param.mode not in ("write", "update"):
            continue
        if not complete:
            return Refusal("several-consumers", f"{consumer.name} does not need all of {producer.name}, which also writes {param.name}")
        if param.mode == "update" and recompute != 1:
            return Refusal("aliasing", f"{producer.name} changes {param.name} in place and would be computed {float(recompute):.2f} times")
    return None


def _stage(
    block: BlockMap, wanted: Box, shape: Sequence[int], ranges: Mapping[Var, Interval]
) -> tuple[tuple[Affine, ...], tuple[int, ...], tuple[Affine, ...], tuple[int, ...]] | Refusal:
    """Per dim: the stage's base and extent, the first producer block and how many of them."""
    bases, extents, starts, counts = [], [], [], []
    for d, (start, extent, tile, size, axis) in enumerate(zip(wanted.start, wanted.extent, block.tile, shape, block.axes, strict=True)):
        span = start.interval(ranges)
        if span is None or span[0] < 0:
            return Refusal("region-coverage", f"dim {d} of {block.tensor} is read from {start!r}, which may lie before its start")
        if axis is None:
            bases.append(Affine())
            extents.append(max(tile, span[1] + extent))
            starts.append(Affine())
            counts.append(1)
            continue
        first = start // tile
        within = (start % tile).interval(ranges)
        slack = tile - 1 if within is None else within[1]
        n = -(-(slack + extent) // tile)
        if start.is_constant:
            n = min(n, -(-size // tile) - first.constant)
        bases.append(first * tile)
        extents.append(max(n * tile, slack + extent))
        starts.append(first)
        counts.append(max(1, n))
    return tuple(bases), tuple(extents), tuple(starts), tuple(counts)


def _is_elementwise(access: Access, base: Sequence[Affine], extents: Sequence[int], depth: int) -> bool:
    """Whether a load or store runs over the stage by one parallel loop a dim, the whole of it."""
    inner = access.loops[depth:]
    sizes = {loop.var: loop.extent for loop in inner}
    if any(loop.kind != "parallel" for loop in inner):
        return False
    used: list[Var] = []
    for start, low, extent in zip(access.start, base, extents, strict=True):
        if start is None:
            return False
        offset = start - low
        if extent == 1 and offset == Affine():
            continue
        if offset.constant or len(offset.terms) != 1 or offset.terms[0][1] != 1:
            return False
        atom = offset.terms[0][0]
        if not isinstance(atom, Var) or sizes.get(atom) != extent:
            return False
        used.append(atom)
    return len(set(used)) == len(used) == len(inner)


def _whole_in_registers(
    reads: Sequence[Access], base: Sequence[Affine], extents: Sequence[int], depth: int, ranges: Mapping[Var, Interval]
) -> bool:
    for access in reads:
        if access.op == "load":
            if not _is_elementwise(access, base, extents, depth):
                return False
        elif len(access.loops) > depth or tuple(access.extent) != tuple(extents) or tuple(access.start) != tuple(base):
            return False
    return True


def _written_whole(producer: TileProgram, block: BlockMap, extents: Sequence[int]) -> bool:
    writes = producer.accesses_of(block.tensor)
    if len(writes) != 1 or tuple(extents) != block.tile:
        return False
    write = writes[0]
    base = tuple(Affine() if axis is None else Affine(((axis.var, 1),)) * tile for axis, tile in zip(block.axes, block.tile, strict=True))
    if write.op == "store":
        return _is_elementwise(write, base, extents, 0)
    return write.op == "copy" and not write.loops and tuple(write.extent) == tuple(extents)
