"""What it takes to turn one layout of a tile in registers into another: nothing, a renaming, a shuffle, or shared memory.

Layouts map (register, lane, warp) to elements; a dim that is missing has one index. `Kind` is the smallest of these for which every
element that a place of the target needs is already held

- identity: by the same register of the same thread;
- permute: by some register of the same thread;
- shuffle: by some register of some lane of the same warp;
- shared: by another warp only.

Elements may be replicated in either layout; the source may hold more than the target needs, but not less.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final, Literal

import torch

from mosaic.layouts import vectors
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError, LinearMap

Kind = Literal["identity", "permute", "shuffle", "shared"]
KINDS: Final[tuple[Kind, ...]] = ("identity", "permute", "shuffle", "shared")
_DIMS: Final = ("register", "lane", "warp")


@dataclass(frozen=True)
class Conversion:
    """The class of a conversion, and what a cost can be counted from.

    uniform: (permute) the register that is read is the same in all threads, so that nothing is emitted; if not, threads select.
    cycles: (shuffle) where the bits of the place are only permuted, how: rings such as `("lane0", "lane1", "register0")`, the element's
    bit that lies in the first moving to the second, and so on. Rings of registers alone are left out.
    exchanges: the fewest exchanges of two of those bits that do it, not counting exchanges of registers, which cost nothing.
    crossings: how many bits move from registers into lanes (as many move back); what else there is only renumbers lanes.
    Both are None where the bits are not simply permuted.
    """

    kind: Kind
    uniform: bool = True
    exchanges: int | None = None
    crossings: int | None = None
    cycles: tuple[tuple[str, ...], ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether no instruction is needed: registers are only named otherwise."""
        return self.kind == "identity" or (self.kind == "permute" and self.uniform)


def classify(source: Layout | LinearMap, target: Layout | LinearMap) -> Conversion:
    """How `source` becomes `target`: both (register, lane, warp) to the elements of one tile.

    Exact: by linear algebra where both are linear, else by their tables. Raises LayoutError if the tiles differ, if the target has more
    lanes or warps than the source, or needs an element that the source does not hold.
    """
    mine, theirs = _as_map(source), _as_map(target)
    if mine is not None and theirs is not None:
        return classify_linear(mine, theirs)
    return classify_tables(_as_layout(source), _as_layout(target))


def classify_linear(source: LinearMap, target: LinearMap) -> Conversion:
    """`classify` by linear algebra: every question is whether a span holds some vectors."""
    source, target = _matched(source, target)
    held = {upto: vectors.echelon(source.images(*_DIMS[: upto + 1])) for upto in range(3)}
    if not vectors.contains(held[2], target.columns):
        raise LayoutError("the target layout needs an element of the tile that the source layout does not hold")
    # Threads that the target does not have need nothing.
    moved = {name: [a ^ b for a, b in zip(source.images(name), target.images(name), strict=False)] for name in ("lane", "warp")}
    if not vectors.contains(held[1], [*target.images("register", "lane"), *moved["warp"]]):
        return Conversion("shared")
    if not vectors.contains(held[0], [*target.images("register"), *moved["lane"], *moved["warp"]]):
        cycles = _cycles(source, target)
        return Conversion("shuffle", False) if cycles is None else _permuted(cycles)
    # The same register for all threads: what two threads differ by must be the same in both layouts, up to copies that one thread holds.
    uniform = not any([*moved["lane"], *moved["warp"]])
    count = target.bits("register")
    same = uniform and source.bits("register") >= count and source.images("register")[:count] == target.images("register")
    return Conversion("identity" if same else "permute", uniform, *((0, 0) if uniform else (None, None)))


def classify_tables(source: Layout, target: Layout) -> Conversion:
    """`classify` by looking at every place of both layouts."""
    held, needed = _table(source), _table(target)
    if source.outputs != target.outputs:
        raise LayoutError(f"layouts of different tiles, {source.outputs} and {target.outputs}, are not converted into each other")
    if held.shape[1] < needed.shape[1] or held.shape[2] < needed.shape[2]:
        raise LayoutError("the target layout has more lanes or warps than the source layout")
    if not bool(torch.isin(needed, held).all()):
        raise LayoutError("the target layout needs an element of the tile that the source layout does not hold")
    _, lanes, warps = needed.shape
    for warp in range(warps):
        if not bool(torch.isin(needed[:, :, warp], held[:, :, warp]).all()):
            return Conversion("shared")
    # found[r, s]: whether source register s holds what target register r needs, in every thread.
    found = (needed[:, None] == held[None, :, :lanes, :warps]).flatten(2)
    if not bool(found.any(dim=1).all()):
        return Conversion("shuffle", False)
    uniform = bool(found.all(dim=2).any(dim=1).all())
    same = len(held) >= len(needed) and bool((held[: len(needed), :lanes, :warps] == needed).all())
    return Conversion("identity" if same else "permute", uniform, *((0, 0) if uniform else (None, None)))


def permute_contraction(layout: LinearMap, order: tuple[int, ...], name: str = "k") -> LinearMap:
    """The operand's layout when the product runs over its contraction index in another order: bit i of `name` becomes bit order[i].

    A product does not care in which order it is summed, so this is free if both operands are permuted alike. Raises LayoutError if
    `order` is no permutation of the bits of `name`.
    """
    dims = ((name, dict(layout.outputs).get(name, 0)),)
    turned = LinearMap.identity(dims).permute_input(name, order)
    others = tuple(dim for dim in layout.outputs if dim[0] != name)
    whole = LinearMap.identity(others).product(turned).order_like(LinearMap.identity(layout.outputs))
    return layout.then(whole)


def find_contraction(source: LinearMap, target: LinearMap, name: str = "k") -> tuple[tuple[int, ...], Conversion]:
    """The order of the contraction's bits (see `permute_contraction`, applied to `target`) with which the conversion is cheapest.

    All orders of bits are tried, the natural one first, so that it is kept where nothing is gained. Cheaper: an earlier kind, then
    uniform, then fewer exchanges. Of k = 2**b indices only the (b!) permutations of bits are searched, not all k! of the indices.
    """
    bits = dict(target.outputs).get(name, 0)
    best: tuple[tuple[int, ...], Conversion] | None = None
    for order in itertools.permutations(range(bits)):
        found = classify_linear(source, permute_contraction(target, order, name))
        if best is None or cost_order(found) < cost_order(best[1]):
            best = (order, found)
        if found.is_free:
            break
    assert best is not None
    return best


def contraction_indices(order: tuple[int, ...]) -> list[int]:
    """The order of bits as an order of indices: which index of the tensor the instruction's k = 0, 1, 2, ... takes."""
    return [sum((k >> bit & 1) << place for bit, place in enumerate(order)) for k in range(1 << len(order))]


def cost_order(found: Conversion) -> tuple[int, bool, int]:
    """What to sort conversions by where no costs are measured: cheaper first."""
    return KINDS.index(found.kind), not found.uniform, 99 if found.exchanges is None else found.exchanges


def _as_map(layout: Layout | LinearMap) -> LinearMap | None:
    if isinstance(layout, LinearMap):
        return layout
    return layout.linear if layout.is_linear else None


def _as_layout(layout: Layout | LinearMap) -> Layout:
    return Layout.of(layout) if isinstance(layout, LinearMap) else layout


def _matched(source: LinearMap, target: LinearMap) -> tuple[LinearMap, LinearMap]:
    """Both with the inputs register, lane, warp and the outputs in one order."""
    if dict(source.outputs) != dict(target.outputs):
        raise LayoutError(f"layouts of different tiles, {source.outputs} and {target.outputs}, are not converted into each other")
    for found in (source, target):
        if unknown := {name for name, _ in found.inputs} - set(_DIMS):
            raise LayoutError(f"a layout in registers has the inputs register, lane and warp, not {', '.join(sorted(unknown))}")
    if any(source.bits(name) < target.bits(name) for name in ("lane", "warp")):
        raise LayoutError("the target layout has more lanes or warps than the source layout")
    return source.restrict(*_DIMS), target.restrict(*_DIMS).order_outputs(*(name for name, _ in source.outputs))


def _permuted(cycles: tuple[tuple[str, ...], ...]) -> Conversion:
    """A shuffle by rings. A ring that passes through registers can be cut there for free: it costs as many exchanges as it has lanes."""
    exchanges = crossings = 0
    for ring in cycles:
        lanes = [bit.startswith("lane") for bit in ring]
        exchanges += sum(lanes) - all(lanes)
        crossings += sum(after and not before for before, after in zip(lanes, [*lanes[1:], lanes[0]], strict=True))
    return Conversion("shuffle", False, exchanges, crossings, cycles)


def _cycles(source: LinearMap, target: LinearMap) -> tuple[tuple[str, ...], ...] | None:
    """How bits of the place are permuted, as rings of those in which a lane takes part; None if they are not simply permuted."""
    if source.inputs != target.inputs or source.images("warp") != target.images("warp"):
        return None
    names = [f"{name}{bit}" for name, bits in source.inputs for bit in range(bits)]
    if len(set(source.columns)) != len(names) or sorted(source.columns) != sorted(target.columns) or 0 in source.columns:
        return None
    goes = {names[index]: names[target.columns.index(column)] for index, column in enumerate(source.columns)}
    rings = []
    while goes:
        ring = [next(iter(goes))]
        while (following := goes.pop(ring[-1])) != ring[0]:
            ring.append(following)
        if len(ring) > 1 and any(name.startswith("lane") for name in ring):
            rings.append(tuple(ring))
    return tuple(rings)


def _table(layout: Layout) -> torch.Tensor:
    """Row-major element numbers, int64 [registers, lanes, warps]."""
    names = [name for name, _ in layout.inputs]
    if unknown := set(names) - set(_DIMS):
        raise LayoutError(f"a layout in registers has the inputs register, lane and warp, not {', '.join(sorted(unknown))}")
    element = torch.zeros([extent for _, extent in layout.inputs], dtype=torch.int64)
    for position, (_, extent) in enumerate(layout.outputs):
        element = element * extent + layout.to_table()[..., position]
    order = [names.index(name) for name in _DIMS if name in names]
    element = element.permute(order)
    for axis, name in enumerate(_DIMS):
        if name not in names:
            element = element.unsqueeze(axis)
    return element
