"""What must hold of a program between any two stages; `verify` raises where it doesn't.

    variables           every variable is defined where it is used, and defined once
    buffers             every buffer that is touched or annotated is a parameter or allocated, once
    parameters          a tile program says of its tensors and grid what its PrimFunc does
    bounds              what is touched of an on-chip buffer lies in it
    uninitialised       an on-chip buffer is written before it is read
    fragment-extents    no loop over a fragment would be cut short by TileLang (`extents.py`)

A program that fails was either written so, or is a defect of the stage before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx

from mosaic.errors import VerificationError
from mosaic.tiles.affine import Affine, Interval, Var, parse, var
from mosaic.tiles.anatomy import Anatomy, dissect, kernel_name
from mosaic.tiles.extents import loops_cut_short
from mosaic.tiles.nodes import extent_of, is_region, op_name, operands
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read

# Threads of such bodies do different things, or what they do is not seen: the order of the text is not that of the run.
_UNORDERED: Final = frozenset(
    {"barriers", "warp specialisation", "external calls", "inline assembly", "pointers", "asynchronous copies", "explicit TMA"}
)
_HAS_VALUE: Final = ("local.var", "shared.barrier", "shared.cluster_barrier", "local.descriptor")
_CLEAR: Final = {"gemm": 9, "reduce": 4}
"""Which argument says that a tile operator overwrites what it would otherwise add to."""


@dataclass(frozen=True)
class Defect:
    """A check that fails, by name, and how."""

    check: str
    reason: str

    def __str__(self) -> str:
        return f"{self.check}: {self.reason}"


def verify(program: TileProgram | Any) -> None:
    """Check a tile program, or a PrimFunc. Raises VerificationError for the first defect, ReadError if it can't even be read."""
    func = program.func if isinstance(program, TileProgram) else program
    for defect in defects(program):
        raise VerificationError(f"kernel {kernel_name(func)!r} is no sound program, {defect}")


def defects(program: TileProgram | Any) -> Iterator[Defect]:
    """Every defect, in the order of the checks' docs within one walk over the program. Raises ReadError."""
    func = program.func if isinstance(program, TileProgram) else program
    walk = _Walk(dissect(func))
    walk.run()
    yield from walk.found
    if not any(d.check in ("variables", "buffers") for d in walk.found):
        fresh = read(func)
        if isinstance(program, TileProgram) and (program.params, program.grid, program.accesses) != (
            fresh.params,
            fresh.grid,
            fresh.accesses,
        ):
            yield Defect("parameters", "its tensors, grid or accesses are not those of its PrimFunc")
        if not fresh.features & _UNORDERED:
            yield from walk.unwritten
    yield from (Defect("fragment-extents", reason) for reason in loops_cut_short(func))


@dataclass
class _Walk:
    """One walk in program order. `scopes` hold the variables defined so far, innermost last."""

    anatomy: Anatomy
    found: list[Defect] = field(default_factory=list)
    unwritten: list[Defect] = field(default_factory=list)
    scopes: list[set[int]] = field(default_factory=lambda: [set()])
    ever: set[int] = field(default_factory=set)
    memory: dict[int, Any] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    ranges: dict[Var, Interval] = field(default_factory=dict)
    bound: dict[Var, Affine | None] = field(default_factory=dict)
    guards: int = 0

    def fail(self, check: str, reason: str) -> None:
        self.found.append(Defect(check, reason))

    def run(self) -> None:
        anatomy = self.anatomy
        for handle in anatomy.func.params:
            self.define(handle)
        names = [str(buffer.name) for buffer in anatomy.func.buffer_map.values()]
        for name in {n for n in names if names.count(n) > 1}:
            self.fail("parameters", f"two tensors are named {name}")
        for buffer in anatomy.func.buffer_map.values():
            self.sizes(buffer)
            self.allocate(buffer)
            self.written.add(hash(buffer.data))
        for loop in anatomy.grid:
            self.expression(loop.extent)
            self.loop_variable(loop)
        for bind, extent in zip(anatomy.binds, anatomy.threads, strict=False):
            self.define(bind.var)
            self.ranges[var(bind.var)] = (0, extent - 1)
        for buffer in anatomy.allocations:
            self.allocate(buffer)
        self.annotations()
        for stmt in anatomy.body:
            self.statement(stmt)

    # -- variables and buffers

    def define(self, variable: Any) -> None:
        if hash(variable) in self.ever:
            self.fail("variables", f"{variable.name} is defined twice")
        self.ever.add(hash(variable))
        self.scopes[-1].add(hash(variable))

    def use(self, variable: Any) -> None:
        if not any(hash(variable) in scope for scope in self.scopes):
            self.fail("variables", f"{variable.name} is used where it is not defined")

    def sizes(self, buffer: Any) -> None:
        """Free shapes and strides are defined by the first tensor that has them."""
        for size in (*buffer.shape, *buffer.strides):
            if type(size).__name__ in ("Var", "SizeVar") and hash(size) not in self.ever:
                self.define(size)

    def allocate(self, buffer: Any) -> None:
        if hash(buffer.data) in self.memory:
            self.fail("buffers", f"{buffer.name} is allocated twice")
            return
        self.define(buffer.data)
        self.memory[hash(buffer.data)] = buffer

    def access(self, buffer: Any, indices: Sequence[Any], extents: Sequence[Any], *, reads: bool, writes: bool) -> None:
        owner = self.memory.get(hash(buffer.data))
        if owner is None:
            self.fail("buffers", f"{buffer.name} is neither a parameter nor allocated")
            return
        for index in indices:
            self.expression(index)
        if str(buffer.scope()) == "global":
            return
        if reads and not self.guards and hash(buffer.data) not in self.written and str(buffer.scope()) not in _HAS_VALUE:
            self.unwritten.append(Defect("uninitialised", f"{buffer.name} is read before it is written"))
            self.written.add(hash(buffer.data))
        if writes:
            self.written.add(hash(buffer.data))
        self.bounds(buffer, indices, [1] * (len(indices) - len(extents)) + list(extents))

    def bounds(self, buffer: Any, indices: Sequence[Any], extents: Sequence[Any]) -> None:
        for d, (index, extent, size) in enumerate(zip(indices, extents, buffer.shape, strict=True)):
            value, length, room = parse(index, self.bound), extent_of(extent), extent_of(size)
            span = None if value is None else value.interval(self.ranges)
            if span is None or not isinstance(length, int) or not isinstance(room, int):
                continue
            low, high = span[0], span[1] + length
            if (low < 0 or high > room) and not self.guards:
                self.fail("bounds", f"dim {d} of {buffer.name} has {room} elements, and {low} to {high - 1} are touched")

    def annotations(self) -> None:
        """What an annotation says of a buffer is said by its pointer."""
        for key, value in self.anatomy.block.annotations.items():
            if type(value).__name__ != "Map":
                continue
            for pointer in value:
                if type(pointer).__name__ == "Var" and hash(pointer) not in self.memory:
                    self.fail("buffers", f"{pointer.name} is annotated ({key}), and neither a parameter nor allocated")

    # -- expressions

    def expression(self, expr: Any) -> None:
        kind = type(expr).__name__
        if kind in ("Var", "SizeVar"):
            self.use(expr)
        elif kind == "BufferLoad":
            self.access(expr.buffer, expr.indices, (), reads=True, writes=False)
        elif kind == "Let":
            self.expression(expr.value)
            with self.scope():
                self.define(expr.var)
                self.expression(expr.body)
        elif kind == "Select" or (kind == "Call" and op_name(expr).endswith("if_then_else")):
            condition, *choices = operands(expr)
            self.expression(condition)
            with self.guarded():
                for each in choices:
                    self.expression(each)
        elif kind == "Call" and op_name(expr).endswith(("access_ptr", "address_of")):
            for each in operands(expr):
                if type(each).__name__ == "BufferLoad":
                    self.access(each.buffer, each.indices, (), reads=False, writes=True)
                else:
                    self.expression(each)
        else:
            for each in (*operands(expr), *_noted(expr)):
                self.expression(each)

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.scopes.append(set())
        yield
        self.scopes.pop()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        self.guards += 1
        yield
        self.guards -= 1

    # -- statements

    def loop_variable(self, loop: Any) -> None:
        self.define(loop.loop_var)
        low, extent = extent_of(loop.min), extent_of(loop.extent)
        if isinstance(low, int) and isinstance(extent, int) and extent_of(loop.step if loop.step is not None else 1) == 1:
            self.ranges[var(loop.loop_var)] = (low, low + extent - 1)

    def statement(self, stmt: Any) -> None:
        match type(stmt).__name__:
            case "SeqStmt":
                for each in stmt.seq:
                    self.statement(each)
            case "For":
                self.expression(stmt.min)
                self.expression(stmt.extent)
                with self.scope():
                    self.loop_variable(stmt)
                    self.statement(stmt.body)
            case "IfThenElse":
                self.expression(stmt.condition)
                for case in (stmt.then_case, stmt.else_case):
                    if case is not None:
                        with self.scope(), self.guarded():
                            self.statement(case)
            case "Bind":
                self.expression(stmt.value)
                self.define(stmt.var)
                self.bound[var(stmt.var)] = parse(stmt.value, self.bound)
            case "AttrStmt":
                self.expression(stmt.value)
                self.statement(stmt.body)
            case "While":
                self.expression(stmt.condition)
                with self.scope(), self.guarded():
                    self.statement(stmt.body)
            case "BufferStore":
                self.expression(stmt.value)
                self.access(stmt.buffer, stmt.indices, (), reads=False, writes=True)
            case "Evaluate":
                self.evaluate(stmt.value)
            case "SBlockRealize":
                with self.scope():
                    for buffer in stmt.block.alloc_buffers:
                        self.allocate(buffer)
                    self.statement(stmt.block.body)
            case "AllocBuffer":
                self.allocate(stmt.buffer)

    def evaluate(self, call: Any) -> None:
        if type(call).__name__ != "Call":
            return
        regions = [arg for arg in call.args if is_region(arg)]
        for arg in (*call.args, *_noted(call)):
            if not is_region(arg):
                self.expression(arg)
        op = op_name(call).removeprefix("tl.tileop.")
        for region in sorted(regions, key=lambda r: int(r.args[1]) == 2):  # what is written is written last
            mode = int(region.args[1])
            adds = op in _CLEAR and mode != 1 and len(call.args) > _CLEAR[op] and extent_of(call.args[_CLEAR[op]]) == 0
            reads = mode == 1 or (mode == 3 and op not in _CLEAR) or adds
            load = region.args[0]
            self.access(load.buffer, load.indices, region.args[2:], reads=reads, writes=mode != 1)


def _noted(expr: Any) -> list[Any]:
    """Expressions in a call's annotations, such as the barrier of a copy."""
    notes = getattr(expr, "annotations", None) or {}
    return [value for value in notes.values() if isinstance(value, tirx.PrimExpr)]
