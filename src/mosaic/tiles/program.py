"""What reading a kernel tells: its grid, its on-chip buffers, and every access to device memory.

A `TileProgram` keeps the PrimFunc it was read from. Everything else in it is plain data, so
that plans can be made, compared and printed without touching TIR.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mosaic.dtypes import DTYPES
from mosaic.tiles.affine import Affine, Interval, Var
from mosaic.tiles.liveness import peak_bytes

Extent = int | str
"""A number, or the text of an expression of dynamic shape variables."""

LoopKind = Literal["serial", "parallel", "unrolled", "vectorized", "pipelined", "while"]
Mode = Literal["read", "write", "update"]


@dataclass(frozen=True)
class Param:
    """A tensor in device memory that the kernel takes. `mode` is what the kernel does to it."""

    name: str
    shape: tuple[Extent, ...]
    dtype: str
    mode: Literal["read", "write", "update", "unused"]

    @property
    def bytes(self) -> int | None:
        """Size in bytes, None where the shape is dynamic."""
        sizes = [size for size in self.shape if isinstance(size, int)]
        return math.prod(sizes) * element_bytes(self.dtype) if len(sizes) == len(self.shape) else None


@dataclass(frozen=True)
class Axis:
    """One axis of the grid of blocks."""

    var: Var
    extent: Extent
    tag: str


@dataclass(frozen=True)
class Loop:
    """A loop around an access. `stages` is the pipeline depth asked for, 0 for none."""

    var: Var
    extent: Extent
    kind: LoopKind
    stages: int = 0


@dataclass(frozen=True)
class Guard:
    """A condition on an access: value < bound, or None where it is no such comparison."""

    value: Affine | None
    bound: int = 0


@dataclass(frozen=True)
class Access:
    """One access to a tensor in device memory.

    Dim d covers start[d] ... start[d] + extent[d] - 1; a start of None can be anywhere. An access
    of one element has extents of 1 and loop variables in its starts. `op` is the tile operator's
    name, or "load" and "store" for elements. `loops` are the loops around it, outermost first.
    """

    tensor: str
    mode: Mode
    op: str
    start: tuple[Affine | None, ...]
    extent: tuple[int, ...]
    loops: tuple[Loop, ...] = ()
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True)
class OnChip:
    """A buffer on the chip. `versions` is how many copies its pipeline keeps, `pipelined` whether a pipelined loop touches it.

    `key` tells buffers of one name apart; views of one piece of memory share it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scope: str
    versions: int = 1
    pipelined: bool = False
    key: int = 0

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * element_bytes(self.dtype) * self.versions


@dataclass(frozen=True)
class TileOp:
    """One tile operator, or one element-wise statement ("map"): its buffers by name, and how often a block runs it.

    Of one run, `work` is the operations of a matrix product, 2 m n k, and 0 of the rest; `elements`
    the elements touched: those of both operands of a product, of the larger side of the rest.
    """

    op: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    runs: int
    work: int
    elements: int


@dataclass(frozen=True)
class TileProgram:
    """A kernel as a program over tiles."""

    name: str
    func: Any
    params: tuple[Param, ...]
    grid: tuple[Axis, ...]
    threads: tuple[int, int, int]
    buffers: tuple[OnChip, ...]
    accesses: tuple[Access, ...]
    ops: tuple[TileOp, ...]
    features: frozenset[str]
    dynamic: tuple[str, ...] = ()
    live: Mapping[int, tuple[int, int]] = field(default_factory=dict, compare=False)
    """First and last statement at which each on-chip buffer is alive, by its key."""

    def param(self, name: str) -> Param:
        return next(p for p in self.params if p.name == name)

    @property
    def thread_count(self) -> int:
        return math.prod(self.threads)

    @property
    def blocks(self) -> int:
        """Blocks of the grid; 0 where it is dynamic."""
        return math.prod(axis.extent if isinstance(axis.extent, int) else 0 for axis in self.grid)

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block, if no two buffers shared their space."""
        return sum(b.bytes for b in self.buffers if b.scope.startswith("shared"))

    @property
    def fragment_bytes(self) -> int:
        """The most bytes of fragments alive at once in a block, were each element held once."""
        return peak_bytes(self.live, {b.key: b.bytes for b in self.buffers if b.scope == "local.fragment"})

    @property
    def work(self) -> int:
        """Operations of the whole grid's matrix products."""
        return self.blocks * sum(op.runs * op.work for op in self.ops)

    def ranges(self, loops: tuple[Loop, ...] = ()) -> dict[Var, Interval]:
        """The interval of each block variable, and of the variables of `loops`."""
        found = {axis.var: (0, axis.extent - 1) for axis in self.grid if isinstance(axis.extent, int)}
        return found | {loop.var: (0, loop.extent - 1) for loop in loops if isinstance(loop.extent, int)}

    def accesses_of(self, tensor: str, *modes: Mode) -> tuple[Access, ...]:
        return tuple(a for a in self.accesses if a.tensor == tensor and (not modes or a.mode in modes))


def element_bytes(dtype: str) -> int:
    """Bytes of one element; types that Mosaic cannot hand over (barriers, descriptors) by their name's number."""
    if dtype in DTYPES:
        return DTYPES[dtype].bytes
    digits = "".join(c for c in dtype.partition("x")[0] if c.isdigit())
    return max(1, int(digits or 8) // 8)
