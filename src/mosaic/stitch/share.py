"""Buffers of the same kind that are never alive together become one.

before   stage0 | write, read |                      three stages of 48 KB
         stage1        | write, read |
         stage2               | write, read |
after    stage0, stage1, and stage0 again            two

A chain of element-wise kernels leaves a stage at each border; TileLang gives each a place of its own in shared memory.
Buffers that a pipelined loop touches are left alone: it keeps several versions of them.
"""

from __future__ import annotations

from typing import Any

from mosaic.tiles.anatomy import assemble, dissect
from mosaic.tiles.program import OnChip, TileProgram
from mosaic.tiles.rewrite import Rewriter


def _alike(one: OnChip, other: OnChip) -> bool:
    return (one.shape, one.dtype, one.scope) == (other.shape, other.dtype, other.scope)


def shareable(program: TileProgram) -> dict[int, int]:
    """Which buffer can take the place of which, by key: greedy in the order in which they become alive."""
    keys = [b.key for b in program.buffers]
    movable = [
        b
        for b in program.buffers
        if b.scope.startswith("shared")
        and not b.pipelined
        and b.key in program.live
        and keys.count(b.key) == 1
        and "barrier" not in b.scope
    ]
    places: list[tuple[OnChip, int]] = []
    replaced: dict[int, int] = {}
    for buffer in sorted(movable, key=lambda b: program.live[b.key]):
        first, last = program.live[buffer.key]
        for position, (place, free_after) in enumerate(places):
            if free_after < first and _alike(place, buffer):
                replaced[buffer.key] = place.key
                places[position] = (place, last)
                break
        else:
            places.append((buffer, last))
    return replaced


def share(program: TileProgram) -> Any:
    """The PrimFunc of `program` with what is shareable shared; the same PrimFunc if nothing is."""
    replaced = shareable(program)
    if not replaced:
        return program.func
    anatomy = dissect(program.func)
    if "layout_map" in anatomy.block.annotations:
        return program.func  # an annotated layout speaks of one buffer's content
    by_key = {hash(b.data): b for b in anatomy.allocations}
    buffers = {b: b for b in anatomy.func.buffer_map.values()} | {by_key[old]: by_key[new] for old, new in replaced.items()}
    rewriter = Rewriter({}, buffers)
    body = [rewriter.stmt(stmt) for stmt in anatomy.body]
    kept = [b for b in anatomy.allocations if hash(b.data) not in replaced]
    params = [(p, anatomy.func.buffer_map[p]) for p in anatomy.func.params]
    notes = rewriter.annotations(anatomy.block.annotations)
    return assemble(anatomy, params=params, body=body, allocations=kept, annotations=notes)
