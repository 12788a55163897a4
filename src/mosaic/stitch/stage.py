"""Stages: on-chip buffers that stand in for a part of a tensor, and the rewriting of accesses to that part.

before   T.copy(acc, X[by * 64, bx * 32])
after    T.copy(acc, X_stage[0, 0])           the stage holds X from (by * 64, bx * 32) on
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import tilelang  # noqa: F401  (puts its own tvm on the path)
import tvm
from tvm import tirx

from mosaic.stitch.attach import Handover
from mosaic.tiles.anatomy import Anatomy
from mosaic.tiles.rewrite import Rewriter

Scope = Literal["shared", "register"]

_SCOPES: Final[dict[Scope, str]] = {"shared": "shared.dyn", "register": "local.fragment"}


def constant(value: int) -> Any:
    return tirx.IntImm("int32", value)


@dataclass(frozen=True)
class Stage:
    """A stage buffer, and its base in each dim as TIR expressions of the stitched kernel."""

    handover: Handover
    buffer: Any
    base: tuple[Any, ...]

    def indices(self, indices: Sequence[Any]) -> list[Any]:
        """Indices of the tensor -> indices of the stage."""
        simplify = tvm.arith.Analyzer().simplify
        return [simplify(indices[d] - self.base[d]) for d in self.handover.kept_dims]

    @staticmethod
    def allocate(handover: Handover, scope: Scope) -> Any:
        """A new buffer for a stage."""
        shape = [handover.shape[d] for d in handover.kept_dims]
        pointer = tvm.ir.PointerType(tvm.ir.PrimType(handover.dtype), _SCOPES[scope])
        name = f"{handover.tensor}_stage"
        return tirx.decl_buffer(shape, handover.dtype, name, data=tirx.Var(name, pointer), scope=_SCOPES[scope])

    def region(self, node: Any, indices: Sequence[Any], extents: Sequence[Any]) -> Any:
        """The region `node` of the tensor, as a region of the stage."""
        load = tirx.BufferLoad(self.buffer, self.indices(indices))
        return tirx.Call(node.dtype, node.op, [load, node.args[1], *[extents[d] for d in self.handover.kept_dims]], node.annotations)

    def mask(self, tensor: Any, safe: Any) -> list[Any]:
        """Statements that set what lies beyond the tensor (a buffer) to what a load from device memory would give there."""
        if not self.handover.masked:
            return []
        loop_vars = {d: tirx.Var(f"i{d}", "int32") for d in self.handover.kept_dims}
        inside: Any = None
        for d, size in enumerate(tensor.shape):
            index = self.base[d] + loop_vars[d] if d in loop_vars else self.base[d]
            test = index < size
            inside = test if inside is None else tirx.And(inside, test)
        node: Any = tirx.IfThenElse(tirx.Not(inside), tirx.BufferStore(self.buffer, safe, list(loop_vars.values())), None)
        for d in reversed(self.handover.kept_dims):
            node = tirx.For(loop_vars[d], constant(0), constant(self.handover.shape[d]), tirx.ForKind.PARALLEL, node)
        return [node]


class StageRewriter(Rewriter):
    """Sends the accesses to some tensors to their stages."""

    def __init__(self, variables: Mapping[Any, Any], buffers: Mapping[Any, Any]) -> None:
        super().__init__(variables, buffers)
        self.stages: dict[Any, Stage] = {}

    def load(self, node: Any) -> Any:
        stage = self.stages.get(node.buffer)
        return super().load(node) if stage is None else tirx.BufferLoad(stage.buffer, stage.indices(self.exprs(node.indices)))

    def store(self, node: Any) -> Any:
        stage = self.stages.get(node.buffer)
        if stage is None:
            return super().store(node)
        return tirx.BufferStore(stage.buffer, self.expr(node.value), stage.indices(self.exprs(node.indices)))

    def region(self, node: Any) -> Any:
        load = node.args[0]
        stage = self.stages.get(load.buffer)
        if stage is None:
            return super().region(node)
        missing = len(load.indices) - (len(node.args) - 2)
        extents = [constant(1)] * missing + self.exprs(node.args[2:])
        return stage.region(node, self.exprs(load.indices), extents)


def safe_value(anatomy: Anatomy, buffer: Any) -> Any:
    """What a load beyond a tensor's edge gives: what its kernel says (`T.annotate_safe_value`), or 0."""
    found: Any = 0
    for pointer, value in anatomy.block.annotations.get("safe_value_map", {}).items():
        if pointer.same_as(buffer.data):
            found = value
    if isinstance(found, tirx.PrimExpr):
        return found if str(found.dtype) == str(buffer.dtype) else tirx.Cast(buffer.dtype, found)
    return tirx.FloatImm(buffer.dtype, float(found)) if "float" in str(buffer.dtype) else tirx.IntImm(buffer.dtype, int(found))
