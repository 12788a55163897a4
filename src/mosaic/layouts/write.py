"""Writing layouts into a kernel: annotations that TileLang's layout inference then starts from.

TileLang takes an annotation as it is, also one that contradicts what an instruction does to the fragment (tilelang issue 2642: the program
lowers, and computes something else). So what is written is read back: `contradiction` compares what was asked with what is inferred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tilelang
import torch

from mosaic.errors import ReadError
from mosaic.layouts.read import LayoutTable, table
from mosaic.tiles.anatomy import assemble, dissect

ANNOTATION = "layout_map"
_LANES = 32
_VECTOR_BYTES = 16  # the widest access to memory of one thread


def annotate(func: Any, layouts: Mapping[str, Any]) -> Any:
    """The kernel with these layouts (TileLang's `Layout` or `Fragment`) for its on-chip buffers, by name; those it has already stay.

    Raises ReadError for a name that no buffer or more than one has, or a layout of another shape.
    """
    anatomy = dissect(func)
    found = dict(anatomy.block.annotations.get(ANNOTATION, {}))
    for name, layout in layouts.items():
        named = [buffer for buffer in anatomy.allocations if str(buffer.name) == name]
        if len(named) != 1:
            raise ReadError(f"{len(named) or 'no'} on-chip buffers of the kernel are called {name}; a layout is given to one")
        shape, wanted = [int(n) for n in named[0].shape], [int(n) for n in layout.get_input_shape()]
        if shape != wanted:
            raise ReadError(f"the layout for {name} is of the shape {wanted}, and {name} of {shape}")
        found[named[0].data] = layout
    notes = {str(key): value for key, value in anatomy.block.annotations.items()} | {ANNOTATION: found}
    params = [(handle, func.buffer_map[handle]) for handle in func.params if handle in func.buffer_map]
    return assemble(anatomy, params=params, body=anatomy.body, allocations=anatomy.allocations, annotations=notes)


def spread(shape: Sequence[int], bits: int, threads: int) -> Any:
    """A TileLang Fragment of a tile over as many of a block's threads as divide it evenly, neighbours in one thread as far as vectors go.

    TileLang itself finds none for 192 elements on 128 threads: here 96 of them hold two each, and the rest nothing.
    """
    elements = math.prod(shape)
    used = max(count for count in range(1, threads + 1) if elements % count == 0)
    vector = math.gcd(elements // used, max(1, _VECTOR_BYTES * 8 // bits))

    def place(*indices: Any) -> tuple[Any, Any]:
        flat: Any = 0
        for index, extent in zip(indices, shape, strict=True):
            flat = flat * extent + index
        return flat // vector % used, flat // (vector * used) * vector + flat % vector

    return tilelang.layout.Fragment(list(shape), forward_fn=place)


def grid(rows: int, columns: int, threads: int) -> Any:
    """A TileLang Fragment of a matrix over a grid of threads, up to 32 along a row, so that both of its dims can be reduced.

    Powers of two along each dim, as reductions exchange between lanes: of 64 x 80 elements on 128 threads, 8 x 16 threads hold 8 x 5 each.
    """
    along, down = 1, 1
    while columns % (along * 2) == 0 and along * 2 <= min(_LANES, threads):
        along *= 2
    while rows % (down * 2) == 0 and down * 2 * along <= threads:
        down *= 2
    each = columns // along
    return tilelang.layout.Fragment([rows, columns], forward_fn=lambda i, j: (i % down * along + j % along, i // down * each + j // along))


def contradiction(asked: Mapping[str, Any], inferred: Mapping[str, LayoutTable]) -> str | None:
    """Which of the layouts that were asked for TileLang did not take, in a sentence; None if it took all of them."""
    for name, layout in asked.items():
        wanted, found = table(name, layout), inferred.get(name)
        if found is None:
            return f"TileLang infers no layout for {name}, which was given one"
        for part in ("thread", "register", "offset"):
            mine, theirs = getattr(wanted, part), getattr(found, part)
            if (mine is None) != (theirs is None) or (mine is not None and not torch.equal(mine, theirs)):
                return f"the layout given to {name} ({wanted.expression}) contradicts its uses, which need {found.expression}"
    return None
