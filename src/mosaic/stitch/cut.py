"""A kernel with its fragments as `versions` says: each version a buffer of its own, each handover a call of a device function."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import tilelang.language as T
import tvm
from tvm import tirx

from mosaic.errors import ReadError
from mosaic.layouts.write import ANNOTATION, grid
from mosaic.stitch.uses import FRAGMENT, Scope
from mosaic.stitch.versions import Handover, Version, Versions, Where
from mosaic.tiles.anatomy import assemble, dissect, sequence
from mosaic.tiles.rewrite import Rewriter

CALL: Final = "mosaic_convert_"
"""What the names of conversions start with; a number follows, and perhaps how the contraction is permuted (`contraction.Order.suffix`)."""

SOURCE: Final = "pragma_import_c"
"""The annotation of the root block whose text TileLang puts before the source that it emits."""


_MATRIX: Final = 2  # dims


class _Cutter(Rewriter):
    """Rebuilds statements with each operator's own versions, and the handovers where they belong."""

    def __init__(self, found: Versions, stages: Mapping[int, int], suffixes: Mapping[int, str]) -> None:
        super().__init__()
        self.found, self.suffixes = found, suffixes
        self.operators = {operator.node: uses for operator, uses in found.uses.items()}
        self.made: dict[Version, Any] = {}
        self.extra: list[Any] = []
        self.places: dict[tuple[Any, Where], list[Any]] = {}
        self.calls = [self._call(number, handover, stages.get(number)) for number, handover in enumerate(found.handovers)]

    def fragments(self, buffer: Any, names: set[str]) -> list[Any]:
        """The buffers of a fragment's versions, with names that no other buffer has; the first, or the annotated one, stands for it."""
        versions = self.found.of.get(buffer) or []
        keeps = next((v for v in versions if v.anchor is not None and v.anchor[0] == "annotated"), versions[0] if versions else None)
        made = []
        for version in [keeps, *(v for v in versions if v is not keeps)]:
            name = _unused(str(buffer.name) if version is keeps else f"{buffer.name}_as", names)
            if version is keeps and name == str(buffer.name):
                new = self.buffers[buffer] = buffer
            elif version is keeps:
                new = self.copy_buffer(buffer, name)
            else:
                data = tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(str(buffer.dtype)), FRAGMENT))
                new = tirx.decl_buffer(list(buffer.shape), buffer.dtype, name, data=data, scope=FRAGMENT)
            if version is not None:
                self.made[version] = new
            made.append(new)
        return made

    def _call(self, number: int, handover: Handover, stage_bytes: int | None) -> Any:
        """Made before the buffers are: filled in by `place_calls`."""
        stage = None
        if stage_bytes is not None:
            data = tirx.Var(f"conversion_stage_{number}", tvm.ir.PointerType(tvm.ir.PrimType("uint8"), "shared.dyn"))
            stage = tirx.decl_buffer([stage_bytes], "uint8", f"conversion_stage_{number}", data=data, scope="shared.dyn")
            self.extra.append(stage)
        return handover, number, stage

    def grids(self, threads: int) -> dict[Any, Any]:
        """Layouts, by pointer, for the matrices of reductions that have versions of their own."""
        own = {
            version: [int(extent) for extent in buffer.shape]
            for operator, uses in self.found.uses.items()
            for buffer, version in uses.items()
            if operator.kind == "reduce" and version.anchor is not None and version.anchor[0] == "matrix"
        }
        return {self.made[version].data: grid(shape[0], shape[1], threads) for version, shape in own.items() if len(shape) == _MATRIX}

    def place_calls(self) -> None:
        for handover, number, stage in self.calls:
            pointers = [self.made[handover.source].data, self.made[handover.target].data]
            pointers += [] if stage is None else [stage.data]
            call = tirx.Evaluate(T.call_extern("handle", f"{CALL}{number}{self.suffixes.get(number, '')}", *pointers))
            calls = [call] if stage is None else [call, tirx.Evaluate(T.sync_threads())]  # others may use its memory next
            self.places.setdefault((handover.place.node, handover.where), []).extend(calls)

    def stmt(self, node: Any) -> Any:
        before, after = self.places.get((node, "before"), []), self.places.get((node, "after"), [])
        uses = self.operators.get(node, {})
        if not uses and not before and not after:
            return self._inner(node)
        saved = dict(self.buffers), dict(self.variables)
        for buffer, version in uses.items():
            self.buffers[buffer] = self.made[version]
        done = self._inner(node)
        for buffer in uses:
            self.buffers[buffer] = saved[0][buffer]
        return sequence([*before, done, *after])

    def _inner(self, node: Any) -> Any:
        if type(node).__name__ == "IfThenElse":
            otherwise = None if node.else_case is None else self._body(node.else_case, node.else_case)
            return tirx.IfThenElse(self.expr(node.condition), self._body(node.then_case, node.then_case), otherwise)
        return super().stmt(node)

    def _body(self, body: Any, place: Any) -> Any:
        ends = self.places.get((place, "end"), [])
        return sequence([self.stmt(body), *ends])

    def loop(self, node: Any) -> Any:
        low, extent = self.expr(node.min), self.expr(node.extent)
        loop_var = self.define(node.loop_var)
        notes = self.annotations(node.annotations)
        return tirx.For(loop_var, low, extent, node.kind, self._body(node.body, node), node.thread_binding, notes, node.step)


def cut(
    func: Any,
    root: Scope,
    found: Versions,
    *,
    stages: Mapping[int, int] | None = None,
    text: str = "",
    grids: bool = False,
    suffixes: Mapping[int, str] | None = None,
) -> tuple[Any, list[tuple[str, str]]]:
    """The kernel with its versions and handovers; of each handover the names of its two buffers.

    Handover number n calls `mosaic_convert_n(source, target[, stage])`, with a stage of `stages[n]` bytes where there is one. `text`: what
    the functions are, put before the emitted source. grids: matrices that only a reduction has get a layout that can be reduced. suffixes:
    what some handovers' names end with.
    Raises ReadError for a program that can't be rebuilt.
    """
    _check_distinct(root)
    anatomy = dissect(func)
    cutter = _Cutter(found, stages or {}, suffixes or {})
    names = {str(buffer.name) for buffer in func.buffer_map.values()}
    allocations: list[Any] = []
    for buffer in anatomy.allocations:
        if str(buffer.scope()) == FRAGMENT:
            allocations += cutter.fragments(buffer, names)
        else:
            names.add(str(buffer.name))
            allocations.append(buffer)
    missing = [str(buffer.name) for buffer in found.of if not any(buffer.same_as(known) for known in anatomy.allocations)]
    if missing:
        raise ReadError(f"the fragment {missing[0]} is allocated within the kernel's body, where it can't be cut")
    cutter.place_calls()
    body = [cutter.stmt(stmt) for stmt in anatomy.body]
    notes = cutter.annotations(anatomy.block.annotations)
    if text:
        notes[SOURCE] = f"{text}\n{notes[SOURCE]}" if SOURCE in notes else text
    if grids:
        notes[ANNOTATION] = dict(notes.get(ANNOTATION, {})) | cutter.grids(math.prod(anatomy.threads))
    params = [(handle, func.buffer_map[handle]) for handle in func.params if handle in func.buffer_map]
    if len(params) != len(func.params):
        raise ReadError("a kernel with parameters that are no tensors can't be rebuilt with conversions")
    changed = assemble(anatomy, params=params, body=body, allocations=[*allocations, *cutter.extra], annotations=notes)
    return changed, [(str(cutter.made[h.source].name), str(cutter.made[h.target].name)) for h in found.handovers]


def _check_distinct(root: Scope) -> None:
    nodes: Sequence[Any] = [operator.node for operator in root.operators()]
    if len({hash(node) for node in nodes}) != len(nodes):
        raise ReadError("a statement stands at two places of the kernel as one object, which can't be cut")


def _unused(name: str, names: set[str]) -> str:
    found, number = name, 1
    while found in names:
        number += 1
        found = f"{name}_{number}"
    names.add(found)
    return found
