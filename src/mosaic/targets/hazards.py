"""Shapes of loops that TileLang 0.1.15 lowers to wrong code without a word, found in the program before it is lowered.

Warp specialization (Hopper and later) moves the copies of a pipelined loop to producer warps. It goes wrong where that loop
stands in a loop that is not pipelined itself, and that one updates what was set before it:

    T.clear(total)                       total is cleared again in every iteration of n, because what stands before
    for n in T.serial(8):                that loop is moved into the consumers' part inside it
        for k in T.Pipelined(...): ...
        total += ...

On every target, a pipelined loop goes wrong

- that reads a shared buffer before it copies the next tile into it: the wait for that copy is lost (tilelang issue 2668, open);
- that copies into a shared buffer which is also used outside of it: its copies of the buffer, one a stage, are addressed, but
  memory is reserved for one.

All were seen in the emitted source, and on an H100 or H200 (2026-11): relative errors of 1.6 and 0.4, and an illegal memory access.
A specialized loop of one iteration hung in earlier releases (issue 2566, open): it ran here, but as it gains nothing it is avoided too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tilelang  # noqa: F401  (puts TileLang's own tvm on the path)
from tvm import tirx
from tvm.tirx.functor import PyStmtExprMutator, mutator
from tvm.tirx.stmt_functor import post_order_visit

Node = Any


def specialization_hazard(func: Any) -> str | None:
    """Why this program must be lowered without warp specialization, in a few words, or None."""
    return _find(func.body, [], [])


def _find(node: Node, before: list[Node], carrying: list[str]) -> str | None:
    """Walk in program order: `before` gathers the on-chip buffers written so far, `carrying` the names of the
    enclosing loops that are not pipelined and update any of these."""
    match _kind(node):
        case "SeqStmt":
            for child in node.seq:
                if found := _find(child, before, carrying):
                    return found
            return None
        case "For" if _stages(node) >= 1:
            if _number(node.extent) in (0, 1):
                return f"the pipelined loop over {node.loop_var.name} runs once, which has hung"
            if carrying:
                inner, outer = node.loop_var.name, carrying[-1]
                return (
                    f"the pipelined loop over {inner} stands in that over {outer}, which updates what was set before it and would reset it"
                )
        case "For" | "While" as kind:
            body = list(_written(node.body))
            carries = any(buffer.same_as(other) for buffer in body for other in before)
            runs_once = kind == "For" and _number(node.extent) == 1
            is_loop = kind == "While" or node.thread_binding is None
            name = [node.loop_var.name if kind == "For" else "its condition"] if carries and is_loop and not runs_once else []
            if found := _find(node.body, before, carrying + name):
                return found
            return None
        case "IfThenElse":
            for branch in (node.then_case, node.else_case):
                if branch is not None and (found := _find(branch, before, carrying)):
                    return found
            return None
        case "SBlockRealize":
            return _find(node.block, before, carrying)
        case "SBlock" | "AttrStmt":
            return _find(node.body, before, carrying)
    before.extend(_written(node))
    return None


def drop_unsafe_pipelines(func: Any) -> tuple[Any, tuple[str, ...]]:
    """The program with no pipelining on the loops that cannot have it, and why: a sentence's end for each.

    Before: `for k in T.Pipelined(8, num_stages=2): use(tile); T.copy(a[k], tile)`; after: the same loop with no stages.
    """
    loops: list[Node] = []

    def visit(node: Node) -> None:
        if _kind(node) == "For" and _stages(node) >= 1:
            loops.append(node)

    post_order_visit(func.body, visit)
    shared = _used_outside(func.body, loops)
    unsafe = {loop: reason for loop in loops if (reason := _unsafe(loop, shared.get(loop)))}
    if not unsafe:
        return func, ()
    body = _Unpipeline(list(unsafe)).visit_stmt(func.body)
    changed = tirx.PrimFunc(func.params, body, func.ret_type, func.buffer_map, func.attrs)
    return changed, tuple(f"the loop over {loop.loop_var.name} is not pipelined: {reason}" for loop, reason in unsafe.items())


def _unsafe(loop: Node, used_outside: str | None) -> str | None:
    if _reads_before_refill(loop.body):
        return "it reads a shared buffer before it refills it, which TileLang's pipelines get wrong"
    if used_outside is not None and _stages(loop) >= 2:
        return f"the shared buffer {used_outside} that it refills is used outside of it too, which TileLang's pipelines get wrong"
    return None


def _used_outside(body: Node, loops: list[Node]) -> dict[Node, str]:
    """The loops that refill a shared buffer which is used anywhere but in such loops of as many stages, with its name."""
    refills: dict[Node, list[Node]] = {}
    for loop in loops:
        for buffer in _refilled(loop.body):
            if loop not in refills.setdefault(buffer, []):
                refills[buffer].append(loop)
    uses = [buffer for buffer, _, _ in _accesses(body)]
    found: dict[Node, str] = {}
    for buffer, own in refills.items():
        inside = sum(other.same_as(buffer) for loop in own for other, _, _ in _accesses(loop.body))
        everywhere = sum(other.same_as(buffer) for other in uses)
        if inside != everywhere or len({_stages(loop) for loop in own}) > 1:
            found.update(dict.fromkeys(own, str(buffer.name)))
    return found


def _refilled(node: Node) -> Iterator[Node]:
    """The shared buffers that are filled from global memory in a loop's body, but not in a pipelined loop within it."""
    match _kind(node):
        case "For" if _stages(node) >= 1:
            return
        case "SeqStmt":
            for child in node.seq:
                yield from _refilled(child)
        case "For" | "While" | "AttrStmt" | "SBlock":
            yield from _refilled(node.body)
        case "SBlockRealize":
            yield from _refilled(node.block)
        case "IfThenElse":
            for branch in (node.then_case, node.else_case):
                if branch is not None:
                    yield from _refilled(branch)
        case _:
            for buffer, _, from_global in _accesses(node):
                if from_global and str(buffer.scope()).startswith("shared"):
                    yield buffer


@mutator
class _Unpipeline(PyStmtExprMutator):
    """Takes `num_stages` off the given loops."""

    def __init__(self, loops: list[Node]) -> None:
        super().__init__()
        self.loops = loops

    def visit_for_(self, op: Node) -> Node:
        notes = {
            key: value for key, value in op.annotations.items() if key != "num_stages" or not any(op.same_as(loop) for loop in self.loops)
        }
        return tirx.For(op.loop_var, op.min, op.extent, op.kind, self.visit_stmt(op.body), op.thread_binding, notes)


def _reads_before_refill(body: Node) -> bool:
    first: list[tuple[Node, bool]] = []  # each shared buffer with whether its first access reads
    refilled: list[Node] = []
    for buffer, reads, from_global in _accesses(body):
        if not str(buffer.scope()).startswith("shared"):
            continue
        if not any(buffer.same_as(known) for known, _ in first):
            first.append((buffer, reads))
        if from_global:
            refilled.append(buffer)
    return any(reads and any(buffer.same_as(other) for other in refilled) for buffer, reads in first)


def _written(node: Node) -> Iterator[Node]:
    """The on-chip buffers that a statement writes, anywhere in it."""
    for buffer, reads, _ in _accesses(node):
        if not reads and str(buffer.scope()) != "global":
            yield buffer


def _accesses(node: Node) -> Iterator[tuple[Node, bool, bool]]:
    """Accesses to buffers in program order: the buffer, whether it is read (else written), whether it is filled from global memory.

    What is read and written at once comes as a read and then a write.
    """
    match _kind(node):
        case "SeqStmt":
            for child in node.seq:
                yield from _accesses(child)
        case "For" | "While" | "AttrStmt" | "SBlock":
            yield from _accesses(node.body)
        case "SBlockRealize":
            yield from _accesses(node.block)
        case "IfThenElse":
            yield from _loads(node.condition)
            for branch in (node.then_case, node.else_case):
                if branch is not None:
                    yield from _accesses(branch)
        case "BufferStore":
            loads = list(_loads(node.value))
            yield from loads
            yield node.buffer, False, any(str(buffer.scope()) == "global" for buffer, _, _ in loads)
        case "Evaluate" if _kind(node.value) == "Call":
            regions = [_region(argument) for argument in node.value.args]
            for argument, region in zip(node.value.args, regions, strict=True):
                if region is None:
                    yield from _loads(argument)
                elif region[1] & 1:
                    yield region[0], True, False
            from_global = any(r is not None and r[1] & 1 and str(r[0].scope()) == "global" for r in regions)
            for region in regions:
                if region is not None and region[1] & 2:
                    yield region[0], False, from_global
        case "Bind":
            yield from _loads(node.value)


def _region(node: Node) -> tuple[Node, int] | None:
    """The buffer and the access (1 read, 2 write, 3 both) of a tile operator's region argument."""
    if _kind(node) == "Call" and str(getattr(node.op, "name", "")).endswith(".region"):
        return node.args[0].buffer, _number(node.args[1]) or 3
    return None


def _loads(expression: Node) -> Iterator[tuple[Node, bool, bool]]:
    found: list[Node] = []

    def visit(node: Node) -> None:
        if _kind(node) == "BufferLoad":
            found.append(node.buffer)

    post_order_visit(expression, visit)
    return iter([(buffer, True, False) for buffer in found])


def _stages(loop: Node) -> int:
    return _number(loop.annotations["num_stages"]) or 0 if "num_stages" in loop.annotations else 0


def _number(node: Node) -> int | None:
    value = getattr(node, "value", node)
    return int(value) if isinstance(value, int) else None


def _kind(node: Node) -> str:
    return type(node).__name__
