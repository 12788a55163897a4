"""An oracle for accesses: runs a PrimFunc block by block in Python, and logs every element of device memory that it touches.

Indices and whatever they depend on are computed exactly; products, reductions and functions of floats are not, as no index
here depends on them. An element outside its tensor is not logged: the hardware's guards keep it from being touched. Both
sides of a choice between values are logged, for which one is taken is nobody's promise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mosaic.tiles.affine import Affine, Div, Mod, Var
from mosaic.tiles.anatomy import dissect
from mosaic.tiles.program import Access, TileProgram

Element = tuple[int, ...]
Log = dict[tuple[str, str], set[Element]]
"""By tensor and "read" or "write": the elements touched."""

_MODES: Final = {1: ("read",), 2: ("write",), 3: ("read", "write")}
_ARITHMETIC: Final[dict[str, Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "FloorDiv": lambda a, b: a // b,
    "FloorMod": lambda a, b: a % b,
    "Min": min,
    "Max": max,
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
}


@dataclass
class Tracer:
    """Runs one block. `contents` are the values of integer tensors; other tensors hold zeros."""

    tensors: Mapping[Any, str]
    contents: Mapping[str, Any]
    log: Log = field(default_factory=dict)
    values: dict[Any, Any] = field(default_factory=dict)
    memory: dict[Any, Any] = field(default_factory=dict)
    shapes: dict[Any, tuple[int, ...]] = field(default_factory=dict)

    # -- memory

    def shape(self, buffer: Any) -> tuple[int, ...]:
        if buffer not in self.shapes:
            self.shapes[buffer] = tuple(int(self.value(size)) for size in buffer.shape)
        return self.shapes[buffer]

    def array(self, buffer: Any) -> Any:
        """What a buffer holds; views share their pointer's memory."""
        if buffer.data not in self.memory:
            name = self.tensors.get(buffer.data)
            given = None if name is None else self.contents.get(name)
            size = self.shape(buffer)
            dtype = np.float64 if "float" in str(buffer.dtype) else np.int64
            self.memory[buffer.data] = np.zeros(size, dtype) if given is None else np.array(given)
        return self.memory[buffer.data].reshape(self.shape(buffer))

    def touch(self, buffer: Any, mode: str, index: Element) -> bool:
        """Log an element, and say whether it lies in the buffer. A view's elements are logged as its tensor's."""
        shape = self.shape(buffer)
        if not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
            return False
        if (name := self.tensors.get(buffer.data)) is not None:
            own = np.shape(self.memory[buffer.data])
            place = index if own == shape else np.unravel_index(int(np.ravel_multi_index(index, shape)), own)
            self.log.setdefault((name, mode), set()).add(tuple(int(i) for i in place))
        return True

    # -- expressions

    def value(self, node: Any) -> Any:
        kind = type(node).__name__
        if kind in ("int", "float", "bool"):
            return node
        if kind in ("IntImm", "FloatImm"):
            return node.value
        if kind in ("Var", "SizeVar"):
            return self.values[node]
        if kind in _ARITHMETIC:
            return _ARITHMETIC[kind](self.value(node.a), self.value(node.b))
        match kind:
            case "Div":
                return self.value(node.a) / (self.value(node.b) or 1)
            case "And" | "Or":
                a, b = self.value(node.a), self.value(node.b)
                return (a and b) if kind == "And" else (a or b)
            case "Not":
                return not self.value(node.a)
            case "Cast":
                found = self.value(node.value)
                return found if "float" in str(node.dtype) or not np.isfinite(found) else int(found)
            case "Select":
                both = self.value(node.true_value), self.value(node.false_value)
                return both[0] if self.value(node.condition) else both[1]
            case "BufferLoad":
                index = tuple(int(self.value(i)) for i in node.indices)
                return self.array(node.buffer)[index].item() if self.touch(node.buffer, "read", index) else 0
            case "Call":
                return self.call(node)
        raise NotImplementedError(kind)

    def call(self, node: Any) -> Any:
        name = str(getattr(node.op, "name", ""))
        short = name.rpartition(".")[2]
        if short == "if_then_else":
            condition, *both = (self.value(a) for a in node.args)
            return both[0] if condition else both[1]
        if "atomic" in short and not name.startswith("tl.tileop"):
            load = node.args[0].args[0] if type(node.args[0]).__name__ == "Call" else node.args[0]
            index = tuple(int(self.value(i)) for i in load.indices)
            self.touch(load.buffer, "read", index)
            self.touch(load.buffer, "write", index)
            for each in node.args[1:]:
                self.value(each)
            return 0
        operands = [self.value(a) for a in node.args if type(a).__name__ not in ("StringImm",)]
        if short in ("bitwise_and", "shift_right", "shift_left", "bitwise_or"):
            a, b = (int(o) for o in operands)
            return {"bitwise_and": a & b, "shift_right": a >> b, "shift_left": a << b, "bitwise_or": a | b}[short]
        return 0.0 if "float" in str(node.dtype) else 0

    # -- statements

    def run(self, node: Any) -> None:
        kind = type(node).__name__
        match kind:
            case "SeqStmt":
                for each in node.seq:
                    self.run(each)
            case "For":
                low = int(self.value(node.min))
                for i in range(low, low + int(self.value(node.extent))):
                    self.values[node.loop_var] = i
                    self.run(node.body)
            case "IfThenElse":
                if self.value(node.condition):
                    self.run(node.then_case)
                elif node.else_case is not None:
                    self.run(node.else_case)
            case "Bind":
                self.values[node.var] = self.value(node.value)
            case "AttrStmt":
                self.run(node.body)
            case "BufferStore":
                index, value = tuple(int(self.value(i)) for i in node.indices), self.value(node.value)
                if self.touch(node.buffer, "write", index):
                    array = self.array(node.buffer)
                    array[index] = value if array.dtype == np.float64 else int(value)
            case "Evaluate":
                self.evaluate(node.value)
            case "SBlockRealize":
                self.run(node.block.body)
            case "DeclBuffer" | "AllocBuffer":
                if getattr(node, "body", None) is not None:
                    self.run(node.body)
            case _:
                raise NotImplementedError(kind)

    def evaluate(self, call: Any) -> None:
        if type(call).__name__ != "Call":
            return
        name = str(getattr(call.op, "name", ""))
        if not name.startswith("tl.tileop."):
            self.value(call)
            return
        op = name.removeprefix("tl.tileop.")
        regions = [a for a in call.args if type(a).__name__ == "Call" and str(a.op.name) == "tl.region"]
        for region in regions:
            modes = ("read", "write") if "atomic" in op and int(region.args[1]) != 1 else _MODES[int(region.args[1])]
            for index in self.elements(region) if region.args[0].buffer.data in self.tensors else ():
                for mode in modes:
                    self.touch(region.args[0].buffer, mode, index)
        if op == "copy":
            self.move(*regions)

    def elements(self, region: Any) -> Iterator[Element]:
        load, extents = region.args[0], [int(self.value(e)) for e in region.args[2:]]
        starts = [int(self.value(i)) for i in load.indices]
        extents = [1] * (len(starts) - len(extents)) + extents
        return itertools.product(*(range(s, s + e) for s, e in zip(starts, extents, strict=True)))

    def move(self, source: Any, target: Any) -> None:
        """A copy's elements in row-major order, which is how regions of different ranks meet; of integers only."""
        a, b = self.array(source.args[0].buffer), self.array(target.args[0].buffer)
        whole = a.dtype == b.dtype == np.int64
        for mine, other in zip(self.elements(source), self.elements(target), strict=False) if whole else ():
            if all(0 <= i < n for i, n in zip(other, b.shape, strict=True)):
                b[other] = a[mine] if all(0 <= i < n for i, n in zip(mine, a.shape, strict=True)) else 0


def traces(func: Any, contents: Mapping[str, Any] | None = None) -> Iterator[tuple[tuple[int, ...], Log]]:
    """For some blocks of the grid (`corners`): their indices in the grid's order, and their logs."""
    anatomy = dissect(func)
    tensors = {buffer.data: str(buffer.name) for buffer in func.buffer_map.values()}
    for block in corners([int(loop.extent) for loop in anatomy.grid]):
        tracer = Tracer(tensors, contents or {})
        tracer.values |= {loop.loop_var: i for loop, i in zip(anatomy.grid, block, strict=True)}
        for buffer in func.buffer_map.values():
            tracer.array(buffer)
        threads = [range(n) for n in anatomy.threads] if uses_threads(anatomy) else [range(1)] * 3
        for thread in itertools.product(*threads):
            tracer.values |= dict(zip(anatomy.thread_vars, thread, strict=False))
            for stmt in anatomy.body:
                tracer.run(stmt)
        yield block, tracer.log


def corners(grid: Sequence[int]) -> list[tuple[int, ...]]:
    """The first, the middle and the last block of a grid."""
    return list(dict.fromkeys((tuple(0 for _ in grid), tuple(n // 2 for n in grid), tuple(n - 1 for n in grid))))


def uses_threads(anatomy: Any) -> bool:
    from tvm import tirx

    found = False

    def visit(node: Any) -> None:
        nonlocal found
        found = found or any(node.same_as(v) for v in anatomy.thread_vars)

    for stmt in anatomy.body:
        tirx.stmt_functor.post_order_visit(stmt, visit)
    return found


# -- what a tile program says, enumerated


def number(value: Affine, known: Mapping[Var, int]) -> int:
    """The value of an affine function, computed without the arithmetic of `Affine`."""
    total = value.constant
    for atom, c in value.terms:
        match atom:
            case Var():
                total += c * known[atom]
            case Div(inner, by):
                total += c * (number(inner, known) // by)
            case Mod(inner, by):
                total += c * (number(inner, known) % by)
    return total


def is_exact(access: Access, known: Iterable[Var]) -> bool:
    """Whether an access says precisely what is touched: no guard, and nothing unknown."""
    names = set(known) | {loop.var for loop in access.loops}
    starts = [s for s in access.start if s is not None]
    followed = len(starts) == len(access.start) and all(v in names for s in starts for v in s.variables())
    return followed and not access.guards and all(isinstance(loop.extent, int) for loop in access.loops)


def touched(program: TileProgram, access: Access, block: tuple[int, ...]) -> set[Element]:
    """The elements of its tensor that an access touches in one block; all of a dim that can't be followed."""
    shape = [size for size in program.param(access.tensor).shape if isinstance(size, int)]
    grid = {axis.var: i for axis, i in zip(program.grid, block, strict=True)}
    loops = [(loop.var, loop.extent) for loop in access.loops if isinstance(loop.extent, int)]
    followed = set(grid) | {var for var, _ in loops}
    found: set[Element] = set()
    for turn in itertools.product(*(range(extent) for _, extent in loops)):
        known = grid | {var: i for (var, _), i in zip(loops, turn, strict=True)}
        spans = []
        for start, extent, size in zip(access.start, access.extent, shape, strict=True):
            if start is None or not set(start.variables()) <= followed:
                spans.append(range(size))
            else:
                first = number(start, known)
                spans.append(range(max(0, first), min(size, first + extent)))
        found.update(itertools.product(*spans))
    return found
