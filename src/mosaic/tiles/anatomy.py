"""The fixed frame of a TileLang PrimFunc: block loops, thread bindings, the root block.

    SBlockRealize                         # top, holds nothing
      For blockIdx.x ... For blockIdx.z   # the grid
        Bind tx, ty, tz                   # thread indices
        SBlockRealize "tilelang_root"     # allocations, annotations, the body

`dissect` takes a PrimFunc apart along this frame and `assemble` puts it together again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx

from mosaic.errors import ReadError

ROOT = "tilelang_root"
LAUNCH = "tl.launch_threads"


@dataclass(frozen=True)
class Anatomy:
    """A PrimFunc's parts, as TIR nodes."""

    func: Any
    top: Any
    grid: tuple[Any, ...]
    binds: tuple[Any, ...]
    root: Any

    @property
    def block(self) -> Any:
        return self.root.block

    @property
    def body(self) -> tuple[Any, ...]:
        """The statements of the root block."""
        return statements(self.block.body)

    @property
    def allocations(self) -> tuple[Any, ...]:
        return tuple(self.block.alloc_buffers)

    @property
    def thread_vars(self) -> tuple[Any, ...]:
        return tuple(bind.var for bind in self.binds)

    @property
    def threads(self) -> tuple[int, int, int]:
        x, y, z = (int(n) for n in self.block.annotations[LAUNCH])
        return x, y, z


def statements(stmt: Any) -> tuple[Any, ...]:
    """A sequence's statements; a single statement alone."""
    return tuple(stmt.seq) if type(stmt).__name__ == "SeqStmt" else (stmt,)


def sequence(stmts: Sequence[Any]) -> Any:
    """One statement out of several."""
    if not stmts:
        return tirx.Evaluate(tirx.IntImm("int32", 0))
    return stmts[0] if len(stmts) == 1 else tirx.SeqStmt(list(stmts))


def kernel_name(func: Any) -> str:
    attrs = func.attrs
    return str(attrs["global_symbol"]) if attrs is not None and "global_symbol" in attrs else "kernel"


def dissect(func: Any) -> Anatomy:
    """The parts of a TileLang PrimFunc.

    Raises ReadError if it has no launch, several launches, or statements around the launch.
    """
    name = kernel_name(func)
    top = func.body
    if type(top).__name__ != "SBlockRealize":
        raise ReadError(f"kernel {name!r} has no T.Kernel launch that can be read; its body is a {type(top).__name__}")
    node, grid = top.block.body, []
    if top.block.alloc_buffers:
        raise ReadError(f"kernel {name!r} allocates memory outside its T.Kernel launch, which cannot be read; pass it in as a tensor")
    while True:
        kind = type(node).__name__
        if kind == "For" and node.thread_binding is not None:
            grid.append(node)
            node = node.body
        elif kind == "SeqStmt" and all(_is_thread_bind(s) for s in list(node.seq)[:-1]) and type(node.seq[-1]).__name__ == "SBlockRealize":
            binds, root = tuple(node.seq)[:-1], node.seq[-1]
            break
        elif kind == "SBlockRealize":
            binds, root = (), node
            break
        elif kind == "SeqStmt":
            raise ReadError(f"kernel {name!r} has several launches or statements around T.Kernel; give each launch a function of its own")
        else:
            raise ReadError(f"kernel {name!r} has a {kind} above its T.Kernel launch, which cannot be read")
    if root.block.name_hint != ROOT or LAUNCH not in root.block.annotations:
        raise ReadError(f"kernel {name!r} has no T.Kernel launch with threads; Mosaic reads kernels made for GPUs")
    return Anatomy(func, top, tuple(grid), binds, root)


def _is_thread_bind(stmt: Any) -> bool:
    return type(stmt).__name__ == "Bind" and "launch_thread_idx" in str(getattr(getattr(stmt.value, "op", None), "name", ""))


def assemble(
    like: Anatomy,
    *,
    params: Sequence[tuple[Any, Any]],
    body: Sequence[Any],
    allocations: Sequence[Any],
    annotations: dict[str, Any],
    grid: Sequence[Any] | None = None,
    name: str | None = None,
) -> Any:
    """A PrimFunc with the frame of `like` and another inside; `params` are (handle, buffer) pairs."""
    block = like.block
    root = tirx.SBlock(
        block.iter_vars,
        block.reads,
        block.writes,
        block.name_hint,
        sequence(body),
        block.init,
        list(allocations),
        block.match_buffers,
        annotations,
    )
    node: Any = (
        tirx.SeqStmt([*like.binds, tirx.SBlockRealize(like.root.iter_values, like.root.predicate, root)])
        if like.binds
        else (tirx.SBlockRealize(like.root.iter_values, like.root.predicate, root))
    )
    for loop in reversed(like.grid if grid is None else tuple(grid)):
        node = tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, node, loop.thread_binding, loop.annotations)
    outer = like.top.block
    top = tirx.SBlock(
        outer.iter_vars,
        outer.reads,
        outer.writes,
        outer.name_hint,
        node,
        outer.init,
        outer.alloc_buffers,
        outer.match_buffers,
        outer.annotations,
    )
    realize = tirx.SBlockRealize(like.top.iter_values, like.top.predicate, top)
    func = tirx.PrimFunc([p for p, _ in params], realize, like.func.ret_type, dict(params), like.func.attrs)
    return func if name is None else func.with_attr("global_symbol", name)
