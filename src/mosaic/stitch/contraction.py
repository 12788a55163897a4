"""The order in which a product runs over its contraction, chosen so that an operand in registers need not move.

    before   T.copy(d[k0, 0], d_tile);  convert(h, h2): lanes exchange;               T.gemm(h2, d_tile, o)
    after    for k, j in T.Parallel(K, N): d_tile[k, j] = d[k0 + p(k), j];
             convert(h, h2): h2[i, k] = h[i, p(k)], where it lies already;             T.gemm(h2, d_tile, o)

A sum does not depend on the order of its terms, so that k may be permuted if it is in both operands. In the one that lies in registers a
permutation p of the bits of k is only another name for where elements lie. In the other one, p says which row is copied where on the way
into shared memory: whole rows, so that it costs nothing. Where k runs along the rows of that operand instead, its elements would have to
be copied one by one, and p is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx
from tvm.tirx.functor import PyStmtExprMutator, mutator
from tvm.tirx.stmt_functor import post_order_visit

from mosaic.layouts.order import moved
from mosaic.tiles.nodes import is_region, op_name

_MATRIX: Final = 2  # dims
_A, _B = 0, 1
_SUFFIX: Final = re.compile(r"_axis(\d)_order(\d+)$")


@dataclass(frozen=True)
class Contraction:
    """What goes along if the contraction of a fragment is permuted: `axis`, the fragment's dim that is contracted, and the buffers in
    shared memory, by name, whose rows it is in the products that take the fragment."""

    axis: int
    rows_of: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A permutation of the lowest bits of a contraction index: bit i of the product's index is bit `bits[i]` of the tensors'."""

    axis: int
    bits: tuple[int, ...]
    rows_of: tuple[str, ...]

    @property
    def suffix(self) -> str:
        """What a conversion's name ends with, so that it says what it does: `_axis1_order021`."""
        return f"_axis{self.axis}_order{''.join(map(str, self.bits))}"


def order_of(name: str) -> tuple[int, tuple[int, ...]] | None:
    """The axis and the bits of a conversion that is called so; None if it permutes nothing."""
    found = _SUFFIX.search(name)
    return None if found is None else (int(found[1]), tuple(map(int, found[2])))


def find_contraction(program: Any, fragment: str) -> Contraction | None:
    """What must be permuted along with a fragment; None if something forbids it.

    The fragment must be read by products alone, whole. Of each, the other operand must be a whole buffer in shared memory, contracted
    along its rows, that nothing but such products reads and that nothing but whole copies from device memory writes.
    """
    calls = _calls(program)
    products = [call for call in calls if op_name(call).endswith(".gemm")]
    axes: set[int] = set()
    others: dict[str, Any] = {}
    for call in products:
        operands = [call.args[_A].args[0].buffer, call.args[_B].args[0].buffer]
        mine = [role for role in (_A, _B) if str(operands[role].name) == fragment]
        if not mine:
            continue
        turned = [bool(int(call.args[3 + role].value)) for role in (_A, _B)]
        contracted = 1 if turned[_A] else 0, 1 if turned[_B] else 0
        along = (1 - contracted[_A], contracted[_B])  # A is [m, k], B [k, n]
        other = operands[1 - mine[0]]
        if len(mine) > 1 or along[1 - mine[0]] != 0 or not all(_is_whole(call.args[role]) for role in (_A, _B)):
            return None
        axes.add(along[mine[0]])
        others[str(other.name)] = other
    if len(axes) != 1 or not _only_in(program, fragment, products):
        return None
    if not all(_is_refillable(program, calls, buffer, fragment) for buffer in others.values()):
        return None
    return Contraction(axes.pop(), tuple(others))


def reorder(program: Any, orders: Mapping[str, Sequence[int]]) -> Any:
    """The program whose copies into these shared buffers permute rows."""
    if not orders:
        return program
    return program.with_body(_Permuter({name: tuple(order) for name, order in orders.items()}).visit_stmt(program.body))


@mutator
class _Permuter(PyStmtExprMutator):
    """Copies into the given buffers as loops over elements, which TileLang vectorises along rows."""

    def __init__(self, orders: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.orders = orders

    def visit_evaluate_(self, op: Any) -> Any:
        call = op.value
        if type(call).__name__ != "Call" or not _is_copy(call):
            return op
        source, target = call.args[0], call.args[1]
        order = self.orders.get(str(target.args[0].buffer.name))
        if order is None:
            return op
        buffer, load = target.args[0].buffer, source.args[0]
        loops = [tirx.Var(name, "int32") for name in ("k", "j")]
        indices, taken = list(load.indices), [moved(loops[0], order), loops[1]]
        for axis, extent in enumerate(_extents(source)):
            if extent != 1:
                indices[axis] = indices[axis] + taken.pop(0)
        value: Any = tirx.BufferLoad(load.buffer, indices)
        if str(value.dtype) != str(buffer.dtype):
            value = tirx.Cast(buffer.dtype, value)
        node: Any = tirx.BufferStore(buffer, value, loops)
        for loop, extent in reversed(list(zip(loops, buffer.shape, strict=True))):
            node = tirx.For(loop, tirx.IntImm("int32", 0), extent, tirx.ForKind.PARALLEL, node)
        return node


def _calls(program: Any) -> list[Any]:
    found: list[Any] = []
    post_order_visit(program.body, lambda node: found.append(node) if type(node).__name__ == "Call" else None)
    return found


def _is_copy(call: Any) -> bool:
    return op_name(call).endswith(".copy") and len(call.args) > 1 and is_region(call.args[0]) and is_region(call.args[1])


def _extents(region: Any) -> list[int]:
    """Of each axis; -1 where it is not constant."""
    given = [int(extent.value) if type(extent).__name__ == "IntImm" else -1 for extent in region.args[2:]]
    return [1] * (len(region.args[0].indices) - len(given)) + given


def _is_whole(region: Any) -> bool:
    load = region.args[0]
    at_start = all(type(index).__name__ == "IntImm" and int(index.value) == 0 for index in load.indices)
    return at_start and _extents(region) == [int(extent) for extent in load.buffer.shape]


def _loads(program: Any, name: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if type(node).__name__ in ("BufferLoad", "BufferStore") and str(node.buffer.name) == name:
            found.append(node)

    post_order_visit(program.body, visit)
    return found


def _only_in(program: Any, name: str, calls: Sequence[Any]) -> bool:
    """Whether a buffer is accessed in the regions of these calls alone."""
    allowed = [argument.args[0] for call in calls for argument in call.args if is_region(argument)]
    return all(any(node.same_as(load) for load in allowed) for node in _loads(program, name))


def _is_refillable(program: Any, calls: Sequence[Any], buffer: Any, fragment: str) -> bool:
    name = str(buffer.name)
    if not str(buffer.scope()).startswith("shared") or len(buffer.shape) != _MATRIX:
        return False
    copies = [call for call in calls if _is_copy(call) and str(call.args[1].args[0].buffer.name) == name]
    products = [
        call
        for call in calls
        if op_name(call).endswith(".gemm") and fragment in (str(call.args[role].args[0].buffer.name) for role in (_A, _B))
    ]
    return bool(copies) and all(map(_takes_rows, copies)) and _only_in(program, name, [*copies, *products])


def _takes_rows(call: Any) -> bool:
    """Whether a copy fills a whole matrix from device memory, row by row."""
    source, target = call.args[0], call.args[1]
    extents = _extents(source)
    wide = [axis for axis, extent in enumerate(extents) if extent != 1]
    shape = [int(extent) for extent in target.args[0].buffer.shape]
    is_global = str(source.args[0].buffer.scope()) == "global"
    return is_global and _is_whole(target) and [extents[axis] for axis in wide] == shape and wide[-1:] == [len(extents) - 1]
