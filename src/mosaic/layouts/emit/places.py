"""Register layouts as plain numbers: which element each register of each thread holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch

from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError, LinearMap

DIMS: Final = ("register", "lane", "warp")


@dataclass(frozen=True)
class Places:
    """Row-major element numbers, `elements[register][thread]`; thread = warp · lanes + lane, lanes counted as the hardware has them.

    None: this thread is not part of the layout. `extents` are those of the tile. `linear`: the same as a map of register, lane and warp
    to one dim `element`, where it is linear in the layout's own dims.
    """

    elements: tuple[tuple[int | None, ...], ...]
    warp_size: int
    extents: tuple[int, ...]
    linear: LinearMap | None

    @property
    def registers(self) -> int:
        return len(self.elements)

    @property
    def threads(self) -> int:
        return len(self.elements[0])

    @property
    def warps(self) -> int:
        return self.threads // self.warp_size

    @cached_property
    def lanes(self) -> int:
        """Lanes that take part."""
        return sum(element is not None for element in self.elements[0][: self.warp_size])

    @staticmethod
    def of(layout: Layout | LinearMap, warp_size: int) -> Places:
        """Raises LayoutError for inputs other than register, lane and warp, or more lanes than a warp has."""
        found = Layout.of(layout) if isinstance(layout, LinearMap) else layout
        table = element_table(found)
        lanes = table.shape[1]
        if lanes > warp_size:
            raise LayoutError(f"a layout of {lanes} lanes does not fit warps of {warp_size}")
        numbers = table.permute(0, 2, 1).tolist()
        rest = [None] * (warp_size - lanes)
        elements = tuple(tuple(number for row in rows for number in (*row, *rest)) for rows in numbers)
        return Places(elements, warp_size, tuple(extent for _, extent in found.outputs), _one_dim(found) if found.is_linear else None)


def element_table(layout: Layout) -> torch.Tensor:
    """Row-major element numbers, int64 [registers, lanes, warps]; a dim that is missing has one index."""
    names = [name for name, _ in layout.inputs]
    if unknown := set(names) - set(DIMS):
        raise LayoutError(f"a layout in registers has the inputs register, lane and warp, not {', '.join(sorted(unknown))}")
    values = layout.to_table()
    element = torch.zeros(values.shape[:-1], dtype=torch.int64)
    for position, (_, extent) in enumerate(layout.outputs):
        element = element * extent + values[..., position]
    element = element.permute([names.index(name) for name in DIMS if name in names])
    for axis, name in enumerate(DIMS):
        if name not in names:
            element = element.unsqueeze(axis)
    return element


def _one_dim(layout: Layout) -> LinearMap:
    """The layout's linear map with its outputs as one dim, the last one in the lowest bits: row-major numbers."""
    found = layout.linear.restrict(*DIMS).order_outputs(*(name for name, _ in reversed(layout.outputs)))
    return found.reshape(outputs=(("element", found.output_bits),))
