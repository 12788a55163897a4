"""PrimFunc -> TileProgram.

    T.copy(A[by * 64, k * 32], A_shared)      ->  Access("A", "read", "copy", (64*by, 32*k), (64, 32), loops=(k,))
    C[by * 64 + i, j] = acc[i, j] * s[j]      ->  Access("C", "write", "store", (64*by + i, j), (1, 1), loops=(i, j))

Every access to device memory is found, or the kernel is refused: what reaches memory in a way
that is not followed (a pointer, a view of a tensor under another shape) counts as an access to any
part of the tensor, and is listed in `features`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from mosaic.errors import ReadError
from mosaic.tiles.affine import Affine, Var, parse, var
from mosaic.tiles.anatomy import Anatomy, dissect, kernel_name
from mosaic.tiles.liveness import Touch, live_ranges
from mosaic.tiles.nodes import extent_of, is_region, op_name, operands
from mosaic.tiles.program import Access, Axis, Guard, Loop, LoopKind, Mode, OnChip, Param, TileOp, TileProgram
from mosaic.tiles.region import box, is_dense

_REGION_MODES: Final[dict[int, Mode]] = {1: "read", 2: "write", 3: "update"}
_LOOP_KINDS: Final[dict[int, LoopKind]] = {0: "serial", 1: "parallel", 2: "vectorized", 3: "unrolled"}
_SPREAD: Final = ("parallel", "vectorized")
_ATOMIC_ELEMENT: Final = r"atomic_[a-z]+(_ret)?_elem_op"

# Features that make a kernel more than a pure function of its block index over tiles.
_FEATURES: Final[tuple[tuple[str, str], ...]] = (
    ("barrier", "barriers"),
    ("mbarrier", "barriers"),
    ("sync_grid", "grid synchronisation"),
    ("tma_", "explicit TMA"),
    ("tcgen05", "explicit tcgen05"),
    ("wgmma", "explicit wgmma"),
    ("atomic", "atomics"),
    ("call_extern", "external calls"),
    ("call_pure_extern", "external calls"),
    ("inline_asm", "inline assembly"),
    ("ptx_", "inline assembly"),
    ("loop_break", "early exits"),
    ("thread_return", "early exits"),
    ("tvm_access_ptr", "pointers"),
    ("set_max_nreg", "warp specialisation"),
    ("async_copy", "asynchronous copies"),
    ("sync", "explicit synchronisation"),
    ("lane_idx", "thread indices"),
    ("warp_idx", "thread indices"),
    ("warp_group_idx", "thread indices"),
    ("shfl", "thread indices"),
    ("rng", "random numbers"),
)


@dataclass
class _Reader:
    name: str
    params: Mapping[Any, str]
    thread_vars: frozenset[int]
    accesses: list[Access] = field(default_factory=list)
    ops: list[TileOp] = field(default_factory=list)
    features: set[str] = field(default_factory=set)
    versions: dict[Any, int] = field(default_factory=dict)
    loops: tuple[Loop, ...] = ()
    guards: tuple[Guard, ...] = ()
    bound: dict[Var, Affine | None] = field(default_factory=dict)
    touches: list[Touch] = field(default_factory=list)
    pipelined: set[int] = field(default_factory=set)
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    position: int = 0
    arms: tuple[int, ...] = ()

    # -- statements

    def statement(self, stmt: Any) -> None:
        kind = type(stmt).__name__
        self.position += 1
        match kind:
            case "SeqStmt":
                for each in stmt.seq:
                    self.statement(each)
            case "For":
                self.loop(stmt)
            case "IfThenElse":
                self.branch(stmt)
            case "Bind":
                self.expression(stmt.value)
                self.bound[var(stmt.var)] = parse(stmt.value, self.bound)
            case "AttrStmt":
                self.expression(stmt.value)
                self.statement(stmt.body)
            case "BufferStore":
                for index in stmt.indices:
                    self.expression(index)
                self.expression(stmt.value)
                self.access(stmt.buffer, stmt.indices, (1,) * len(stmt.indices), "write", "store")
                self.operator("map", (), (str(stmt.buffer.name),), 0, 1)
            case "Evaluate":
                self.evaluate(stmt.value)
            case "While":
                self.expression(stmt.condition)
                self.inside(stmt.body, loop=Loop(Var(hash(stmt), "while"), "?", "while"))
            case "SBlockRealize":
                if stmt.block.alloc_buffers:
                    self.features.add("nested allocations")
                self.statement(stmt.block.body)
            case "AllocBuffer" | "DeclBuffer":
                if getattr(stmt, "body", None) is not None:
                    self.statement(stmt.body)
            case _:
                raise ReadError(f"kernel {self.name!r} holds a {kind} statement, which cannot be read")

    def inside(self, stmt: Any, *, loop: Loop | None = None, guards: Sequence[Guard] = ()) -> None:
        kept, first = (self.loops, self.guards, self.arms), self.position
        self.loops = (*self.loops, loop) if loop else self.loops
        self.guards = (*self.guards, *guards)
        self.arms = (*self.arms, first) if guards else self.arms
        self.statement(stmt)
        self.loops, self.guards, self.arms = kept
        if loop:
            self.spans[loop.var.key] = (first, self.position)

    def loop(self, stmt: Any) -> None:
        stages = int(stmt.annotations["num_stages"]) if "num_stages" in stmt.annotations else 0
        if int(stmt.kind) not in _LOOP_KINDS:
            raise ReadError(f"kernel {self.name!r} binds the loop {stmt.loop_var.name!r} to threads, which cannot be read")
        kind = "pipelined" if stages else _LOOP_KINDS[int(stmt.kind)]
        low, extent = extent_of(stmt.min), extent_of(stmt.extent)
        if isinstance(low, int) and isinstance(extent, int) and low:
            # Counted from 0, so that a loop's variable always lies in 0 ... extent - 1.
            self.bound[var(stmt.loop_var)] = Affine(((Var(hash(stmt.loop_var), str(stmt.loop_var.name)), 1),), low)
        elif not isinstance(low, int):
            self.bound[var(stmt.loop_var)] = None
        if getattr(stmt, "step", None) is not None and extent_of(stmt.step) != 1:
            self.bound[var(stmt.loop_var)] = None
        if "parallel_loop_layout" in stmt.annotations:
            self.features.add("annotated layouts")
        loop = Loop(var(stmt.loop_var), extent, kind, stages)
        self.expression(stmt.min)
        self.expression(stmt.extent)
        self.inside(stmt.body, loop=loop)

    def branch(self, stmt: Any) -> None:
        self.expression(stmt.condition)
        self.inside(stmt.then_case, guards=self.conjuncts(stmt.condition))
        if stmt.else_case is not None:
            self.inside(stmt.else_case, guards=[Guard(None)])

    def conjuncts(self, condition: Any) -> list[Guard]:
        kind = type(condition).__name__
        if kind == "And":
            return self.conjuncts(condition.a) + self.conjuncts(condition.b)
        if kind == "Call" and op_name(condition) in ("tirx.likely", "tir.likely"):
            return self.conjuncts(condition.args[0])
        if kind in ("LT", "LE", "GT", "GE"):
            small, large = (condition.a, condition.b) if kind in ("LT", "LE") else (condition.b, condition.a)
            low, high = parse(small, self.bound), parse(large, self.bound)
            if low is not None and high is not None:
                difference = low - high  # small - large < 0, or <= 0
                value = Affine(difference.terms, 0)
                return [Guard(value, -difference.constant + (1 if kind in ("LE", "GE") else 0))]
        return [Guard(None)]

    # -- accesses

    def touch(self, pointer: Any, *, fresh: bool = False) -> None:
        """An access to an on-chip buffer, here."""
        around = tuple(loop.var.key for loop in self.loops if loop.kind not in _SPREAD)
        self.touches.append(Touch(hash(pointer), self.position, around, fresh, self.arms))
        if any(loop.kind == "pipelined" for loop in self.loops):
            self.pipelined.add(hash(pointer))

    def overwrites(self, buffer: Any, indices: Sequence[Any], extents: Sequence[int], op: str) -> bool:
        """Whether a write, while the parallel loops around it run, leaves nothing of an on-chip buffer as it was."""
        if op not in ("copy", "fill", "store", "reduce"):
            return False
        spread = {loop.var: (0, loop.extent - 1) for loop in self.loops if loop.kind in _SPREAD and isinstance(loop.extent, int)}
        write = Access("", "write", op, tuple(parse(index, self.bound) for index in indices), tuple(extents))
        found = box(write, spread, {})
        whole = tuple(extent_of(size) for size in buffer.shape)
        return found is not None and is_dense(write, spread) and (found.start, found.extent) == ((Affine(),) * len(whole), whole)

    def tensor(self, buffer: Any) -> str | None:
        """The tensor in device memory that a buffer is, or is a view of; None for memory on the chip."""
        if buffer in self.params:
            return self.params[buffer]
        return next((tensor for mine, tensor in self.params.items() if mine.data.same_as(buffer.data)), None)

    def access(self, buffer: Any, indices: Sequence[Any], extents: Sequence[int], mode: Mode, op: str) -> None:
        """Record an access; through a view of another shape it is one to any part of the tensor."""
        tensor = self.tensor(buffer)
        if tensor is None:
            self.touch(buffer.data, fresh=mode == "write" and self.overwrites(buffer, indices, extents, op))
            return
        if buffer not in self.params:
            self.features.add("views of tensors")
            self.anywhere(tensor, mode, op)
            return
        starts = tuple(parse(index, self.bound) for index in indices)
        self.accesses.append(Access(tensor, mode, op, starts, tuple(extents), self.loops, self.guards))

    def anywhere(self, tensor: str, mode: Mode, op: str) -> None:
        rank = next(len(buffer.shape) for buffer, name in self.params.items() if name == tensor)
        self.accesses.append(Access(tensor, mode, op, (None,) * rank, (1,) * rank, self.loops, self.guards))

    def expression(self, expr: Any) -> None:
        kind = type(expr).__name__
        if kind == "BufferLoad":
            self.access(expr.buffer, expr.indices, (1,) * len(expr.indices), "read", "load")
        elif kind in ("Var", "SizeVar") and hash(expr) in self.thread_vars:
            self.features.add("thread indices")
        elif kind == "Call":
            short = op_name(expr).rpartition(".")[2]
            if re.fullmatch(_ATOMIC_ELEMENT, short) and self.atomic(expr):
                return
            self.note(expr)
            if short in ("access_ptr", "address_of"):
                self.pointer(expr)
                return
        for each in operands(expr):
            self.expression(each)

    def note(self, call: Any) -> None:
        name = op_name(call)
        short = name.rpartition(".")[2]
        for part, feature in _FEATURES:
            if part in short and not name.startswith("tl.tileop.atomic"):
                self.features.add(feature)
                break
        for each in call.args:  # a buffer's pointer: what is done through it is not seen
            if type(each).__name__ != "Var":
                continue
            tensor = next((tensor for buffer, tensor in self.params.items() if each.same_as(buffer.data)), None)
            if tensor is None:
                self.touch(each)
            else:
                self.features.add("pointers")
                self.anywhere(tensor, "update", name)

    def pointer(self, call: Any) -> None:
        """A pointer to an element, `T.access_ptr(A[i], mode)` or `T.address_of(A[i])`: what lies behind it is anyone's guess."""
        load = call.args[0]
        if type(load).__name__ != "BufferLoad":
            self.expression(load)
            return
        for index in load.indices:
            self.expression(index)
        if (tensor := self.tensor(load.buffer)) is None:
            self.touch(load.buffer.data)
        else:
            self.features.add("pointers")
            mask = extent_of(call.args[2]) if len(call.args) > 2 else 3
            self.anywhere(tensor, _REGION_MODES.get(mask if isinstance(mask, int) else 3, "update"), op_name(call))

    def atomic(self, call: Any) -> bool:
        """An atomic on one element, given as itself or by a pointer to it; False if the element can't be told."""
        target = call.args[0]
        if type(target).__name__ == "Call" and op_name(target).endswith(("access_ptr", "address_of")):
            target = target.args[0]
        if type(target).__name__ != "BufferLoad":
            return False
        self.features.add("atomics")
        for each in (*target.indices, *call.args[1:]):
            self.expression(each)
        mode: Mode = "read" if "atomic_load" in op_name(call) else "update"
        self.access(target.buffer, target.indices, (1,) * len(target.indices), mode, op_name(call).removeprefix("tl."))
        return True

    def evaluate(self, call: Any) -> None:
        if type(call).__name__ != "Call":
            return
        name = op_name(call)
        if not name.startswith("tl.tileop."):
            self.expression(call)
            return
        op = name.removeprefix("tl.tileop.")
        if call.annotations and "parallel_loop_layout" in call.annotations:
            self.features.add("annotated layouts")
        if "atomic" in op:
            self.features.add("atomics")
        if op in ("tma_copy", "async_copy"):
            self.features.add("asynchronous copies")
        reads: list[str] = []
        writes: list[str] = []
        elements = 0
        adds = op == "reduce" and extent_of(call.args[4]) == 0
        for arg in call.args:
            if is_region(arg):
                mode, buffer = self.region(arg, op, adds=adds)
                elements = max(elements, math.prod(n for n in map(extent_of, arg.args[2:]) if isinstance(n, int)))
                if mode in ("read", "update"):
                    reads.append(str(buffer.name))
                if mode in ("write", "update"):
                    writes.append(str(buffer.name))
                    self.versions[buffer] = max([self.versions.get(buffer, 1), *(loop.stages for loop in self.loops if op == "copy")])
            else:
                self.expression(arg)
        work = 0
        if op.startswith("gemm"):
            m, n, k = (extent_of(arg) for arg in call.args[5:8])
            if isinstance(m, int) and isinstance(n, int) and isinstance(k, int):
                work, elements = 2 * m * n * k, (m + n) * k
        self.operator(op, reads, writes, work, elements)

    def operator(self, op: str, reads: Sequence[str], writes: Sequence[str], work: int, elements: int) -> None:
        """Record an operator; the parallel loops around an element-wise statement are one run of it."""
        loops = [(loop, loop.extent) for loop in self.loops if isinstance(loop.extent, int)]
        spread = math.prod(n for loop, n in loops if loop.kind in _SPREAD)
        runs = math.prod(n for loop, n in loops if loop.kind not in _SPREAD)
        self.ops.append(TileOp(op, tuple(reads), tuple(writes), runs, work, elements * spread))

    def region(self, call: Any, op: str, *, adds: bool) -> tuple[Mode, Any]:
        """Record a region of a tile operator; `adds` where it keeps what it finds in what it writes."""
        load, mode = call.args[0], _REGION_MODES[int(call.args[1])]
        if mode == "write" and (adds or "atomic" in op):
            mode = "update"
        for index in load.indices:
            self.expression(index)
        extents = [extent_of(e) for e in call.args[2:]]
        if self.tensor(load.buffer) is not None and not all(isinstance(e, int) for e in extents):
            what = f"T.{op} of {load.buffer.name!r}"
            raise ReadError(f"kernel {self.name!r}: {what} has an extent that depends on a shape; make the tile's size fixed")
        # regions may leave out leading dims of one element
        sizes = (1,) * (len(load.indices) - len(extents)) + tuple(e for e in extents if isinstance(e, int))
        self.access(load.buffer, load.indices, sizes, mode, op)
        return mode, load.buffer


def read(func: Any) -> TileProgram:
    """Read a PrimFunc as TileLang's front end makes it, before any lowering.

    Raises ReadError, in one sentence, for what cannot be read.
    """
    anatomy = dissect(func)
    name = kernel_name(func)
    buffers = [func.buffer_map[p] for p in func.params if p in func.buffer_map]
    if len(buffers) != len(func.params):
        scalar = next(p for p in func.params if p not in func.buffer_map)
        raise ReadError(f"kernel {name!r} takes the scalar {scalar.name!r}; Mosaic reads kernels of tensors only")
    reader = _Reader(name, {b: str(b.name) for b in buffers}, frozenset(hash(v) for v in anatomy.thread_vars))
    for stmt in anatomy.body:
        reader.statement(stmt)
    accesses = tuple(reader.accesses)
    dynamic = sorted({str(v) for b in buffers for size in b.shape for v in [extent_of(size)] if isinstance(v, str)})
    return TileProgram(
        name=name,
        func=func,
        params=tuple(Param(str(b.name), tuple(map(extent_of, b.shape)), str(b.dtype), _mode(str(b.name), accesses)) for b in buffers),
        grid=tuple(Axis(var(loop.loop_var), extent_of(loop.extent), str(loop.thread_binding.thread_tag)) for loop in anatomy.grid),
        threads=anatomy.threads,
        buffers=_on_chip(anatomy, reader),
        accesses=accesses,
        ops=tuple(reader.ops),
        features=frozenset(reader.features | _annotation_features(anatomy)),
        dynamic=tuple(dynamic),
        live=live_ranges(reader.touches, reader.spans),
    )


def _mode(name: str, accesses: Sequence[Access]) -> Literal["read", "write", "update", "unused"]:
    modes = {a.mode for a in accesses if a.tensor == name}
    if not modes:
        return "unused"
    if modes == {"read"}:
        return "read"
    return "write" if modes == {"write"} else "update"


def _on_chip(anatomy: Anatomy, reader: _Reader) -> tuple[OnChip, ...]:
    found = []
    for buffer in anatomy.allocations:
        shape = tuple(extent_of(size) for size in buffer.shape)
        if not all(isinstance(size, int) for size in shape):
            raise ReadError(f"kernel {reader.name!r}: the on-chip buffer {buffer.name!r} has a size that depends on a shape; make it fixed")
        scope = str(buffer.scope())
        if scope == "global":
            raise ReadError(f"kernel {reader.name!r} allocates {buffer.name!r} in device memory; pass it in as a tensor")
        versions = reader.versions.get(buffer, 1) if scope.startswith("shared") else 1
        key = hash(buffer.data)
        sizes = tuple(int(s) for s in shape)
        found.append(OnChip(str(buffer.name), sizes, str(buffer.dtype), scope, max(1, versions), key in reader.pipelined, key))
        if "barrier" in scope:
            reader.features.add("barriers")
        if scope == "shared.tmem":
            reader.features.add("explicit tcgen05")
    return tuple(found)


def _annotation_features(anatomy: Anatomy) -> set[str]:
    names = {"layout_map": "annotated layouts", "tl.ws_schedule": "warp specialisation", "cluster_dims": "clusters"}
    return {names[key] for key in anatomy.block.annotations if key in names}


def with_name(program: TileProgram, name: str) -> TileProgram:
    """The same program under another name."""
    return replace(program, name=name)
