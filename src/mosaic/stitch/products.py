"""The matrix products of a kernel, with sizes, operands and warp policy as read off its PrimFunc; and the kernel with other policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx
from tvm.tirx.stmt_functor import post_order_visit

from mosaic.layouts.fragments import POLICIES, Policy
from mosaic.tiles.anatomy import assemble, dissect
from mosaic.tiles.nodes import op_name
from mosaic.tiles.program import TileProgram
from mosaic.tiles.rewrite import Rewriter

GEMM: Final = "tl.tileop.gemm"
_POLICY: Final = 8
"""Where a product's call has its policy: A, B, C, two transpositions, M, N, K come before."""


@dataclass(frozen=True)
class ReadProduct:
    """C [m, n] += A [m, k] B [k, n] of one call; buffers by name, A and B as they lie in memory if not transposed."""

    a: str
    b: str
    c: str
    m: int
    n: int
    k: int
    dtype: str
    policy: Policy
    a_scope: str
    b_scope: str
    transposed_a: bool
    transposed_b: bool

    @property
    def takes_wgmma(self) -> bool:
        """Whether TileLang 0.1.15 issues wgmma for these operands where rows and threads allow it."""
        if not self.b_scope.startswith("shared"):
            return False
        if self.dtype in ("float16", "bfloat16"):
            return self.k % 16 == 0
        eight_bits = self.dtype.startswith("float8") or self.dtype in ("int8", "uint8")
        return eight_bits and self.transposed_b and not self.transposed_a and self.k % 32 == 0


def read_products(program: TileProgram) -> tuple[ReadProduct, ...]:
    """The products of a kernel in the order of its text; those whose sizes or policy are no constants are left out."""
    found: list[ReadProduct] = []
    for call in _calls(program.func):
        numbers = [argument for argument in call.args[5:9] if type(argument).__name__ == "IntImm"]
        regions = [argument.args[0].buffer for argument in call.args[:3] if type(argument).__name__ == "Call"]
        if len(numbers) < 4 or len(regions) < 3 or int(numbers[3]) >= len(POLICIES):
            continue
        a, b, c = regions
        m, n, k, policy = map(int, numbers)
        names = (str(a.name), str(b.name), str(c.name))
        flags = bool(int(call.args[3])), bool(int(call.args[4]))
        found.append(ReadProduct(*names, m, n, k, str(a.dtype), POLICIES[policy], str(a.scope()), str(b.scope()), *flags))
    return tuple(found)


def _calls(func: Any) -> list[Any]:
    calls: list[Any] = []

    def visit(node: Any) -> None:
        if type(node).__name__ == "Call" and op_name(node) == GEMM:
            calls.append(node)

    post_order_visit(func.body, visit)
    return calls


def with_policies(func: Any, policies: Sequence[Policy]) -> Any:
    """The same kernel whose products, in the order of its text, have these warp policies.

    Raises ValueError unless there is one for each.
    """
    count = len(_calls(func))
    if count != len(policies):
        raise ValueError(f"{len(policies)} policies for {count} products")
    anatomy = dissect(func)
    rewriter = _Policies(list(policies))
    rewriter.buffers |= {b: b for b in func.buffer_map.values()}
    allocations = [rewriter.copy_buffer(b) for b in anatomy.allocations]
    body = [rewriter.stmt(stmt) for stmt in anatomy.body]
    params = [(p, func.buffer_map[p]) for p in func.params]
    notes = rewriter.annotations(anatomy.block.annotations)
    return assemble(anatomy, params=params, body=body, allocations=allocations, annotations=notes)


class _Policies(Rewriter):
    def __init__(self, policies: list[Policy]) -> None:
        super().__init__()
        self.policies = policies

    def plain_call(self, node: Any) -> Any:
        found = super().plain_call(node)
        if op_name(node) != GEMM:
            return found
        number = tirx.IntImm(node.args[_POLICY].dtype, POLICIES.index(self.policies.pop(0)))
        args = [number if place == _POLICY else argument for place, argument in enumerate(found.args)]
        return tirx.Call(found.dtype, found.op, args, found.annotations)
