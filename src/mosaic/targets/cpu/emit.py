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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mosaic.targets.cpu import tile_ops
from mosaic.targets.cpu.context import EXPLICIT_THREADS, Context, is_variable
from mosaic.targets.cpu.expressions import Expressions
from mosaic.targets.cpu.nodes import Node, constant, dtype_of, is_global, kind, operator_name, statements, uses
from mosaic.targets.cpu.runtime import prelude

THREAD_BINDING: Final = 4
"""`tirx.ForKind.THREAD_BINDING`."""

_IGNORED_CALLS: Final = frozenset(
    "tvm_storage_sync sync_threads sync_warp sync_grid syncwarp no_set_max_nreg set_max_nreg fence_proxy_async pdl_sync pdl_trigger "
    "ptx_commit_group ptx_wait_group cp_async_wait_group wait_wgmma warpgroup_arrive warpgroup_wait warpgroup_fence_operand "
    "tma_store_arrive tma_store_wait ptx_fence_barrier_init".split()
)
"""Orders and hints between threads: nothing where a block runs as one thread, a statement after the other."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of the kernel. `shape` is None for a scalar."""

    name: str
    dtype: str
    shape: tuple[Node, ...] | None
    strides: tuple[Node, ...] = ()


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


def emit_c(func: Node, *, poison: bool = False) -> str:
    """The C file of a PrimFunc that no pass has lowered; the same text for the same program.

    With `poison`, on-chip memory is filled with NaN (0x7f.. for integers) when a block starts, so that
    reading what nothing wrote shows. Raises ReadError for what cannot run on a CPU, naming it.
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

    def run(self) -> Emitted:
        parameters, sizes = self._parameters()
        body = self._func.body
        while kind(body) in ("SBlockRealize", "SBlock"):
            body = body.block.body if kind(body) == "SBlockRealize" else body.body
        for number, nest in enumerate(statements(body)):
            self._kernel(nest, number, sizes)
        lines = [
            f"/* {self._name} */",
            *self._functions,
            "int mosaic_run(void *const *tensors, const int64_t *integers, const double *floats) {",
            "  (void)tensors; (void)integers; (void)floats;",
            "  int failed = 0;",
            *self._launches,
            "  return failed;",
            "}",
        ]
        return Emitted(tuple(sorted(self._sections)), "\n".join(lines) + "\n", parameters, sizes)

    def _parameters(self) -> tuple[tuple[Parameter, ...], tuple[Node, ...]]:
        parameters, sizes = [], []
        buffers = self._func.buffer_map
        for variable in self._func.params:
            buffer = buffers[variable] if variable in buffers else None
            if buffer is None:
                parameters.append(Parameter(str(variable.name), dtype_of(variable), None))
                continue
            parameters.append(Parameter(str(buffer.name), dtype_of(buffer), tuple(buffer.shape), tuple(buffer.strides)))
            for extent in (*buffer.shape, *buffer.strides):
                if is_variable(extent) and not any(extent.same_as(size) for size in sizes):
                    if not any(extent.same_as(other) for other in self._func.params):
                        sizes.append(extent)
        return tuple(parameters), tuple(sizes)

    def _kernel(self, nest: Node, number: int, sizes: Sequence[Node]) -> None:
        """One grid of blocks: its block function, and the loop that calls it."""
        context = Context(self._name)
        declared, unpack, passed = self._interface(context, sizes)
        walker = _Walker(context, self._poison)
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
        scratch = [a for a in context.allocations if a.offset is not None]
        function = f"{'block' if number == 0 else f'block_{number}'}"
        declared += [f"int {name}" for name, _, _ in grid]
        declared += [f"{a.scalar.storage} *restrict {a.name}" for a in scratch]
        pack = ["float *restrict pack"] if context.pack_bytes else []
        self._functions += [
            f"static __attribute__((noinline)) void {function}({', '.join(declared + pack)}) {{",
            *self._prologue(context),
            *context.lines,
            "}",
            "",
        ]
        passed += [name for name, _, _ in grid]
        passed += [f"({a.scalar.storage} *)(scratch + {a.offset})" for a in scratch]
        passed += [f"(float *)(scratch + {context.scratch_bytes})"] if context.pack_bytes else []
        self._launch(f"{function}({', '.join(passed)});", unpack, grid, context.scratch_bytes + context.pack_bytes)

    def _interface(self, context: Context, sizes: Sequence[Node]) -> tuple[list[str], list[str], list[str]]:
        """The block function's parameters, their C definitions in the entry function, and the arguments to pass."""
        declared, unpack, passed = [], [], []
        integers = floats = tensors = 0
        for size in sizes:
            context.bounds.size(size)
            name = context.names.new(str(size.name), size)
            declared.append(f"int64_t {name}")
            unpack.append(f"const int64_t {name} = integers[{integers}];")
            passed.append(name)
            integers += 1
        for variable in self._func.params:
            if variable in self._func.buffer_map:
                buffer = self._func.buffer_map[variable]
                storage = context.scalar(dtype_of(buffer)).storage
                name = context.names.new(str(buffer.name))
                context.global_pointer(buffer, name)
                declared.append(f"{storage} *{name}")
                unpack.append(f"{storage} *const {name} = tensors[{tensors}];")
                tensors += 1
            else:
                scalar = context.scalar(dtype_of(variable))
                name = context.names.new(str(variable.name), variable)
                declared.append(f"{scalar.value} {name}")
                source = f"floats[{floats}]" if scalar.is_float else f"integers[{integers}]"
                unpack.append(f"const {scalar.value} {name} = {scalar.rounded(f'({scalar.value}){source}')};")
                floats, integers = floats + scalar.is_float, integers + (not scalar.is_float)
            passed.append(name)
        return declared, unpack, passed

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
        blocks = 1
        for _, _, extent in grid:
            blocks *= extent if extent is not None else 1 << 20
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


class _Walker:
    """Writes the statements of a block into the context."""

    def __init__(self, context: Context, poison: bool) -> None:
        self._context = context
        self._poison = poison
        self.expressions = Expressions(context)

    def visit(self, node: Node) -> None:
        name = kind(node)
        handler: Callable[[Node], None] | None = getattr(self, f"_{name.lower()}", None)
        if handler is None:
            raise self._context.error(f"it holds the statement {name}: {str(node)[:80]}")
        handler(node)

    def _seqstmt(self, node: Node) -> None:
        for child in node.seq:
            self.visit(child)

    def _sblockrealize(self, node: Node) -> None:
        block = node.block
        for key, value in block.annotations.items():
            if str(key) == "safe_value_map":
                self._context.safe_values.update(dict(value.items()))
            elif str(key).startswith("reducer_info"):
                self._context.reducers.update({variable: str(info["op"]) for variable, info in value.items()})
        for buffer in block.alloc_buffers:
            if is_global(buffer):
                raise self._context.error(f"it allocates the global buffer {buffer.name!r}; pass it as a parameter instead")
            self._context.allocate(buffer)
        self.visit(block.body)

    def _declbuffer(self, node: Node) -> None:
        if getattr(node, "body", None) is not None:
            self.visit(node.body)

    def _allocbuffer(self, node: Node) -> None:
        self._context.allocate(node.buffer)
        if getattr(node, "body", None) is not None:
            self.visit(node.body)

    def _attrstmt(self, node: Node) -> None:
        self.visit(node.body)  # swizzle patterns, launch bounds and pragmas: hints to a GPU compiler

    def _assertstmt(self, node: Node) -> None:
        if getattr(node, "body", None) is not None:
            self.visit(node.body)

    def _for(self, node: Node) -> None:
        context = self._context
        if int(node.kind) == THREAD_BINDING:
            raise context.error(EXPLICIT_THREADS)
        first, extent = self.expressions.value(node.min), self.expressions.value(node.extent)
        last = extent if constant(node.min) == 0 else f"{first} + {extent}"
        context.bounds.loop(node.loop_var, node.min, node.extent)
        with context.names.scope():
            name = context.names.new(str(node.loop_var.name), node.loop_var)
            step = "++" if getattr(node, "step", None) is None else f" += {self.expressions.value(node.step)}"
            kind_of = "int64_t" if dtype_of(node.loop_var) == "int64" else "int"
            with context.block(f"for ({kind_of} {name} = {first}; {name} < {last}; {name}{step})"):
                self.visit(node.body)

    def _while(self, node: Node) -> None:
        with self._context.block(f"while ({self.expressions.value(node.condition)})"):
            self.visit(node.body)

    def _ifthenelse(self, node: Node) -> None:
        context = self._context
        otherwise = node.else_case
        with context.block(f"if ({self.expressions.value(node.condition)})"), context.bounds.given(node.condition):
            self.visit(node.then_case)
        if otherwise is not None:
            with context.block("else"):
                self.visit(otherwise)

    def _bind(self, node: Node) -> None:
        context = self._context
        if kind(node.value) == "Call" and operator_name(node.value) == "launch_thread_idx":
            context.thread_variables.append(node.var)
            return
        if uses(node.value, context.thread_variables):  # an error only where it is used
            context.thread_variables.append(node.var)
            return
        if dtype_of(node.var) == "handle":
            raise context.error(f"it binds the pointer {node.var.name!r}, which the CPU target does not follow")
        scalar = context.scalar(dtype_of(node.var))
        value = self.expressions.value(node.value)
        if not scalar.is_float:
            context.bounds.equal(node.var, node.value)
        name = context.names.new(str(node.var.name), node.var)
        context.line(f"const {scalar.value} {name} = {value};")

    def _bufferstore(self, node: Node) -> None:
        context, emit = self._context, self.expressions
        view = context.view(node.buffer)
        indices = emit.wrapped(view, node.indices)
        value = emit.cast(emit.value(node.value), context.scalar(dtype_of(node.value)), view.scalar)
        store = f"{view.pointer}[{emit.index(view, indices)}] = {view.scalar.stored(value)};"
        conditions = emit.in_bounds(view, indices) if view.is_global else []
        context.line(f"if ({emit.all_of(conditions)}) {store}" if conditions else store)

    def _evaluate(self, node: Node) -> None:
        call = node.value
        if kind(call) in ("IntImm", "FloatImm"):
            return
        if kind(call) != "Call":
            raise self._context.error(f"it evaluates {kind(call)}: {str(call)[:80]}")
        name = operator_name(call)
        if name in _IGNORED_CALLS:
            return
        if name == "loop_break":
            self._context.line("break;")
            return
        handler = tile_ops.OPERATORS.get(name)
        if handler is None:
            raise self._context.error(f"it calls {name}, which the CPU target does not know")
        handler(self._context, self.expressions, call)
