"""Kernels that do not depend on each other share one launch: their grids stand one behind the other.

before   q: blocks(6, 4)    k: blocks(6, 4)
after    blocks(48):  if block < 24:  q's body with bx = block % 6, by = block // 6
                      else:           k's body with bx = (block - 24) % 6, ...

Nothing is handed over; what is saved is launches, and blocks of a small grid that fill a device
together which each alone would not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx

from mosaic.stitch.legality import Refusal, check_dynamic_shapes, check_features
from mosaic.tiles.anatomy import Anatomy, assemble, dissect, sequence
from mosaic.tiles.program import TileProgram
from mosaic.tiles.rewrite import Rewriter


def check_concatenate(programs: Sequence[TileProgram]) -> Refusal | None:
    """No tensor that one writes is touched by another, bodies are plain, blocks have the same threads."""
    for program in programs:
        if refusal := check_dynamic_shapes(program) or check_features(program, repeated=True):
            return refusal
    if len(threads := {p.thread_count for p in programs}) > 1:
        return Refusal("thread-count", f"blocks of {' and '.join(map(str, sorted(threads)))} threads can't share a launch")
    for program in programs:
        for other in programs:
            if program is other:
                continue
            touched = {p.name for p in other.params}
            if hit := next((p.name for p in program.params if p.mode != "read" and p.name in touched), None):
                return Refusal("aliasing", f"{hit} is written by {program.name} and touched by {other.name}")
    return None


def concatenate(programs: Sequence[TileProgram], *, name: str | None = None) -> Any:
    """One PrimFunc that does the work of all. The caller has asked `check_concatenate`."""
    parts = [dissect(p.func) for p in programs]
    frame = parts[0]
    first = frame.grid[0]
    block = tirx.Var("bx", first.loop_var.dtype)
    params: dict[str, tuple[Any, Any]] = {}
    for part in parts:
        for handle, buffer in part.func.buffer_map.items():
            params.setdefault(str(buffer.name), (handle, buffer))
    written = {p.name for program in programs for p in program.params if p.mode != "read"}
    ordered = [pair for _, pair in sorted(params.items(), key=lambda item: item[0] in written)]

    allocations: list[Any] = []
    notes: dict[str, Any] = {}
    bodies: list[tuple[int, Any]] = []
    end = 0
    for part, program in zip(parts, programs, strict=True):
        rewriter = _Part({b: params[str(b.name)][1] for b in part.func.buffer_map.values()})
        for mine, theirs in zip(part.thread_vars, frame.thread_vars, strict=False):
            rewriter.variables[mine] = theirs
        _decode(part, rewriter, block - tirx.IntImm("int32", end) if end else block)
        allocations += _share(part, rewriter, allocations)
        bodies.append((end, sequence([rewriter.stmt(stmt) for stmt in part.body])))
        for key, value in rewriter.annotations(part.block.annotations).items():
            notes[key] = {**notes[key], **value} if key in notes and isinstance(value, dict) else value
        end += program.blocks
    node = bodies[-1][1]
    for start, body in reversed(bodies[:-1]):
        following = next(s for s, _ in bodies if s > start)
        node = tirx.IfThenElse(block < tirx.IntImm("int32", following), body, node)
    thread = tirx.IterVar(None, tirx.Var("blockIdx_x", "int32"), first.thread_binding.iter_type, "blockIdx.x")
    grid = [tirx.For(block, first.min, tirx.IntImm("int32", end), first.kind, first.body, thread, first.annotations)]
    func = assemble(frame, params=ordered, body=[node], allocations=allocations, annotations=notes, grid=grid)
    return func.with_attr("global_symbol", name or "_".join(p.name for p in programs))


def _share(part: Anatomy, rewriter: Rewriter, pool: Sequence[Any]) -> list[Any]:
    """The part's allocations: a block runs one part only, so they take the place of like ones in `pool`; returns what is new."""
    free = list(pool)
    new = []
    for buffer in part.allocations:
        like = next((b for b in free if _alike(b, buffer)), None)
        if like is None:
            new.append(rewriter.copy_buffer(buffer))
        else:
            free = [b for b in free if not b.same_as(like)]
            rewriter.buffers[buffer] = like
            rewriter.variables[buffer.data] = like.data
    return new


def _alike(one: Any, other: Any) -> bool:
    shapes = [[int(size) for size in b.shape] for b in (one, other)]
    return shapes[0] == shapes[1] and one.dtype == other.dtype and str(one.scope()) == str(other.scope())


class _Part(Rewriter):
    def __init__(self, buffers: dict[Any, Any]) -> None:
        super().__init__({}, buffers)

    def stmt(self, node: Any) -> Any:
        # A hint on the order of blocks speaks of the part's own grid.
        if type(node).__name__ == "AttrStmt" and str(node.attr_key) == "threadblock_swizzle_pattern":
            return self.stmt(node.body)
        return super().stmt(node)


def _decode(part: Anatomy, rewriter: Rewriter, index: Any) -> None:
    """The part's block indices out of its linear one, the first axis fastest, as a device counts blocks."""
    stride = 1
    sizes = [int(loop.extent) for loop in part.grid]
    for loop, size in zip(part.grid, sizes, strict=True):
        value = tirx.floordiv(index, tirx.IntImm("int32", stride)) if stride > 1 else index
        if stride * size < math.prod(sizes):
            value = tirx.floormod(value, tirx.IntImm("int32", size))
        rewriter.variables[loop.loop_var] = value if size > 1 else tirx.IntImm("int32", 0)
        stride *= size
