"""Kernels whose fragments' layouts disagree, made to agree: cut where they meet, with a conversion in between.

    before   T.gemm(a, b, c, FullCol);  T.copy(c, h);                  T.gemm(h, d, o, FullRow)      "Layout infer conflict"
    after    T.gemm(a, b, c, FullCol);  T.copy(c, h);  convert(h, h2);  T.gemm(h2, d, o, FullRow)

`versions` says where, `cut` does it. TileLang then infers a layout for each side, freely, since the call of an external function ties
nothing; between the two layouts that it found, the conversion is emitted and its text put into the program. Where both proved to be the
same, the cut is closed again. Levels are tried in order, each of which cuts more, until TileLang takes the program.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import torch

from mosaic.errors import MosaicError, TargetError
from mosaic.layouts.bridge import layout_of, places
from mosaic.layouts.conversion import Kind, classify
from mosaic.layouts.emit import emit
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.order import free_order, permuted
from mosaic.layouts.read import LayoutTable, read_layouts
from mosaic.layouts.tabled import tabled
from mosaic.layouts.write import ANNOTATION, annotate, grid, spread
from mosaic.stitch.contraction import Order, find_contraction, reorder
from mosaic.stitch.cut import CALL, cut
from mosaic.stitch.finish import NO_SPECIALIZATION
from mosaic.stitch.uses import FRAGMENT, Scope, read_uses
from mosaic.stitch.versions import LEVELS, Level, Version, Versions, merged, split
from mosaic.tiles.anatomy import dissect

_HEADERS: Final = {
    kind: f"#include <tl_templates/{kind}/common.h>\n#include <tl_templates/{kind}/{kind}_fp8.h>\n" for kind in ("cuda", "hip")
}
"""What names the element types that TileLang's source uses: the conversions stand before all of that."""

Inferred = tuple[list[tuple[str, str]], dict[str, LayoutTable]]
"""Of each handover the names of its two fragments, and the layouts by name."""

United = tuple[tuple[tuple[int, int], tuple[int, int]], ...]

Given = Literal["", "spread", "grid"]
_GIVEN: Final[tuple[Given, ...]] = ("", "spread", "grid")
_MATRIX: Final = 2  # dims

_ROUNDS: Final = 3
"""Attempts at a program whose layouts TileLang finds otherwise once the conversions' shared memory is in it."""


@dataclass(frozen=True)
class Handed:
    """One conversion: from one fragment to the next, of what class, through how many bytes of shared memory (0: registers only).

    `bytes` is what is handed over in one block. `source` and `target` are the inferred layouts. order: of the lowest bits of the index that
    the product at the other end contracts, where that is permuted (`contraction`).
    """

    name: str
    source: LayoutTable
    target: LayoutTable
    kind: Kind
    shared_bytes: int
    bytes: int
    order: tuple[int, ...] = ()

    def __str__(self) -> str:
        shared = f"through {self.shared_bytes:,} bytes of shared memory"
        way = {"identity": "for free", "permute": "in registers", "shuffle": "by shuffles"}.get(self.kind, shared)
        order = ", its product contracting in another order" if self.order else ""
        shape = "x".join(map(str, self.source.shape))
        return f"{self.source.name} is converted to {self.target.name} ({shape} {self.source.dtype}) {way}{order}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "source": self.source.name,
            "target": self.target.name,
            "shape": list(self.source.shape),
            "dtype": self.source.dtype,
            "kind": self.kind,
            "shared_bytes": self.shared_bytes,
            "bytes": self.bytes,
            "order": list(self.order),
            "source_layout": self.source.expression,
            "target_layout": self.target.expression,
        }


@dataclass(frozen=True)
class Cuts:
    """What was decided for a program: enough to convert the same one again without asking TileLang.

    united: pairs of versions, each the position of its fragment in the program and its number among that fragment's versions.
    given: which fragments that nothing binds are given a layout first (`_given`). orders: of handovers, by number, whose contraction is
    permuted.
    """

    level: Level
    united: United
    stages: tuple[tuple[int, int], ...]
    text: str
    given: Given = ""
    orders: tuple[tuple[int, Order], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> Cuts:
        """The inverse of `to_dict`."""
        united = tuple(((a[0], a[1]), (b[0], b[1])) for a, b in found["united"])
        stages = tuple((number, size) for number, size in found["stages"])
        orders = tuple((number, Order(each["axis"], tuple(each["bits"]), tuple(each["rows_of"]))) for number, each in found["orders"])
        return Cuts(found["level"], united, stages, found["text"], found["given"], orders)


@dataclass(frozen=True)
class Converted:
    """A program that TileLang takes, and its conversions. It must be lowered with `pass_configs`."""

    func: Any
    conversions: tuple[Handed, ...]
    cuts: Cuts
    pass_configs: Mapping[str, Any]


def convert(
    func: Any,
    target: Mapping[str, str],
    *,
    warp_size: int,
    pass_configs: Mapping[str, Any] | None = None,
    accept: Callable[[Converted], None] | None = None,
    stage: int = 48 << 10,
) -> Converted:
    """`func` with conversions, for one GPU target (as TileLang names it).

    accept: called with each program that has layouts; if it raises a TargetError, more is cut.
    stage: the most bytes of shared memory for one handover.

    Raises TargetError if TileLang finds no layouts however the program is cut, ReadError if the program can't be cut.
    """
    configs = {**(pass_configs or {}), NO_SPECIALIZATION: True}
    refused: MosaicError | None = None
    for level, kind in itertools.product(LEVELS, _GIVEN):
        base = _given(func, kind)
        if base is None:
            continue
        root = _read(base)
        for reorders in (True, False):
            attempt = _Attempt(base, root, target, configs, warp_size, kind, stage, reorders)
            try:
                found = attempt.run(split(root, level), level)
                if accept is not None:
                    accept(found)
                return found
            except (TargetError, LayoutError) as error:
                refused = refused or error
            if not attempt.orders:
                break
    assert refused is not None
    raise refused


def _given(func: Any, kind: Given) -> Any | None:
    """The program with layouts for fragments that nothing binds and that TileLang finds none for itself; None if there are none.

    spread: fragments that the block's threads don't divide. grid: matrices that are reduced.
    """
    if not kind:
        return func
    anatomy = dissect(func)
    threads = math.prod(anatomy.threads)
    known = anatomy.block.annotations.get(ANNOTATION, {})
    free = [buffer for buffer in anatomy.allocations if str(buffer.scope()) == FRAGMENT and buffer.data not in known]
    reduced = _reduced(func) if kind == "grid" else set()
    layouts = {}
    for buffer in free:
        shape = [int(extent) for extent in buffer.shape]
        if kind == "spread" and math.prod(shape) % threads and math.prod(shape) > threads:
            layouts[str(buffer.name)] = spread(shape, _bits(str(buffer.dtype)), threads)
        elif buffer in reduced and len(shape) == _MATRIX:
            layouts[str(buffer.name)] = grid(shape[0], shape[1], threads)
    return annotate(func, layouts) if layouts else None


def _reduced(func: Any) -> set[Any]:
    """Fragments that a reduction reads and no product binds."""
    root = _read(func)
    found = split(root, "products")
    sources = [
        (buffer, version)
        for operator, uses in found.uses.items()
        for buffer, version in uses.items()
        if operator.kind == "reduce" and operator.uses[buffer] == "read"
    ]
    return {buffer for buffer, version in sources if version.root().anchor is None}


def replay(func: Any, cuts: Cuts) -> Any:
    """The converted program, for the one that these were made for."""
    func = _given(func, cuts.given)
    root = _read(func)
    found = split(root, cuts.level)
    of = list(found.of.values())

    def version(place: tuple[int, int]) -> Version:
        return next(each for each in of[place[0]] if each.number == place[1])

    if cuts.united:
        found = merged(found, {version(one): version(other) for one, other in cuts.united})
    return _cut(func, root, found, cuts)[0]


def _cut(func: Any, root: Scope, found: Versions, cuts: Cuts) -> tuple[Any, list[tuple[str, str]]]:
    suffixes = {number: order.suffix for number, order in cuts.orders}
    program, pairs = cut(func, root, found, stages=dict(cuts.stages), text=cuts.text, grids=cuts.level == "matrices", suffixes=suffixes)
    return reorder(program, {name: order.bits for _, order in cuts.orders for name in order.rows_of}), pairs


def _read(func: Any) -> Scope:
    block = dissect(func).block
    return read_uses(block.body, frozenset(block.annotations.get(ANNOTATION, {})))


@dataclass
class _Attempt:
    func: Any
    root: Scope
    target: Mapping[str, str]
    configs: Mapping[str, Any]
    warp_size: int
    given: Given
    stage: int
    reorders: bool
    grids: bool = False
    orders: dict[int, Order] = field(default_factory=dict)
    program: Any = None

    @property
    def threads(self) -> int:
        return math.prod(dissect(self.func).threads)

    def run(self, found: Versions, level: Level) -> Converted:
        self.grids = level == "matrices"
        pairs, layouts = self.infer(found)
        alike = {}
        for handover, (source, target) in zip(found.handovers, pairs, strict=True):
            if _equal(layouts[source], layouts[target]):
                alike[handover.target] = handover.source
        alike = _acyclic(alike)
        if alike:
            # What agrees is not cut. Should TileLang not find the same layouts for the whole, the cuts that cost nothing stay.
            with contextlib.suppress(TargetError, LayoutError):
                return self.finish(merged(found, alike), level, tuple((_place(found, a), _place(found, b)) for a, b in alike.items()))
        return self.finish(found, level, (), (pairs, layouts))

    def infer(self, found: Versions) -> Inferred:
        self.program, pairs = cut(self.func, self.root, found, grids=self.grids)
        return pairs, read_layouts(self.program, self.target, self.configs)

    def finish(self, found: Versions, level: Level, united: United, known: Inferred | None = None) -> Converted:
        """The program with what the layouts ask for; these must be the same once it is in there."""
        pairs, layouts = known or self.infer(found)
        if not pairs:
            return Converted(
                cut(self.func, self.root, found, grids=self.grids)[0], (), Cuts(level, united, (), "", self.given), self.configs
            )
        self.orders = self.find_orders(pairs, layouts) if self.reorders else {}
        for _ in range(_ROUNDS):
            made = [self.emit(number, layouts[a], layouts[b]) for number, (a, b) in enumerate(pairs)]
            stages = tuple((number, handed.shared_bytes) for number, (handed, _) in enumerate(made) if handed.shared_bytes)
            text = _HEADERS[self.target["kind"]] + "\n".join(each for _, each in made) if made else ""
            cuts = Cuts(level, united, stages, text, self.given, tuple(self.orders.items()))
            program, pairs = _cut(self.func, self.root, found, cuts)
            again = read_layouts(program, self.target, self.configs)
            if all(_equal(layouts[name], again[name]) for pair in pairs for name in pair):
                return Converted(program, tuple(handed for handed, _ in made), cuts, self.configs)
            layouts = again
        raise TargetError("TileLang infers other layouts at each attempt for a program with conversions")

    def find_orders(self, pairs: list[tuple[str, str]], layouts: Mapping[str, LayoutTable]) -> dict[int, Order]:
        """Of the handovers that a permuted contraction makes free of exchanges, which are not so already."""
        found = {}
        targets = [target for _, target in pairs]
        for number, (source, target) in enumerate(pairs):
            with contextlib.suppress(LayoutError):
                mine, theirs = self.layout_of(layouts[source]), self.layout_of(layouts[target])
                if mine is None or theirs is None or targets.count(target) > 1 or classify(mine, theirs).kind in ("identity", "permute"):
                    continue
                contraction = find_contraction(self.program, target)
                bits = free_order(mine, theirs, contraction.axis) if contraction is not None else None
                if contraction is not None and bits is not None:
                    found[number] = Order(contraction.axis, bits, contraction.rows_of)
        return found

    def layout_of(self, table: LayoutTable) -> Layout | None:
        return layout_of(table, self.threads, self.warp_size)

    def emit(self, number: int, source: LayoutTable, target: LayoutTable) -> tuple[Handed, str]:
        """The conversion between two inferred layouts."""
        order = self.orders.get(number)
        name = f"{CALL}{number}{order.suffix if order else ''}"
        arch = self.target["arch" if self.target["kind"] == "cuda" else "mcpu"]
        size, bits = bytes_of(source), order.bits if order else ()
        mine, theirs = self.layout_of(source), self.layout_of(target)
        if mine is not None and theirs is not None:
            theirs = permuted(theirs, order.axis, order.bits) if order else theirs
            # Layouts of other numbers of warps are left to the tables.
            with contextlib.suppress(LayoutError):
                found = emit(
                    mine,
                    theirs,
                    source_dtype=source.dtype,
                    target_dtype=target.dtype,
                    arch=arch,
                    name=name,
                    shared_limit=self.stage,
                    kind="cheapest",
                )
                return Handed(name, source, target, found.kind, found.shared_bytes, size, bits), found.text
        if order:
            raise LayoutError(f"the conversion of {source.name} in another order of the contraction can't be emitted")
        held, needed = (places(table, self.threads) for table in (source, target))
        rough = tabled(held, needed, name=name, element_bytes=size // math.prod(source.shape))
        return Handed(name, source, target, rough.kind, rough.shared_bytes, size), rough.text


def bytes_of(table: LayoutTable) -> int:
    """The bytes of a fragment's elements, each counted once."""
    return math.prod(table.shape) * _bits(table.dtype) // 8


def _bits(dtype: str) -> int:
    """A dtype's width, which is the first number in its name."""
    found = re.search(r"\d+", dtype)
    return int(found[0]) if found else 8


def _equal(first: LayoutTable, second: LayoutTable) -> bool:
    return (
        first.size == second.size
        and first.thread is not None
        and second.thread is not None
        and first.register is not None
        and second.register is not None
        and torch.equal(first.thread, second.thread)
        and torch.equal(first.register, second.register)
    )


def _place(found: Versions, version: Version) -> tuple[int, int]:
    return next((position, version.number) for position, versions in enumerate(found.of.values()) if version in versions)


def _acyclic(pairs: Mapping[Version, Version]) -> dict[Version, Version]:
    """Every version leads to one that leads nowhere."""
    found: dict[Version, Version] = {}

    def final(version: Version) -> Version:
        while version in found:
            version = found[version]
        return version

    for version, other in pairs.items():
        mine, theirs = final(version), final(other)
        if mine is not theirs:
            found[mine] = theirs
    return found
