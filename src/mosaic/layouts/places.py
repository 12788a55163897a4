"""Where a tile lies while it is handed over: values that the variables of a layout plan take, and what one costs against another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final, Literal

from mosaic.layouts.atoms import relabel
from mosaic.layouts.banks import GFX942, GFX950, NVIDIA, Banks, access_cost, vector_width
from mosaic.layouts.conversion import Conversion, classify, cost_order
from mosaic.layouts.fragments import Family, WarpGrid, accumulator, operand
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError, LinearMap, bits_of
from mosaic.layouts.order import free_order, permuted
from mosaic.layouts.swizzle import row_swizzle

Memory = Literal["register", "shared", "device"]
Handover = Literal["identity", "permute", "shuffle", "shared", "split"]
Order = Literal["natural", "permuted"]

WAVEFRONT: Final = 128
"""Bytes that shared memory delivers in one cycle, at best."""


@dataclass(frozen=True)
class Place:
    """A tile [rows, columns] in registers: C of a product, A of one, whatever a copy from device memory gives ("rows"), or a given layout.

    `columns` is the n of a C and the k of an A. Equal places are the same layout.
    """

    kind: Literal["C", "A", "rows", "given"]
    rows: int
    columns: int
    family: Family | None = None
    grid: WarpGrid | None = None
    dtype: str = ""
    instruction_k: int = 0
    given: Layout | None = None
    label: str = ""

    def __str__(self) -> str:
        if self.kind == "rows":
            return "rows"
        return self.label if self.kind == "given" else f"{self.kind} of {self.family} over {self.grid}"

    @cached_property
    def layout(self) -> Layout | None:
        """(register, lane, warp) to the tile's m and n; None for rows, whose layout TileLang chooses."""
        if self.kind == "rows" or self.family is None or self.grid is None:
            return self.given
        if self.kind == "C":
            return accumulator(self.family, self.grid, self.rows, self.columns)
        return relabel(operand(self.family, self.dtype, self.instruction_k, self.grid, self.rows, self.columns), {"k": "n"})


class Room(tuple[int, int, int]):
    """Bytes that a block hands over on the chip, up to some edge: in stages, in the last fragment, and in fragments at once at most."""

    __slots__ = ()

    @property
    def stages(self) -> int:
        return self[0]

    @property
    def last(self) -> int:
        return self[1]

    @property
    def most(self) -> int:
        return self[2]


EMPTY: Final = Room((0, 0, 0))


@cache
def conversion(source: Place, target: Place, order: Order = "natural") -> Conversion:
    """How `source` becomes `target`, with the contraction in the natural order or in one that leaves elements where they are (for an A)."""
    if source == target:
        return Conversion("identity", True, 0, 0)
    if source.layout is None or target.layout is None or (source.rows, source.columns) != (target.rows, target.columns):
        return Conversion("shared")
    try:
        found = classify(source.layout, target.layout)
        if order == "permuted" and target.kind == "A" and found.kind not in ("identity", "permute"):
            axis = [name for name, _ in target.layout.outputs].index("n")
            bits = free_order(source.layout, target.layout, axis)
            return found if bits is None else classify(source.layout, permuted(target.layout, axis, bits))
        return found
    except LayoutError:  # other lanes or warps than the source has
        return Conversion("shared")


@cache
def improves(source: Place, target: Place) -> bool:
    """Whether another order of the contraction makes this conversion cheaper."""
    return cost_order(conversion(source, target, "permuted")) < cost_order(conversion(source, target))


@cache
def same_but_names(first: Place, second: Place) -> bool:
    """Whether two places differ in nothing but the numbers of registers."""
    return conversion(first, second).is_free and conversion(second, first).is_free


@cache
def is_sound(place: Place) -> bool:
    """Whether each element of the tile is held, and no thread holds one twice: so by all instructions, but perhaps not as it is given."""
    if place.given is None:
        return True
    table = place.given.to_table().reshape(-1, 2)
    held = {(int(a), int(b)) for a, b in table.tolist()}
    names = [name for name, _ in place.given.inputs]
    registers = dict(place.given.inputs).get("register", 1)
    if "register" in names:
        by_thread = place.given.to_table().movedim(names.index("register"), -2).reshape(-1, registers, 2).tolist()
        if any(len({tuple(pair) for pair in thread}) < registers for thread in by_thread):
            return False
    return len(held) == place.rows * place.columns


def banks_of(arch: str) -> Banks:
    """The shared memory of a target."""
    return {"gfx942": GFX942, "gfx950": GFX950}.get(arch, NVIDIA)


@cache
def stage_cycles(place: Place, element_bytes: int, swizzle: int, arch: str, *, write: bool) -> float:
    """Cycles of shared memory to write a tile that lies at `place` into a row-major stage with this swizzle (in bytes), or to read it.

    Bank conflicts are counted exactly where the layout is linear; elsewhere, and for rows, whole wavefronts are taken.
    """
    least = place.rows * place.columns * element_bytes / WAVEFRONT
    try:
        access = offsets(place, swizzle, element_bytes)
        cost = access_cost(access, element_bytes, banks_of(arch), "write" if write else "read")
    except LayoutError:
        return least
    return float(cost.wavefronts << access.bits("warp"))


def offsets(place: Place, swizzle: int, element_bytes: int) -> LinearMap:
    """(register, lane, warp) to `offset` of a row-major tile. Raises LayoutError if that is not linear."""
    if place.layout is None:
        raise LayoutError("the layout of rows is not known")
    columns = bits_of(place.columns, "columns")
    bits = columns + bits_of(place.rows, "rows")
    row_major = LinearMap(
        (("n", columns), ("m", bits - columns)), (("offset", bits),), tuple(1 << bit for bit in range(bits))
    ).order_inputs(*(name for name, _ in place.layout.outputs))
    found = place.layout.linear.then(row_major)
    return found.then(row_swizzle(swizzle, element_bytes, columns, bits)) if swizzle else found


@cache
def store_width(place: Place, element_bytes: int) -> int:
    """Bytes that a thread writes at once when it stores the tile, row by row, to device memory."""
    try:
        return vector_width(offsets(place, 0, element_bytes), element_bytes)
    except LayoutError:
        return 16 if place.kind == "rows" else element_bytes
