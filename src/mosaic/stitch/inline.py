"""The move: a producer's tile computation takes the place of its consumer's load.

before   producer   for bx, by:  acc = ...;  T.copy(acc, X[by * 64, bx * 32])
         consumer   for by:  for k:  T.copy(X[by * 64, k * 32], tile);  ... tile ...
after               for by:  for k:  acc = ...;  T.copy(acc, stage);  T.copy(stage, tile);  ... tile ...

The producer's block indices become functions of the consumer's, its writes to X go to a stage on
the chip, and the consumer's reads of X read the stage. Where the consumer's load is one copy of
the whole stage into a buffer of its own, that buffer is the stage. Epilogues, prologues, row-wise
operators after a product and back-to-back products are all this move, at other depths.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx

from mosaic.errors import MosaicError
from mosaic.stitch.attach import Attachment, Handover
from mosaic.stitch.stage import Scope, Stage, StageRewriter, constant, safe_value
from mosaic.tiles.affine import Affine, Var, to_expr
from mosaic.tiles.anatomy import LAUNCH, Anatomy, assemble, dissect, sequence, statements
from mosaic.tiles.nodes import is_region, op_name
from mosaic.tiles.program import TileProgram
from mosaic.tiles.rewrite import Rewriter


class _Producer(StageRewriter):
    """The producer's body; with `keep`, what it hands over it also writes to device memory."""

    def __init__(self, variables: Mapping[Any, Any], buffers: Mapping[Any, Any], keep: frozenset[str]) -> None:
        super().__init__(variables, buffers)
        self.keep = keep

    def store(self, node: Any) -> Any:
        staged = super().store(node)
        if node.buffer in self.stages and str(node.buffer.name) in self.keep:
            return sequence([staged, Rewriter.store(self, node)])
        return staged

    def call(self, node: Any) -> Any:
        staged = super().call(node)
        kept = [a.args[0].buffer for a in node.args if is_region(a) and a.args[0].buffer in self.stages]
        if any(str(b.name) in self.keep for b in kept):
            hidden, self.stages = self.stages, {}
            original = super().call(node)
            self.stages = hidden
            return sequence([staged, original])
        return staged

    def stmt(self, node: Any) -> Any:
        # A hint on the order of blocks speaks of the producer's own grid.
        if type(node).__name__ == "AttrStmt" and str(node.attr_key) == "threadblock_swizzle_pattern":
            return self.stmt(node.body)
        return super().stmt(node)


class _Consumer(StageRewriter):
    """The consumer's body, with the producer's inserted at the attachment."""

    def __init__(self, variables: Mapping[Any, Any], buffers: Mapping[Any, Any], move: _Inlining) -> None:
        super().__init__(variables, buffers)
        self.move = move
        self.placed = False

    def body(self, stmts: Sequence[Any]) -> list[Any]:
        """The statements of the attachment's loop, or of the root block, the insertion among them."""
        done: list[Any] = []
        for position, stmt in enumerate(stmts):
            if self.placed or not self.move.reads_border(stmt):
                done.append(self.stmt(stmt))
            elif type(stmt).__name__ == "AttrStmt":
                inner = sequence(self.body(statements(stmt.body)))
                done.append(tirx.AttrStmt(stmt.node, stmt.attr_key, self.expr(stmt.value), inner))
            else:
                self.placed = True
                inserted, skip = self.move.insertion(self, stmt)
                done += inserted
                done += [] if skip else [self.stmt(stmt)]
                done += [self.stmt(rest) for rest in stmts[position + 1 :]]
                return done
        return done

    def loop(self, node: Any) -> Any:
        loops = self.move.attachment.loops
        around = {loop.var.key for loop in loops}
        if self.placed or hash(node.loop_var) not in around:
            return super().loop(node)
        low, extent = self.expr(node.min), self.expr(node.extent)
        loop_var = self.define(node.loop_var)
        body = sequence(self.body(statements(node.body))) if hash(node.loop_var) == loops[-1].var.key else self.stmt(node.body)
        # A pipeline over a body that computes its own operands has nothing left to load ahead.
        notes = {str(k): v for k, v in node.annotations.items() if not str(k).startswith(("num_stages", "tl_pipeline"))}
        return tirx.For(loop_var, low, extent, node.kind, body, node.thread_binding, notes, node.step)


class _Inlining:
    """One application of the move."""

    def __init__(
        self,
        producer: TileProgram,
        consumer: TileProgram,
        attachment: Attachment,
        scopes: Mapping[str, Scope],
        keep: frozenset[str],
    ) -> None:
        self.producer, self.consumer = dissect(producer.func), dissect(consumer.func)
        self.programs = producer, consumer
        self.attachment, self.scopes, self.keep = attachment, scopes, keep
        self.allocations: list[Any] = []
        self.annotations: dict[str, Any] = {}
        self.params = self._unite_params()
        self.border = {t: self._param(self.consumer, t) for t in (h.tensor for h in attachment.handovers)}
        self.variables = {hash(loop.loop_var): loop.loop_var for loop in self.consumer.grid}
        self.lows: dict[int, Any] = {}
        for stmt in self.consumer.body:
            self._collect_loops(stmt)

    def _collect_loops(self, stmt: Any) -> None:
        def visit(node: Any) -> None:
            if type(node).__name__ == "For":
                self.variables[hash(node.loop_var)] = node.loop_var
                self.lows[hash(node.loop_var)] = node.min

        tirx.stmt_functor.post_order_visit(stmt, visit)

    @staticmethod
    def _param(anatomy: Anatomy, name: str) -> Any:
        return next(b for b in anatomy.func.buffer_map.values() if str(b.name) == name)

    def _unite_params(self) -> dict[str, tuple[Any, Any]]:
        """Handle and buffer by tensor name: read tensors first, those written last, the handed over ones gone unless kept."""
        handed = {h.tensor for h in self.attachment.handovers}
        found: dict[str, tuple[Any, Any]] = {}
        for anatomy in (self.producer, self.consumer):
            for handle, buffer in anatomy.func.buffer_map.items():
                name = str(buffer.name)
                if name not in found and (name not in handed or name in self.keep):
                    found[name] = (handle, buffer)
        written = {p.name for program in self.programs for p in program.params if p.mode in ("write", "update")}
        return dict(sorted(found.items(), key=lambda item: item[0] in written))

    def _shared_buffers(self, anatomy: Anatomy) -> dict[Any, Any]:
        return {b: self.params[str(b.name)][1] for b in anatomy.func.buffer_map.values() if str(b.name) in self.params}

    def reads_border(self, stmt: Any) -> bool:
        border = list(self.border.values())

        def touches(node: Any) -> bool:
            return type(node).__name__ == "BufferLoad" and any(node.buffer.same_as(b) for b in border)

        return _any_node(stmt, touches)

    def apply(self) -> Any:
        consumer = self.consumer
        rewriter = _Consumer({}, self._shared_buffers(consumer), self)
        allocations = [rewriter.copy_buffer(b) for b in consumer.allocations]
        body = [rewriter.stmt(stmt) for stmt in consumer.body] if self.attachment.depth else rewriter.body(consumer.body)
        if not rewriter.placed:
            raise MosaicError(
                f"stitching {self.attachment.producer} into {self.attachment.consumer} found no load to replace; report this as a defect"
            )
        params, allocations = list(self.params.values()), [*allocations, *self.allocations]
        known = [buffer.data for buffer in (*(b for _, b in params), *allocations)]
        notes = _merge(rewriter.annotations(consumer.block.annotations), self.annotations, known)
        return assemble(consumer, params=params, body=body, allocations=allocations, annotations=notes)

    # -- the insertion

    def insertion(self, rewriter: _Consumer, stmt: Any) -> tuple[list[Any], bool]:
        """The producer's body for this place, and whether it makes `stmt`, the consumer's load, superfluous."""
        stages: dict[str, Stage] = {}
        skip = False
        for handover in self.attachment.handovers:
            base = tuple(self._expr(rewriter, b) for b in handover.base)
            target = self._load_target(rewriter, stmt, handover)
            skip = skip or target is not None
            buffer = target
            if buffer is None:
                buffer = Stage.allocate(handover, self.scopes[handover.tensor])
                self.allocations.append(buffer)
            stages[handover.tensor] = Stage(handover, buffer, base)
            rewriter.stages[self.border[handover.tensor]] = stages[handover.tensor]
        body = self._producer_body(rewriter, stages)
        for tensor, stage in stages.items():
            body += stage.mask(self.border[tensor], safe_value(self.consumer, self.border[tensor]))
        return body, skip

    def _expr(self, rewriter: Rewriter, value: Affine) -> Any:
        """`value` in the stitched kernel's variables; a loop's variable counts its turns from 0, wherever the loop starts."""

        def variable(v: Var) -> Any:
            current, low = rewriter.variable(self.variables[v.key]), self.lows.get(v.key, constant(0))
            return current if type(low).__name__ == "IntImm" and int(low) == 0 else current - rewriter.expr(low)

        return to_expr(value, variable)

    def _load_target(self, rewriter: _Consumer, stmt: Any, handover: Handover) -> Any:
        """The consumer's own buffer, if `stmt` is its only load and fills that buffer with the whole stage; else None."""
        reads = self.programs[1].accesses_of(handover.tensor)
        if len(reads) != 1 or type(stmt).__name__ != "Evaluate" or op_name(stmt.value) != "tl.tileop.copy":
            return None
        source, target = stmt.value.args[:2]
        buffer = target.args[0].buffer
        shape = [int(handover.shape[d]) for d in handover.kept_dims]
        scope = str(buffer.scope())
        fits = (
            source.args[0].buffer.same_as(self.border[handover.tensor])
            and tuple(reads[0].extent) == handover.shape
            and tuple(reads[0].start) == handover.base
            and [int(s) for s in buffer.shape] == shape
            and str(buffer.dtype) == handover.dtype
            and all(isinstance(i, tirx.IntImm) and int(i.value) == 0 for i in target.args[0].indices)
            and scope.startswith("shared" if self.scopes[handover.tensor] == "shared" else "local.fragment")
        )
        return rewriter.buffer(buffer) if fits else None

    def _producer_body(self, rewriter: _Consumer, stages: Mapping[str, Stage]) -> list[Any]:
        producer, attachment = self.producer, self.attachment
        variables: dict[Any, Any] = {}
        for mine, theirs in zip(producer.thread_vars, self.consumer.thread_vars, strict=False):
            variables[mine] = rewriter.variable(theirs)
        ranges = self.programs[1].ranges(attachment.loops)
        repeats: list[tuple[Any, int]] = []
        exists: Any = None
        for loop in producer.grid:
            axis = Var(hash(loop.loop_var), str(loop.loop_var.name))
            index, count = self._expr(rewriter, attachment.first[axis]), attachment.count[axis]
            if count > 1:
                turn = tirx.Var(f"{loop.loop_var.name}_turn", "int32")
                repeats.append((turn, count))
                index = index + turn
            variables[loop.loop_var] = index
            span = attachment.first[axis].interval(ranges)
            if span is None or span[1] + count > int(loop.extent):
                within = index < loop.extent
                exists = within if exists is None else tirx.And(exists, within)
        inner = _Producer(variables, self._shared_buffers(producer), self.keep)
        self.allocations += [inner.copy_buffer(b) for b in producer.allocations]
        for buffer in producer.func.buffer_map.values():
            if str(buffer.name) in stages:
                inner.stages[buffer] = stages[str(buffer.name)]
        body = [inner.stmt(stmt) for stmt in producer.body]
        if exists is not None:
            # What a block does is known for the blocks there are; the tiles of others lie beyond the tensor and are masked.
            body = [tirx.IfThenElse(exists, sequence(body), None)]
        self.annotations = inner.annotations({k: v for k, v in producer.block.annotations.items() if str(k) != LAUNCH})
        for turn, count in repeats:
            body = [tirx.For(turn, constant(0), constant(count), tirx.ForKind.SERIAL, sequence(body))]
        return body


def _any_node(stmt: Any, test: Any) -> bool:
    found = [False]

    def visit(node: Any) -> None:
        found[0] = found[0] or bool(test(node))

    tirx.stmt_functor.post_order_visit(stmt, visit)
    return found[0]


def _merge(mine: dict[str, Any], other: dict[str, Any], known: Sequence[Any]) -> dict[str, Any]:
    """Block annotations of both kernels; maps are united, of the pointers that are `known`, anything else is the consumer's."""
    merged: dict[str, Any] = {}
    for key, value in itertools.chain(mine.items(), other.items()):
        if not hasattr(value, "items"):
            merged.setdefault(key, value)
            continue
        kept = {k: v for k, v in value.items() if type(k).__name__ != "Var" or any(k.same_as(pointer) for pointer in known)}
        if kept:
            merged[key] = merged.get(key, {}) | kept
    return merged


def inline(
    producer: TileProgram,
    consumer: TileProgram,
    attachment: Attachment,
    scopes: Mapping[str, Scope],
    *,
    keep: frozenset[str] = frozenset(),
    threads: int | None = None,
    name: str | None = None,
) -> Any:
    """The PrimFunc of `consumer` with `producer` computed inside it.

    `scopes` says, per tensor handed over, whether its stage is in shared memory or in registers;
    `keep` names those of them that are also written to device memory, for other consumers.
    `threads` is the threads of a block (the consumer's if None).

    Raises MosaicError if a stage in registers is asked for where `Handover.registers` is False, or
    if a tensor is kept that is computed more than once.
    """
    for handover in attachment.handovers:
        if scopes[handover.tensor] == "register" and not handover.registers:
            raise MosaicError(f"{handover.tensor} can't be handed over in registers: its two sides don't touch the same whole tile")
    if keep and (attachment.recompute != 1 or not attachment.complete):
        often = f"computed {attachment.recompute} times" if attachment.recompute != 1 else "not computed as a whole"
        raise MosaicError(f"{', '.join(sorted(keep))} can't be kept: {producer.name} is {often}")
    func = _Inlining(producer, consumer, attachment, scopes, keep).apply()
    func = func.with_attr("global_symbol", name or f"{producer.name}_{consumer.name}")
    return func if threads is None else with_threads(func, threads)


def with_threads(func: Any, threads: int) -> Any:
    """The same kernel with another number of threads in a block.

    Tile operators and parallel loops spread over whatever threads there are. The caller has checked
    that the body names no thread and annotates no layout.
    """
    anatomy = dissect(func)
    notes = {str(k): v for k, v in anatomy.block.annotations.items()} | {LAUNCH: [threads, 1, 1]}
    params = [(p, func.buffer_map[p]) for p in func.params]
    return assemble(anatomy, params=params, body=anatomy.body, allocations=anatomy.allocations, annotations=notes)


__all__ = ["Scope", "inline", "with_threads"]
