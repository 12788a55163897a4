"""Loops of different extent that share a fragment, of which TileLang 0.1.15 cuts the longer ones short without a word.

    f = T.alloc_fragment((256,), "float32")
    T.copy(A, f)                              only f[0:100] is copied,
    for i in T.Parallel(100): f[i] *= 2.0     because this loop is what gives f its layout

It is tilelang's issue 2957 (open), and takes copies and fills as well as loops: of all that touch a fragment whose layout
nothing else decides, the smallest decides. Where a product, a reduction or an annotation decides, nothing is lost. What
decides is not written anywhere but in the code of layout inference, so a suspect is put to that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import tilelang
from tvm import IRModule, tirx
from tvm.target import Target

from mosaic.tiles.affine import Affine, Interval, Var, parse, var
from mosaic.tiles.anatomy import dissect
from mosaic.tiles.nodes import extent_of, is_region, op_name, operands
from mosaic.tiles.rewrite import Rewriter, rebuild

_SPREAD: Final = ("copy", "fill")
"""Tile operators that TileLang turns into parallel loops over the regions they name."""

_ARCHITECTURE: Final = {"kind": "cuda", "arch": "sm_80"}
"""Free fragments are laid out alike everywhere; this is the plainest of the targets that have any."""

Reach = dict[int, int]
"""By dim: how many elements, from 0, a loop goes through."""


def loops_cut_short(func: Any) -> Iterator[str]:
    """For each fragment that some loop would not be taken through: a sentence. Empty where TileLang refuses the program."""
    if not any(_differ(reaches) for reaches in _reaches(func).values()):
        return
    func = rebuild(dissect(func), _DistinctNames(), [(p, func.buffer_map[p]) for p in func.params])
    reaches = {str(data.name): found for data, found in _reaches(func).items()}
    for name, laid_out in sorted(_layouts(func).items()):
        most: Reach = {}
        for reach in reaches.get(name, ()):
            for d, n in reach.items():
                most[d] = max(most.get(d, 0), n)
        short = [(d, laid_out[d], n) for d, n in sorted(most.items()) if d < len(laid_out) and laid_out[d] < n]
        for d, has, wanted in short[:1]:
            label = name.rpartition("__")[0]
            yield (
                f"loops over the fragment {label} go through {has} and through {wanted} elements of dim {d}, and TileLang would stop "
                f"all of them after {has}; give them one extent and guard what is too much"
            )


class _DistinctNames(Rewriter):
    """Numbers on-chip buffers, so that they can be told apart by name where TileLang has replaced them."""

    def copy_buffer(self, old: Any, name: str | None = None) -> Any:
        return super().copy_buffer(old, f"{name or old.data.name}__{len(self.buffers)}")


def _differ(reaches: Sequence[Reach]) -> bool:
    return any(len({reach[d] for reach in reaches if d in reach}) > 1 for d in {d for reach in reaches for d in reach})


@dataclass
class _Collector:
    """How far each fragment is gone through, by its pointer, one entry an access."""

    found: dict[Any, list[Reach]] = field(default_factory=dict)
    ranges: dict[Var, Interval] = field(default_factory=dict)
    bound: dict[Var, Affine | None] = field(default_factory=dict)

    def touch(self, buffer: Any, indices: Sequence[Any], extents: Sequence[int]) -> None:
        if str(buffer.scope()) != "local.fragment":
            return
        reach: Reach = {}
        for d, (index, extent) in enumerate(zip(indices, extents, strict=True)):
            value = parse(index, self.bound)
            if value is None or (extent == 1 and value.is_constant):
                continue
            span = value.interval(self.ranges)
            if span is not None:
                reach[d] = span[1] + extent
        self.found.setdefault(buffer.data, []).append(reach)

    def statement(self, stmt: Any) -> None:
        kind = type(stmt).__name__
        if kind == "For" and int(stmt.kind) == int(tirx.ForKind.PARALLEL):
            extent = extent_of(stmt.extent)
            if isinstance(extent, int):
                self.ranges[var(stmt.loop_var)] = (0, extent - 1)
        if kind == "SeqStmt":
            for each in stmt.seq:
                self.statement(each)
        elif kind == "IfThenElse":
            self.expression(stmt.condition)
            self.statement(stmt.then_case)
            if stmt.else_case is not None:
                self.statement(stmt.else_case)
        elif kind == "BufferStore":
            self.touch(stmt.buffer, stmt.indices, (1,) * len(stmt.indices))
            self.expression(stmt.value)
        elif kind == "Bind":
            self.expression(stmt.value)
            self.bound[var(stmt.var)] = parse(stmt.value, self.bound)
        elif kind == "Evaluate":
            self.evaluate(stmt.value)
        elif kind == "SBlockRealize":
            self.statement(stmt.block.body)
        elif getattr(stmt, "body", None) is not None:
            self.statement(stmt.body)

    def expression(self, expr: Any) -> None:
        if type(expr).__name__ == "BufferLoad":
            self.touch(expr.buffer, expr.indices, (1,) * len(expr.indices))
        for each in operands(expr):
            self.expression(each)

    def evaluate(self, call: Any) -> None:
        if op_name(call).removeprefix("tl.tileop.") not in _SPREAD:
            self.expression(call)
            return
        for region in call.args:
            if is_region(region):
                load, sizes = region.args[0], [n if isinstance(n := extent_of(e), int) else 1 for e in region.args[2:]]
                self.touch(load.buffer, load.indices, [1] * (len(load.indices) - len(sizes)) + sizes)


def _reaches(func: Any) -> dict[Any, list[Reach]]:
    collector = _Collector()
    for stmt in dissect(func).body:
        collector.statement(stmt)
    return collector.found


def _layouts(func: Any) -> dict[str, list[int]]:
    """By the name of each fragment: how many elements of each dim its layout has, as TileLang infers it."""
    passes = tilelang.transform
    steps = (
        passes.MaterializeKernelLaunch(),
        passes.AddWrapperForSingleBufStore(),
        passes.LegalizeNegativeIndex(),
        passes.InjectAssumes(),
        passes.Simplify(),
        passes.CanonicalizeLegacyReducer(),
        passes.IfStmtBinding(),
        passes.UnrollLoop(),
        passes.Simplify(),
        passes.PipelinePlanning(),
        passes.InjectSoftwarePipeline(),
        passes.Simplify(),
        passes.LayoutInference(),
    )
    try:
        with Target(_ARCHITECTURE) as target:
            module = tirx.transform.BindTarget(target)(IRModule({"main": func.with_attr("global_symbol", "main")}))
            for step in steps:
                module = step(module)
    except Exception:  # whatever TileLang refuses here, it refuses when it lowers
        return {}
    found: dict[str, list[int]] = {}

    def visit(node: Any) -> None:
        if type(node).__name__ == "SBlock" and "layout_map" in node.annotations:
            for buffer, layout in node.annotations["layout_map"].items():
                if str(buffer.scope()) == "local.fragment":
                    found[str(buffer.name)] = [int(size) for size in layout.get_input_shape()]

    for _, lowered in module.functions.items():
        tirx.stmt_functor.post_order_visit(lowered.body, visit)
    return found
