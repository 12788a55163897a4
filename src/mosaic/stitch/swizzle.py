"""Stages in shared memory swizzled: tiles that one side writes as a product leaves them, and the other reads in rows.

before   tile = T.alloc_shared((128, 128), "float16")     a row is 256 bytes: eight rows' pieces of a column lie in the same four banks
after    T.annotate_layout({tile: (i, j) -> (i, swizzled_column(128, 2, i, j))}), and no two of them lie in one

Chunks of 16 bytes stay whole, so that accesses stay as wide as they were. What a product, a bulk copy or a load ahead touches keeps the
layout that TileLang finds for it: their hardware has swizzles of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import tilelang
from tvm.tirx.stmt_functor import post_order_visit

from mosaic.dtypes import DTYPES
from mosaic.layouts.swizzle import swizzled_column, widest
from mosaic.layouts.write import ANNOTATION, annotate
from mosaic.tiles.anatomy import dissect
from mosaic.tiles.nodes import is_region, op_name

_FRAGMENT: Final = "local.fragment"
_OPERATORS: Final = "tl.tileop."
_READ, _WRITE = 1, 2  # bits of a region's mode


@dataclass(frozen=True)
class _Operator:
    """A tile operator, or one element-wise statement ("map"): the buffers it reads and writes."""

    name: str
    reads: tuple[Any, ...]
    writes: tuple[Any, ...]

    def touches(self, buffer: Any) -> bool:
        return _holds((*self.reads, *self.writes), buffer)

    @property
    def is_by_threads(self) -> bool:
        """Whether each thread does it by loads and stores of its own; a copy without a fragment at either end may be the hardware's."""
        copies = self.name == "copy" and any(str(buffer.scope()) == _FRAGMENT for buffer in (*self.reads, *self.writes))
        return self.name == "map" or copies


def swizzled(func: Any) -> Any:
    """The kernel with its stages swizzled; as it was if it has none. Buffers with a layout already stay as they are."""
    layouts = {name: layout(buffer) for name, buffer in stages(func).items()}
    return annotate(func, layouts) if layouts else func


def stages(func: Any) -> dict[str, Any]:
    """The shared matrices that a product's tile is written to, and that nothing but threads touch, by name."""
    anatomy = dissect(func)
    operators = _operators(func)
    tiles = _tiles(operators)
    names = [str(buffer.name) for buffer in anatomy.allocations]
    given = list(anatomy.block.annotations.get(ANNOTATION, {}))
    found: dict[str, Any] = {}
    for buffer in anatomy.allocations:
        name, touching = str(buffer.name), [op for op in operators if op.touches(buffer)]
        if not str(buffer.scope()).startswith("shared") or len(buffer.shape) != 2 or names.count(name) > 1:
            continue
        if any(pointer.same_as(buffer.data) for pointer in given) or not all(op.is_by_threads for op in touching):
            continue
        written = any(_holds(op.writes, buffer) and any(_holds(tiles, read) for read in op.reads) for op in touching)
        if written and widest(int(buffer.shape[1]) * DTYPES[str(buffer.dtype)].bits // 8):
            found[name] = buffer
    return found


def layout(buffer: Any) -> Any:
    """The swizzled layout of a matrix in shared memory, as TileLang takes it."""
    size = DTYPES[str(buffer.dtype)].bits // 8
    mode = widest(int(buffer.shape[1]) * size)
    return tilelang.layout.Layout([int(n) for n in buffer.shape], lambda i, j: [i, swizzled_column(mode, size, i, j)])


def _tiles(operators: Sequence[_Operator]) -> list[Any]:
    """Fragments that lie as a product leaves its tile: its own, and what is made of it element by element."""
    found: list[Any] = []
    for op in operators:
        if op.name == "gemm" or (op.is_by_threads and any(_holds(found, read) for read in op.reads)):
            found += [buffer for buffer in op.writes if str(buffer.scope()) == _FRAGMENT]
    return found


def _operators(func: Any) -> list[_Operator]:
    """In the order of the text."""
    found: list[_Operator] = []

    def visit(node: Any) -> None:
        if type(node).__name__ == "BufferStore":
            found.append(_Operator("map", tuple(_loads(node.value)), (node.buffer,)))
        elif type(node).__name__ == "Call" and op_name(node).startswith(_OPERATORS):
            regions = [(arg.args[0].buffer, int(arg.args[1])) for arg in node.args if is_region(arg)]
            reads, writes = (tuple(buffer for buffer, mode in regions if mode & bit) for bit in (_READ, _WRITE))
            found.append(_Operator(op_name(node).removeprefix(_OPERATORS), reads, writes))

    post_order_visit(func.body, visit)
    return found


def _loads(value: Any) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if type(node).__name__ == "BufferLoad":
            found.append(node.buffer)

    post_order_visit(value, visit)
    return found


def _holds(buffers: Sequence[Any], buffer: Any) -> bool:
    return any(other.same_as(buffer) for other in buffers)
