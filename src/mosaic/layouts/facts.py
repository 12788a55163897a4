"""What a layout plan is made from: products, groups of kernels, edges, and a device's limits, as plain data that a caller fills.

Bytes, seconds, and threads of a block, unless said otherwise. Names are whatever the caller calls things, each once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mosaic.layouts.fragments import Family, Policy
from mosaic.layouts.layout import Layout
from mosaic.layouts.places import Memory


@dataclass(frozen=True)
class Limits:
    """A device, as far as layouts are about it. `family` of instructions: mma and wgmma are told apart by the product; None: no warps."""

    arch: str
    kind: Literal["cpu", "cuda", "hip"]
    lanes: int
    processors: int
    shared_per_block: int
    registers_per_thread: int
    registers_per_processor: int
    bandwidth: float
    launch_seconds: float
    clock: float = 1.7e9
    threads_per_processor: int = 2048

    def family(self, product: Product, threads: int) -> Family | None:
        """The instructions that TileLang takes: wgmma on Hopper wherever whole warpgroups and 64 rows allow it."""
        if self.kind == "cpu":
            return None
        if self.kind == "hip":
            return "mfma"
        hopper = self.arch.startswith("sm_90")
        return "wgmma" if hopper and product.m >= 64 and threads % 128 == 0 and product.takes_wgmma else "mma"


@dataclass(frozen=True)
class Product:
    """A matrix product of an [m, k] and a [k, n] tile in one group. dtype: of the operands, as instructions call it.

    policies: what may be chosen, the author's first. a_in_registers: the author's program takes A from a fragment. reorders: B can be
    brought into another order of k at no cost at run time (its rows are copied in that order, or it is a static weight). runs: how often a
    block computes it.
    """

    name: str
    group: str
    m: int
    n: int
    k: int
    dtype: str
    policies: tuple[Policy, ...] = ("Square", "FullRow", "FullCol")
    a_in_registers: bool = False
    takes_wgmma: bool = True
    reorders: bool = False
    runs: int = 1


@dataclass(frozen=True)
class Group:
    """Kernels that are one launch, or a kernel alone.

    threads: each number that may be chosen with the seconds that the launch takes with it, beside handovers; the caller's first.
    shared_bytes, fragment_bytes: of a block, without the tiles that its edges hand over. tile, stages: as chosen already, to be shown.
    """

    name: str
    nodes: tuple[str, ...]
    threads: tuple[tuple[int, float], ...]
    tile: str
    stages: int
    blocks: int
    shared_bytes: int
    fragment_bytes: int


@dataclass(frozen=True)
class Edge:
    """A tensor on its way from one kernel to another, or a tile between two products of one kernel.

    group: the launch that both are in; None if they are in two, and `refusal` says (check, reason) why. tensor_bytes: in device memory.
    rows, columns, dtype_bytes: the tile that one block hands over, `runs` times. memories: where it can lie on the chip, the one that
    is taken where all cost the same first. source: the product whose C it is; follows: the edge whose layout the producer keeps, element
    by element; neither: rows. target: the product that takes it as A from registers. inner: both ends are in one kernel, which has no
    way to device memory. stored: the consumer writes what it makes of it to device memory in the same layout. swizzles: of a stage.
    """

    name: str
    tensor: str
    producer: str
    consumer: str
    tensor_bytes: int
    group: str | None = None
    rows: int = 1
    columns: int = 1
    dtype_bytes: int = 2
    runs: int = 1
    memories: tuple[Memory, ...] = ("shared", "register")
    source: str | None = None
    follows: str | None = None
    target: str | None = None
    refusal: tuple[str, str] | None = None
    inner: bool = False
    stored: bool = False
    swizzles: tuple[int, ...] = (0,)

    @property
    def stage_bytes(self) -> int:
        return self.rows * self.columns * self.dtype_bytes


@dataclass(frozen=True)
class Facts:
    """All that is known of a graph when its layouts are planned. Edges come after those that they follow."""

    name: str
    limits: Limits
    groups: tuple[Group, ...] = ()
    products: tuple[Product, ...] = ()
    edges: tuple[Edge, ...] = ()
    annotations: dict[str, str] = field(default_factory=dict)
    """What the user asks of variables, by name: `{"policy[scores]": "Square", "memory[a -> b]": "register"}`."""
    layouts: dict[str, Layout] = field(default_factory=dict)
    """Layouts that the user gives of edges' tiles where they are produced: (register, lane, warp) to m and n."""
