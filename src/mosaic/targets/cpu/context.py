"""What the emitter knows while it walks one kernel: names, buffers, bounds, and the lines written so far."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from mosaic.errors import ReadError
from mosaic.targets.cpu.bounds import Bounds
from mosaic.targets.cpu.nodes import Node, Region, constant, dtype_of, region_of, scope_of, strides_of
from mosaic.targets.cpu.scalars import SCALARS, Scalar

ALIGNMENT: Final = 64
"""Bytes to which every on-chip buffer is aligned: a cache line, and the widest vector register."""

STACK_BYTES: Final = 256
"""On-chip buffers up to this size are C arrays, which gcc can keep in registers; larger ones live in scratch memory."""

EXPLICIT_THREADS: Final = "it uses threadIdx explicitly; write it with T.Parallel and tile operators to run it on the CPU"

_WORDS: Final = (
    "pack auto break case char const continue default do double else enum extern float for goto if inline int long main register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof scratch tensors "
    "integers floats failed int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t INT32_MIN INT64_MIN INT32_MAX INT64_MAX "
    "NAN INFINITY NULL linux unix"
)
_KEYWORDS: Final = frozenset(_WORDS.split())
"""What no name of a kernel may be: words of C, and the names that every emitted file uses itself."""


@dataclass(frozen=True)
class View:
    """A buffer as C sees it: a pointer, what it points at, and the distance between neighbours along each axis."""

    pointer: str
    scalar: Scalar
    shape: tuple[Node, ...]
    strides: tuple[Node, ...]
    offset: Node
    is_global: bool


@dataclass(frozen=True)
class Allocation:
    """One on-chip buffer: `bytes` in scratch memory from `offset` on, or on the stack where offset is None."""

    name: str
    scalar: Scalar
    elements: int
    offset: int | None

    @property
    def bytes(self) -> int:
        return self.elements * self.scalar.bytes


class Names:
    """C identifiers for TVM variables: their own names where these are free in the scopes around them."""

    def __init__(self) -> None:
        self._scopes: list[dict[str, Node | None]] = [{}]
        self._of: dict[Node, str] = {}

    @contextmanager
    def scope(self) -> Iterator[None]:
        """A C block: names given inside are free again after it."""
        self._scopes.append({})
        yield
        self._scopes.pop()

    def new(self, wanted: str, variable: Node | None = None) -> str:
        """A free identifier like `wanted`, and from now on that of `variable`."""
        base = re.sub(r"\W", "_", wanted)
        if not base or base[0].isdigit() or base in _KEYWORDS or base.lower().startswith(("ms_", "__")):
            base = f"v_{base}"
        name, count = base, 1
        while any(name in scope for scope in self._scopes):
            name, count = f"{base}_{count}", count + 1
        self._scopes[-1][name] = variable
        if variable is not None:
            self._of[variable] = name
        return name

    def of(self, variable: Node) -> str | None:
        return self._of.get(variable)

    def is_visible(self, variable: Node) -> bool:
        """Whether the variable is in scope here."""
        return any(found is not None and found.same_as(variable) for scope in self._scopes for found in scope.values())


@dataclass
class Context:
    """The state of emitting one kernel.

    `checked` asks for guards around on-chip memory too. `lines` is the body of the block function so far;
    `written` the data variables it writes to, and `overlapping` those that its author says may share memory;
    `deferred` the variables whose values can only be computed where they are used.
    """

    kernel: str
    checked: bool = False
    names: Names = field(default_factory=Names)
    bounds: Bounds = field(default_factory=Bounds)
    sections: set[str] = field(default_factory=set)
    safe_values: dict[Node, Node] = field(default_factory=dict)
    reducers: dict[Node, str] = field(default_factory=dict)
    written: set[Node] = field(default_factory=set)
    overlapping: set[Node] = field(default_factory=set)
    thread_variables: list[Node] = field(default_factory=list)
    deferred: dict[Node, Node] = field(default_factory=dict)
    zeroed: set[str] = field(default_factory=set)
    allocations: list[Allocation] = field(default_factory=list)
    scratch_bytes: int = 0
    pack_bytes: int = 0
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    _pointers: dict[Node, tuple[str, str]] = field(default_factory=dict)
    _buffers: dict[Node, Node] = field(default_factory=dict)

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    @contextmanager
    def block(self, head: str, tail: str = "}") -> Iterator[None]:
        """`head {` ... `}`, with its own scope of names."""
        self.line(head + " {" if head else "{")
        self.depth += 1
        with self.names.scope():
            yield
        self.depth -= 1
        self.line(tail)

    @contextmanager
    def quiet(self) -> Iterator[list[str]]:
        """Write into a list that is then thrown away, to see what would be written."""
        kept, self.lines = self.lines, []
        yield self.lines
        self.lines = kept

    def error(self, what: str) -> ReadError:
        return ReadError(f"kernel {self.kernel!r} cannot be compiled for the CPU: {what}")

    def scalar(self, dtype: str) -> Scalar:
        """The scalar type of that name, whose helpers are now part of the program. Raises ReadError for one unknown."""
        scalar = SCALARS.get(dtype)
        if scalar is None:
            raise self.error(f"it uses the dtype {dtype}, which the CPU target does not know; cast it to one of {', '.join(SCALARS)}")
        if scalar.section:
            self.sections.add(scalar.section)
        return scalar

    def global_pointer(self, buffer: Node, name: str) -> None:
        """`buffer` is a parameter; its pointer is called `name`."""
        self._pointers[buffer.data] = (name, dtype_of(buffer))

    def allocate(self, buffer: Node) -> None:
        """Make room for an on-chip buffer, once for each data variable. Raises ReadError if its size is not constant."""
        if buffer.data in self._pointers:
            return
        scope = scope_of(buffer)
        if scope.startswith(("shared.barrier", "shared.cluster_barrier")):
            raise self.error(f"it uses the barrier {buffer.name!r}; its threads play different roles, which a CPU thread cannot")
        elements = 1
        for extent in buffer.shape:
            size = constant(extent)
            if size is None:
                raise self.error(f"the on-chip buffer {buffer.name!r} has the size {extent}, which is not constant")
            elements *= size
        scalar = self.scalar(dtype_of(buffer))
        name = self.names.new(str(buffer.name), None)
        offset = None
        if elements * scalar.bytes > STACK_BYTES:
            offset = self.scratch_bytes
            self.scratch_bytes += -(-elements * scalar.bytes // ALIGNMENT) * ALIGNMENT
        self.allocations.append(Allocation(name, scalar, elements, offset))
        self._pointers[buffer.data] = (name, scalar.name)
        self._buffers[buffer.data] = buffer
        if scope == "local.var":  # TileLang's variables start as zero
            self.zeroed.add(name)

    def allocated(self, pointer: Node) -> Node:
        """The on-chip buffer whose memory `pointer` is. Raises ReadError if there is none."""
        if pointer not in self._buffers:
            raise self.error(f"it hands on the pointer {pointer}, which the CPU target does not follow")
        return self._buffers[pointer]

    def written_view(self, buffer: Node) -> View:
        """As `view`, for a buffer that is about to be written."""
        self.written.add(buffer.data)
        return self.view(buffer)

    def view(self, buffer: Node) -> View:
        """How to reach `buffer`; it may be another shape or dtype of memory that has one already."""
        found = self._pointers.get(buffer.data)
        if found is None:
            raise self.error(f"the buffer {buffer.name!r} ({scope_of(buffer)}) is neither a parameter nor allocated")
        pointer, dtype = found
        scalar = self.scalar(dtype_of(buffer))
        if scalar.storage != SCALARS[dtype].storage:
            pointer = f"(({scalar.storage} *){pointer})"
        return View(pointer, scalar, tuple(buffer.shape), strides_of(buffer), buffer.elem_offset, scope_of(buffer) == "global")

    def region(self, node: Node) -> Region:
        """What a tile operator's argument covers; a start that is always negative counts from the end, as in Python."""
        found = region_of(node)
        starts = zip(found.minimum, found.buffer.shape, strict=True)
        return Region(found.buffer, tuple(m + size if self.bounds.negative(m) else m for m, size in starts), found.extent)

    def variable(self, node: Node) -> str:
        """The C name of a TVM variable. Raises ReadError if nothing has bound it."""
        name = self.names.of(node)
        if any(node.same_as(variable) for variable in self.thread_variables):
            raise self.error(EXPLICIT_THREADS)
        if name is None:
            raise self.error(f"the variable {node.name!r} is used but nothing binds it")
        return name
