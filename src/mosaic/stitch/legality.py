"""What forbids stitching, by name.

Each `check_*` looks at one thing and returns a `Refusal` or None. A refusal is an answer, not an
error: the edge stays a `split`, through device memory, and the plan says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.tiles.affine import Affine, Interval, Var
from mosaic.tiles.program import Access, Axis, Guard, TileProgram
from mosaic.tiles.region import Box, box, covers, hull, inner_intervals, is_dense


@dataclass(frozen=True)
class Refusal:
    """The name of the check that forbids a move, and why in words."""

    check: str
    reason: str

    def __str__(self) -> str:
        return f"{self.check}: {self.reason}"


# What a body may not hold if it is to run once per tile of another kernel.
_NOT_REPEATABLE: Final = (
    "atomics",
    "barriers",
    "explicit synchronisation",
    "grid synchronisation",
    "explicit TMA",
    "explicit wgmma",
    "explicit tcgen05",
    "external calls",
    "inline assembly",
    "pointers",
    "early exits",
    "warp specialisation",
    "asynchronous copies",
    "clusters",
    "random numbers",
    "nested allocations",
)


def check_dynamic_shapes(program: TileProgram) -> Refusal | None:
    """Block maps are solved over numbers, so every dynamic shape must have been bound."""
    if program.dynamic:
        return Refusal("dynamic-shapes", f"{program.name} still has the dynamic shapes {', '.join(program.dynamic)}")
    return None


def check_features(program: TileProgram, *, repeated: bool) -> Refusal | None:
    """A body that moves must be a function of tiles alone; one that stays may do what it likes with its threads."""
    forbidden = [f for f in _NOT_REPEATABLE if f in program.features]
    if not repeated:
        forbidden = [f for f in forbidden if f in ("warp specialisation", "clusters", "grid synchronisation", "pointers")]
    return Refusal("features", f"{program.name} holds {', '.join(forbidden)}") if forbidden else None


def check_threads(producer: TileProgram, consumer: TileProgram) -> Refusal | None:
    """Tile operators spread over any number of threads; a body that names its threads needs those it was written for."""
    if "thread indices" in producer.features and producer.threads != consumer.threads:
        mine, other = (" x ".join(map(str, p.threads)) for p in (producer, consumer))
        return Refusal("thread-count", f"{producer.name} names its threads, {mine} of them, and {consumer.name} has {other}")
    return None


def check_aliasing(producer: TileProgram, consumer: TileProgram, tensor: str, handed_over: Sequence[str]) -> Refusal | None:
    """The tensor is only written by the producer and only read by the consumer; no tensor of one is changed by the other."""
    if (mode := producer.param(tensor).mode) != "write":
        return Refusal("aliasing", f"{producer.name} does not only write {tensor}: it is {mode} there")
    if (mode := consumer.param(tensor).mode) != "read":
        return Refusal("aliasing", f"{consumer.name} does not only read {tensor}: it is {mode} there")
    names = {p.name: p for p in consumer.params}
    for mine in producer.params:
        other = names.get(mine.name)
        if other is not None and mine.name != tensor and (mine.mode, other.mode) != ("read", "read"):
            if mine.name in handed_over:
                continue
            return Refusal("aliasing", f"{mine.name} is {mine.mode} in {producer.name} and {other.mode} in {consumer.name}")
    return None


def check_specs(producer: TileProgram, consumer: TileProgram, tensor: str) -> Refusal | None:
    """Both sides see the same shape and dtype; a view in between is not followed."""
    mine, other = producer.param(tensor), consumer.param(tensor)
    if (mine.shape, mine.dtype) != (other.shape, other.dtype):
        return Refusal(
            "specs", f"{tensor} is {mine.dtype}{list(mine.shape)} in {producer.name}, {other.dtype}{list(other.shape)} in {consumer.name}"
        )
    return None


@dataclass(frozen=True)
class BlockMap:
    """How a kernel's blocks tile one of its outputs.

    Dim d of the block's tile starts at `axes[d]` * `tile[d]`, or at 0 where the axis is None.
    """

    tensor: str
    tile: tuple[int, ...]
    axes: tuple[Axis | None, ...]


def block_map(program: TileProgram, tensor: str) -> BlockMap | Refusal:
    """The block map of an output, or which check forbids one."""
    writes = program.accesses_of(tensor, "write", "update")
    shape = tuple(s for s in program.param(tensor).shape if isinstance(s, int))
    inner = inner_intervals(writes, 0)
    if not writes or inner is None:
        return Refusal("region-coverage", f"{program.name} writes {tensor} in a loop of unknown extent")
    if refusal := _check_guards(program, tensor, writes, shape) or _check_density(program, tensor, writes):
        return refusal
    boxes = [b for w in writes if (b := box(w, inner, {})) is not None]
    whole = hull(boxes, program.ranges())
    if len(boxes) < len(writes) or whole is None or not covers(boxes, whole):
        return Refusal("region-coverage", f"{program.name} does not write all of the tile {whole} of {tensor}")
    return _solve_axes(program, tensor, whole, shape)


def _check_guards(program: TileProgram, tensor: str, writes: tuple[Access, ...], shape: tuple[int, ...]) -> Refusal | None:
    """A guarded write is fine where all that the guard keeps out lies beyond the tensor."""
    for write in writes:
        for guard in write.guards:
            if not any(_is_beyond(guard, start, size, program.ranges(write.loops)) for start, size in zip(write.start, shape, strict=True)):
                return Refusal("predicated-write", f"{program.name} writes {tensor} only under a condition")
    return None


def _is_beyond(guard: Guard, start: Affine | None, size: int, ranges: Mapping[Var, Interval]) -> bool:
    """Whether a write that starts there, and that `guard` keeps out, would lie beyond the tensor's `size`.

    With start = f * value + rest for some f > 0, value >= bound makes it at least f * bound + rest.
    """
    if start is None or guard.value is None or not guard.value.terms:
        return False
    atom, per = guard.value.terms[0]
    factor, remainder = divmod(start.coefficient(atom), per)
    rest = (start - guard.value * factor).interval(ranges)
    return remainder == 0 and factor > 0 and rest is not None and factor * guard.bound + rest[0] >= size


def _check_density(program: TileProgram, tensor: str, writes: tuple[Access, ...]) -> Refusal | None:
    inner = inner_intervals(writes, 0) or {}
    for write in writes:
        if any(loop.kind == "while" for loop in write.loops) or not is_dense(write, inner):
            return Refusal("region-coverage", f"{program.name} writes {tensor} with gaps, or where it can't be followed")
    return None


def _solve_axes(program: TileProgram, tensor: str, whole: Box, shape: tuple[int, ...]) -> BlockMap | Refusal:
    axes: list[Axis | None] = []
    by_var: dict[Var, Axis] = {axis.var: axis for axis in program.grid}
    for d, (start, extent) in enumerate(zip(whole.start, whole.extent, strict=True)):
        terms = [(a, c) for a, c in start.terms if not (isinstance(a, Var) and a in by_var and by_var[a].extent == 1)]
        if not terms and start.constant == 0:
            if extent < shape[d]:
                return Refusal("region-coverage", f"{program.name} writes only {extent} of {shape[d]} along dim {d} of {tensor}")
            axes.append(None)
            continue
        if len(terms) != 1 or start.constant or not isinstance(terms[0][0], Var) or terms[0][0] not in by_var:
            return Refusal("block-map", f"dim {d} of {tensor} starts at {start!r} in {program.name}, not at a multiple of one block index")
        axis, stride = by_var[terms[0][0]], terms[0][1]
        if stride != extent:
            return Refusal("block-map", f"tiles of {tensor} in {program.name} are {extent} long along dim {d} but start every {stride}")
        if not isinstance(axis.extent, int) or axis.extent * stride < shape[d]:
            return Refusal("region-coverage", f"the blocks of {program.name} end before dim {d} of {tensor} does")
        axes.append(axis)
    used = [axis.var for axis in axes if axis is not None]
    if len(set(used)) != len(used):
        return Refusal("block-map", f"one block index of {program.name} moves two dims of {tensor}")
    return BlockMap(tensor, whole.extent, tuple(axes))
