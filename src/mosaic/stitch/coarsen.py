"""A block takes over the work of several, one after the other.

before   for bx in blocks(12):                        T.copy(X[bx * 16, 0], tile); ...
after    for bx in blocks(3):  for turn in range(4):  T.copy(X[(bx * 4 + turn) * 16, 0], tile); ...

A consumer with small tiles can so host a producer with large ones: the producer's tile is computed
once before the loop, and each turn reads a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx

from mosaic.stitch.legality import Refusal, check_dynamic_shapes, check_features
from mosaic.tiles.anatomy import assemble, dissect, sequence
from mosaic.tiles.program import Axis, TileProgram
from mosaic.tiles.read import read
from mosaic.tiles.rewrite import Rewriter


def check_coarsen(program: TileProgram) -> Refusal | None:
    """The body may run several times in a block."""
    return check_dynamic_shapes(program) or check_features(program, repeated=True)


def coarsen_axes(program: TileProgram, factors: Sequence[int]) -> TileProgram | Refusal:
    """`program` with `factors[n]` blocks along its n-th grid axis run by one; the axes beyond them stay as they are."""
    for position, factor in enumerate(factors):
        if factor == 1:
            continue
        if refusal := check_coarsen(program):
            return refusal
        extent = program.grid[position].extent
        if not isinstance(extent, int) or extent < factor:
            return Refusal("block-map", f"{program.name} has {extent} blocks along {program.grid[position].var.name}, fewer than {factor}")
        program = read(coarsen(program, program.grid[position], factor))
    return program


def coarsen(program: TileProgram, axis: Axis, factor: int) -> Any:
    """The PrimFunc of `program` with `factor` blocks along `axis` run by one. The caller has asked `check_coarsen`."""
    anatomy = dissect(program.func)
    old = next(loop for loop in anatomy.grid if hash(loop.loop_var) == axis.var.key)
    number = tirx.IntImm("int32", factor)
    turn = tirx.Var(f"{axis.var.name}_turn", "int32")
    rewriter = Rewriter({}, {b: b for b in anatomy.func.buffer_map.values()})
    grid = []
    for loop in anatomy.grid:
        block = tirx.Var(str(loop.loop_var.name), loop.loop_var.dtype)
        extent = loop.extent
        if loop.same_as(old):
            extent = tirx.IntImm("int32", -(-int(extent) // factor))
            rewriter.variables[loop.loop_var] = block * number + turn
        else:
            rewriter.variables[loop.loop_var] = block
        grid.append(tirx.For(block, loop.min, extent, loop.kind, loop.body, loop.thread_binding, loop.annotations))
    allocations = [rewriter.copy_buffer(b) for b in anatomy.allocations]
    body = sequence([rewriter.stmt(stmt) for stmt in anatomy.body])
    if int(old.extent) % factor:  # what a block does is known for the blocks there are
        body = tirx.IfThenElse(rewriter.variables[old.loop_var] < old.extent, body, None)
    looped = tirx.For(turn, tirx.IntImm("int32", 0), number, tirx.ForKind.SERIAL, body)
    params = [(p, anatomy.func.buffer_map[p]) for p in anatomy.func.params]
    notes = rewriter.annotations(anatomy.block.annotations)
    return assemble(anatomy, params=params, body=[looped], allocations=allocations, annotations=notes, grid=grid)
