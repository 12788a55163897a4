"""A tile program as one C file: blocks become iterations of a parallel loop, on-chip buffers plain arrays.

The program is taken as its author's function returns it, before any of TileLang's lowering passes, and
is given the meaning its tile operators have; threads, layouts, pipelining and warp policies, which do not
change what a block computes, are not looked at. That makes the result a check on the GPU path that shares
no code with it. Each statement runs for the whole block before the next one starts, so barriers are nothing.

    for bx in T.thread_binding(n, "blockIdx.x"):     #pragma omp for
        acc = T.alloc_fragment((64,), "float32")     for (bx = 0; bx < n; bx++)
        for i in T.Parallel(64):                ->     block(..., bx, acc);
            acc[i] = A[bx * 64 + i]                  // acc[i] = A[bx * 64 + i], or 0 where that is outside A
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mosaic.targets.cpu.context import EXPLICIT_THREADS, Context
from mosaic.targets.cpu.nodes import Node, constant, dtype_of, is_variable, kind, statements
from mosaic.targets.cpu.runtime import prelude
from mosaic.targets.cpu.statements import THREAD_BINDING, Statements


@dataclass(frozen=True)
class Parameter:
    """One parameter of the kernel. `shape` is None for a scalar; `overlaps` if its author says that its memory may be another's too."""

    name: str
    dtype: str
    shape: tuple[Node, ...] | None
    strides: tuple[Node, ...] = ()
    is_written: bool = False
    overlaps: bool = False


@dataclass(frozen=True)
class Emitted:
    """The C of one kernel: what its header needs, its own text, and how it is called.

    `sizes` are the symbolic sizes that the caller passes, in order, as 64-bit integers, before the
    integer scalars among `parameters`.
    """

    sections: tuple[str, ...]
    text: str
    parameters: tuple[Parameter, ...]
    sizes: tuple[Node, ...]

    @property
    def source(self) -> str:
        """The whole C file."""
        return prelude(self.sections) + "\n" + self.text


@dataclass(frozen=True)
class _Input:
    """One value that the caller passes: its C name and type, and where it is found; `data` for the pointer of a tensor."""

    name: str
    type: str
    source: str
    data: Node | None = None

    @property
    def definition(self) -> str:
        return f"{self.type} {'*' if self.data is not None else ''}const {self.name} = {self.source};"

    def declaration(self, context: Context) -> str:
        """The block function's parameter. TileLang, too, takes tensors not to overlap unless their author says so."""
        if self.data is None:
            return f"{self.type} {self.name}"
        constness = "" if self.data in context.written else "const "
        return f"{constness}{self.type} *{'' if self.data in context.overlapping else 'restrict '}{self.name}"


def emit_c(func: Node, *, poison: bool = False) -> str:
    """The C file of a PrimFunc that no pass has lowered; the same text for the same program.

    With `poison`, on-chip memory is filled with NaN (0x7f.. for integers) when a block starts, so that
    reading what nothing wrote shows, and accesses outside an on-chip buffer are noticed. Raises ReadError
    for what cannot run on a CPU, naming it.
    """
    return emit(func, poison=poison).source


def emit(func: Node, *, poison: bool = False) -> Emitted:
    """As `emit_c`, in parts."""
    return _Emitter(func, poison).run()


class _Emitter:
    def __init__(self, func: Node, poison: bool) -> None:
        attributes = func.attrs
        self._func = func
        self._name = str(attributes["global_symbol"]) if attributes and "global_symbol" in attributes else "kernel"
        self._poison = poison
        self._functions: list[str] = []
        self._launches: list[str] = []
        self._sections: set[str] = set()
        self._written: set[Node] = set()
        self._overlapping: set[Node] = set()

    def run(self) -> Emitted:
        sizes = self._sizes()
        body = self._func.body
        while kind(body) in ("SBlockRealize", "SBlock"):
            body = body.block.body if kind(body) == "SBlockRealize" else body.body
        for number, nest in enumerate(statements(body)):
            self._kernel(nest, number, sizes)
        lines = [
            f"/* {self._name} */",
            *(["static int ms_fault; /* on-chip memory was accessed outside a buffer */", ""] if self._poison else []),
            *self._functions,
            "int mosaic_run(void *const *tensors, const int64_t *integers, const double *floats) {",
            "  (void)tensors; (void)integers; (void)floats;",
            f"  int failed = 0;{' ms_fault = 0;' if self._poison else ''}",
            *self._launches,
            f"  return failed{' | ms_fault << 1' if self._poison else ''};",
            "}",
        ]
        return Emitted(tuple(sorted(self._sections)), "\n".join(lines) + "\n", self._parameters(), tuple(sizes))

    def _parameters(self) -> tuple[Parameter, ...]:
        parameters = []
        for variable in self._func.params:
            if variable in self._func.buffer_map:
                buffer = self._func.buffer_map[variable]
                use = (buffer.data in self._written, buffer.data in self._overlapping)
                parameters.append(Parameter(str(buffer.name), dtype_of(buffer), tuple(buffer.shape), tuple(buffer.strides), *use))
            else:
                parameters.append(Parameter(str(variable.name), dtype_of(variable), None))
        return tuple(parameters)

    def _sizes(self) -> list[Node]:
        """The symbols that are dimensions or strides of tensors, in order, less those that are parameters themselves."""
        found: list[Node] = []
        for buffer in (self._func.buffer_map[v] for v in self._func.params if v in self._func.buffer_map):
            for extent in (*buffer.shape, *buffer.strides):
                if is_variable(extent) and not any(extent.same_as(other) for other in (*found, *self._func.params)):
                    found.append(extent)
        return found

    def _kernel(self, nest: Node, number: int, sizes: Sequence[Node]) -> None:
        """One grid of blocks: its block function, and the loop that calls it."""
        context = Context(self._name, checked=self._poison)
        inputs = self._interface(context, sizes)
        walker = Statements(context)
        loops: list[tuple[str, Node]] = []
        while kind(nest) == "For" and int(nest.kind) == THREAD_BINDING:
            tag = str(nest.thread_binding.thread_tag)
            if not tag.startswith("blockIdx"):
                raise context.error(EXPLICIT_THREADS)
            context.bounds.loop(nest.loop_var, nest.min, nest.extent)
            loops.append((context.names.new(str(nest.loop_var.name), nest.loop_var), nest.extent))
            nest = nest.body
        walker.visit(nest)
        grid = [(name, walker.expressions.value(extent), constant(extent)) for name, extent in loops]
        self._sections |= context.sections
        self._written |= context.written
        self._overlapping |= context.overlapping
        function = f"ms_block_{number}"
        scratch = [a for a in context.allocations if a.offset is not None]
        declared = [given.declaration(context) for given in inputs] + [f"int {name}" for name, _, _ in grid]
        declared += [f"{a.scalar.storage} *restrict {a.name}" for a in scratch]
        passed = [given.name for given in inputs] + [name for name, _, _ in grid]
        passed += [f"({a.scalar.storage} *)(scratch + {a.offset})" for a in scratch]
        if context.pack_bytes:
            declared.append("char *restrict pack")
            passed.append(f"scratch + {context.scratch_bytes}")
        head = f"static __attribute__((noinline)) void {function}({', '.join(declared)}) {{"
        self._functions += [head, *self._prologue(context), *context.lines, "}", ""]
        unpack = [given.definition for given in inputs]
        self._launch(f"{function}({', '.join(passed)});", unpack, grid, context.scratch_bytes + context.pack_bytes)

    def _interface(self, context: Context, sizes: Sequence[Node]) -> list[_Input]:
        """What the caller passes, in the order of the block function's parameters."""
        inputs = []
        integers = floats = tensors = 0
        for size in sizes:
            context.bounds.size(size)
            name = context.names.new(str(size.name), size)
            inputs.append(_Input(name, "int64_t", f"integers[{integers}]"))
            integers += 1
        for variable in self._func.params:
            if variable in self._func.buffer_map:
                buffer = self._func.buffer_map[variable]
                name = context.names.new(str(buffer.name))
                context.global_pointer(buffer, name)
                inputs.append(_Input(name, context.scalar(dtype_of(buffer)).storage, f"tensors[{tensors}]", buffer.data))
                tensors += 1
            else:
                scalar = context.scalar(dtype_of(variable))
                name = context.names.new(str(variable.name), variable)
                source = f"floats[{floats}]" if scalar.is_float else f"integers[{integers}]"
                inputs.append(_Input(name, scalar.value, scalar.rounded(f"({scalar.value}){source}")))
                floats, integers = floats + scalar.is_float, integers + (not scalar.is_float)
        return inputs

    def _prologue(self, context: Context) -> list[str]:
        """On-chip buffers of the block function: small ones as arrays, `local.var` zeroed, the rest poisoned if asked."""
        lines = []
        for a in context.allocations:
            if a.offset is None:
                zero = " = {0}" if a.name in context.zeroed else ""
                lines.append(f"  {a.scalar.storage} {a.name}[{a.elements}] __attribute__((aligned(64))){zero};")
            if self._poison and a.name not in context.zeroed:
                byte = "0xff" if a.scalar.is_float else "0x7f"
                lines.append(f"  __builtin_memset({a.name}, {byte}, {a.bytes});")
        return lines

    def _launch(self, call: str, unpack: Sequence[str], grid: Sequence[tuple[str, str, int | None]], scratch: int) -> None:
        blocks = math.prod(extent if extent is not None else 1 << 20 for _, _, extent in grid)
        lines = ["{", *(f"  {line}" for line in unpack)]
        if blocks > 1:
            lines.append("  #pragma omp parallel")
        lines.append("  {")
        if scratch:
            lines += [f"    char *scratch = aligned_alloc(64, {-(-scratch // 64) * 64});", "    if (!scratch) {"]
            lines += ["      #pragma omp atomic write"] if blocks > 1 else []
            lines += ["      failed = 1;", "    }"]
        if blocks > 1:
            # small chunks balance blocks of unequal work, such as those of causal attention
            chunk = max(1, min(blocks // 64, 64))
            collapse = f" collapse({len(grid)})" if len(grid) > 1 else ""
            lines.append(f"    #pragma omp for{collapse} schedule(dynamic, {chunk})")
        for depth, (name, extent, _) in enumerate(grid):
            lines.append(f"    {'  ' * depth}for (int {name} = 0; {name} < {extent}; {name}++)")
        lines.append(f"    {'  ' * len(grid)}{'if (scratch) ' if scratch else ''}{call}")
        lines += ["    free(scratch);"] if scratch else []
        lines += ["  }", "}"]
        self._launches += [f"  {line}" for line in lines]
