"""Kernels whose fragments' layouts disagree, made to agree: cut where they meet, with a conversion in between.

    before   T.gemm(a, b, c, FullCol);  T.copy(c, h);                  T.gemm(h, d, o, FullRow)      "Layout infer conflict"
    after    T.gemm(a, b, c, FullCol);  T.copy(c, h);  convert(h, h2);  T.gemm(h2, d, o, FullRow)

`versions` says where, `cut` does it. TileLang then infers a layout for each side, freely, since the call of an external function ties
nothing; between the two layouts that it found, the conversion is emitted and its text put into the program. Where both proved to be the
same, the cut is closed again. Levels are tried in order, each of which cuts more, until TileLang takes the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import MosaicError, ReadError, TargetError
from mosaic.layouts.bridge import places
from mosaic.layouts.conversion import KINDS, Kind
from mosaic.layouts.linear import LayoutError
from mosaic.layouts.read import LayoutTable, read_layouts
from mosaic.layouts.tabled import same_places, tabled
from mosaic.stitch.cut import CALL, cut
from mosaic.stitch.uses import Scope, read_uses
from mosaic.stitch.versions import LEVELS, Level, Version, Versions, merged, split
from mosaic.tiles.anatomy import dissect

NO_SPECIALIZATION: Final = "tl.disable_warp_specialized"


@dataclass(frozen=True)
class Handed:
    """One conversion: from one fragment to the next, of what class, through how many bytes of shared memory (0: registers only).

    `bytes` is what is handed over in one block. `source` and `target` are the inferred layouts.
    """

    name: str
    source: LayoutTable
    target: LayoutTable
    kind: Kind
    shared_bytes: int
    bytes: int

    def __str__(self) -> str:
        way = {"permute": "in registers, for free", "shuffle": "by shuffles"}.get(self.kind, f"through {self.shared_bytes:,} bytes of shared memory")
        return f"{self.source.name} is converted to {self.target.name} ({'x'.join(map(str, self.source.shape))} {self.source.dtype}) {way}"


@dataclass(frozen=True)
class Converted:
    """A program that TileLang takes, and its conversions. `pass_configs` must be lowered with."""

    func: Any
    conversions: tuple[Handed, ...]
    level: Level
    pass_configs: Mapping[str, Any]


def convert(func: Any, target: Mapping[str, str], *, warp_size: int, pass_configs: Mapping[str, Any] | None = None) -> Converted:
    """`func` with conversions, for one GPU target (as TileLang names it).

    Raises TargetError if TileLang finds no layouts however the program is cut, ReadError if the program can't be cut.
    """
    anatomy = dissect(func)
    configs = {**(pass_configs or {}), NO_SPECIALIZATION: True}
    annotated = frozenset(pointer for pointer in anatomy.block.annotations.get("layout_map", {}))
    root = read_uses(anatomy.block.body, annotated)
    refused: MosaicError | None = None
    for level in LEVELS:
        attempt = _Attempt(func, root, target, configs, warp_size)
        try:
            return attempt.run(split(root, level), level)
        except (TargetError, LayoutError) as error:
            refused = refused or error
    assert refused is not None
    raise refused


@dataclass
class _Attempt:
    func: Any
    root: Scope
    target: Mapping[str, str]
    configs: Mapping[str, Any]
    warp_size: int

    @property
    def threads(self) -> int:
        x, y, z = dissect(self.func).threads
        return x * y * z

    def run(self, found: Versions, level: Level) -> Converted:
        first, layouts = self.infer(found, {}, "")
        alike = {}
        for handover, (source, target) in zip(found.handovers, first, strict=True):
            if same_places(self.places(layouts[source]), self.places(layouts[target])) and _same_size(layouts[source], layouts[target]):
                alike[handover.target] = handover.source
        if alike:
            # What agrees is not cut. Should TileLang not find the same layouts for the whole, the cuts that cost nothing stay.
            try:
                return self.finish(merged(found, _acyclic(alike)), level)
            except (TargetError, LayoutError):
                pass
        return self.finish(found, level)

    def infer(self, found: Versions, stages: Mapping[int, int], text: str) -> tuple[list[tuple[str, str]], dict[str, LayoutTable]]:
        program, pairs = cut(self.func, self.root, found, stages=stages, text=text)
        return pairs, read_layouts(program, self.target, self.configs)

    def places(self, table: LayoutTable) -> torch.Tensor:
        return places(table, self.threads)

    def finish(self, found: Versions, level: Level) -> Converted:
        pairs, layouts = self.infer(found, {}, "")
        for _ in range(3):
            made = [self.emit(number, layouts[a], layouts[b]) for number, (a, b) in enumerate(pairs)]
            stages = {number: handed.shared_bytes for number, (handed, _) in enumerate(made) if handed.shared_bytes}
            text = "\n".join(each for _, each in made)
            program, pairs = cut(self.func, self.root, found, stages=stages, text=text)
            again = read_layouts(program, self.target, self.configs)
            if all(_equal(layouts[name], again[name]) for pair in pairs for name in pair):
                return Converted(program, tuple(handed for handed, _ in made), level, self.configs)
            layouts = again
        raise TargetError("TileLang infers other layouts at each attempt for a program with conversions")

    def emit(self, number: int, source: LayoutTable, target: LayoutTable) -> tuple[Handed, str]:
        dtype = DTYPES.get(target.dtype)
        width = dtype.bytes if dtype else 4
        name = f"{CALL}{number}"
        found = tabled(self.places(source), self.places(target), name=name, element_bytes=width)
        return Handed(name, source, target, found.kind, found.shared_bytes, source.register.numel() * width), found.text


def _same_size(first: LayoutTable, second: LayoutTable) -> bool:
    return first.size == second.size and first.shape == second.shape


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
