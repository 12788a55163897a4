"""Splitting a loop where a condition in its body changes.

    for j in 0..64:                                  for j in 0..n:  y[b*64+j] = x[b*64+j]
        if b*64+j < N: y[b*64+j] = x[b*64+j]   ->    (n = N - b*64, at least 0 and at most 64)

The conditions are those of guards at the edges of tensors, of masks and of padding: nearly all are
`c*j + rest >= 0` for some c, true on one side of a boundary and false on the other. Without them in
the loop's body, gcc vectorises it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import arith, ir

from mosaic.targets.cpu.bounds import Bounds
from mosaic.targets.cpu.nodes import Node, constant, kind, operator_name, variables_of

MAX_CUTS = 3
"""How many boundaries one loop is split at; each can double its body."""

_ELEMENT_CALLS = ("atomic_add_elem_op", "atomic_max_elem_op", "atomic_min_elem_op", "atomic_or_elem_op", "reducer_update")


@dataclass(frozen=True)
class Cut:
    """A boundary of a loop: `conditions` hold below it, or from it on if `holds_after`."""

    boundary: Node
    holds_after: bool
    conditions: tuple[Node, ...]


def is_splittable(node: Node) -> bool:
    """Whether a loop's body only works on elements: tile operators are too much code to write twice."""
    name = kind(node)
    if name in ("BufferStore", "Bind"):
        return True
    if name in ("For", "AttrStmt"):
        return is_splittable(node.body)
    if name == "SeqStmt":
        return all(is_splittable(child) for child in node.seq)
    if name == "IfThenElse":
        return is_splittable(node.then_case) and (node.else_case is None or is_splittable(node.else_case))
    return name == "Evaluate" and kind(node.value) == "Call" and operator_name(node.value) in _ELEMENT_CALLS


def first_cut(bounds: Bounds, variable: Node, asked: Sequence[Node], is_visible: Callable[[Node], bool]) -> Cut | None:
    """The first boundary of the loop over `variable` among the conditions its body asked for, with all that share it.

    `is_visible` says whether a variable has its value already where the loop starts.
    """
    found: Cut | None = None
    for condition in asked:
        located = _locate(bounds, variable, condition, is_visible)
        if located is None:
            continue
        boundary, holds_after = located
        if found is None:
            found = Cut(boundary, holds_after, (condition,))
        elif found.holds_after == holds_after and ir.structural_equal(found.boundary, boundary):
            found = Cut(found.boundary, holds_after, (*found.conditions, condition))
    return found


def _locate(bounds: Bounds, variable: Node, condition: Node, is_visible: Callable[[Node], bool]) -> tuple[Node, bool] | None:
    """The boundary of `condition` along `variable`, and on which side it holds; None if it has none."""
    expanded = bounds.expanded(condition)
    if expanded is None or kind(expanded) not in ("LT", "LE", "GT", "GE"):
        return None
    less, more = (expanded.a, expanded.b) if kind(expanded) in ("LT", "LE") else (expanded.b, expanded.a)
    at_least = 1 if kind(expanded) in ("LT", "GT") else 0
    linear = arith.detect_linear_equation(more - less, [variable])  # more - less = factor * variable + rest
    factor = constant(linear[0]) if len(linear) == 2 else None
    if not factor or not all(is_visible(v) for v in variables_of(linear[1])):
        return None
    reach = linear[1] - at_least
    boundary = reach // -factor + 1 if factor < 0 else -(reach // factor)
    return bounds.simplified(boundary), factor > 0
