"""T.gemm: both operands become float tiles in scratch memory once, then a register-blocked kernel runs over them.

    C[m, n] += sum over k of A[m, k] * B[k, n]

`A` and `B` are read through their strides, so that transposition costs nothing but another packing loop.
An operand that is already a dense tile of the computing type is used where it lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mosaic.targets.cpu.context import Context, View
from mosaic.targets.cpu.expressions import Expressions
from mosaic.targets.cpu.nodes import Node, Region, constant, kind
from mosaic.targets.cpu.scalars import SCALARS, Scalar

LANES: Final = 16
"""Columns of the packed operands are padded to a multiple of this: a 64-byte vector of floats."""


_PACKS: Final = {
    "f32": ("f32", "f16", "bf16", "e4m3", "e5m2", "i8"),
    "f64": ("f64", "f32"),
    "i32": ("i32", "i8", "u8"),
}
"""For each type that products are computed in, those that the runtime header can pack to it."""


@dataclass(frozen=True)
class _Matrix:
    """A region as a matrix in C: its first element, and the strides of its rows and columns."""

    view: View
    first: str
    rows: int
    columns: int
    row_stride: int
    column_stride: int

    @property
    def address(self) -> str:
        return f"&{self.view.pointer}[{self.first}]"


def _matrix(context: Context, emit: Expressions, region: Region, transposed: bool) -> _Matrix:
    view = context.view(region.buffer)
    sizes = [constant(extent) for extent in region.extent]
    strides = [constant(stride) for stride in view.strides]
    rows, columns, row, column = sizes[-2], sizes[-1], strides[-2], strides[-1]
    if rows is None or columns is None or row is None or column is None:
        raise context.error(f"the operand {region.buffer.name!r} of a gemm has a size that is not constant")
    if transposed:
        rows, columns, row, column = columns, rows, column, row
    return _Matrix(view, emit.index(view, region.minimum), rows, columns, row, column)


def _computing(context: Context, accumulator: Scalar) -> Scalar:
    """The type in which products are summed: that of the accumulator, float for the narrow ones."""
    if accumulator.is_narrow:
        return SCALARS["float32"]
    if accumulator.name in ("float32", "float64", "int32"):
        return accumulator
    raise context.error(f"a gemm accumulates in {accumulator.name}; use float32, float64 or int32")


def _pack(context: Context, matrix: _Matrix, computing: Scalar, place: str, columns: int) -> None:
    """Write the matrix row by row to `place`, with rows of `columns` elements, zeros where it has fewer."""
    tag = f"{matrix.view.scalar.tag}_{computing.tag}"
    if matrix.view.scalar.tag not in _PACKS[computing.tag]:
        raise context.error(f"a gemm multiplies {matrix.view.scalar.name} and accumulates in {computing.name}; cast its operands first")
    source = f"{matrix.address}, {matrix.row_stride}, {matrix.column_stride}"
    context.line(f"ms_pack_{tag}({matrix.rows}, {matrix.columns}, {source}, {place}, {columns}, {columns});")


def _padded(columns: int) -> int:
    return -(-columns // LANES) * LANES


def _gemm(context: Context, emit: Expressions, call: Node) -> None:
    transposed_a, transposed_b = (bool(int(call.args[i].value)) for i in (3, 4))
    a = _matrix(context, emit, context.region(call.args[0]), transposed_a)
    b = _matrix(context, emit, context.region(call.args[1]), transposed_b)
    c = _matrix(context, emit, context.region(call.args[2]), False)
    context.written_view(context.region(call.args[2]).buffer)
    computing = _computing(context, c.view.scalar)
    context.sections.add("gemm")
    used = 0

    def place(elements: int) -> str:
        nonlocal used
        text = f"({computing.storage} *)(pack + {used})"
        used += -(-elements * computing.bytes // 64) * 64
        context.pack_bytes = max(context.pack_bytes, used)
        return text

    with context.block(""):
        operands = []
        for matrix, columns in ((a, a.columns), (b, _padded(b.columns))):
            direct = matrix.view.scalar == computing and matrix.column_stride == 1 and (columns == matrix.columns)
            if direct:
                operands.append((matrix.address, matrix.row_stride))
            else:
                where = place(matrix.rows * columns)
                _pack(context, matrix, computing, where, columns)
                operands.append((where, columns))
        clear = call.args[9]
        clears = str(int(clear.value)) if kind(clear) == "IntImm" else emit.value(clear)
        if c.view.scalar == computing and c.column_stride == 1:
            target, stride = c.address, c.row_stride
        else:
            target, stride = place(c.rows * c.columns), c.columns
            _pack(context, c, computing, target, c.columns)
        (left, left_stride), (right, right_stride) = operands
        shape = f"{c.rows}, {c.columns}, {a.columns}"
        context.line(f"ms_gemm_{computing.tag}({shape}, {left}, {left_stride}, {right}, {right_stride}, {target}, {stride}, {clears});")
        if target != c.address:
            _unpack(context, emit, c, computing, target)


def _unpack(context: Context, emit: Expressions, c: _Matrix, computing: Scalar, place: str) -> None:
    """Round the sums to the accumulator's dtype and put them back."""
    m, n = context.names.new("m"), context.names.new("n")
    with context.block(f"for (int {m} = 0; {m} < {c.rows}; {m}++)"), context.block(f"for (int {n} = 0; {n} < {c.columns}; {n}++)"):
        value = emit.cast(f"({place})[{m} * {c.columns} + {n}]", computing, c.view.scalar)
        context.line(f"({c.address})[{m} * {c.row_stride} + {n} * {c.column_stride}] = {c.view.scalar.stored(value)};")


OPERATORS: Final[dict[str, Callable[[Context, Expressions, Node], None]]] = {
    "gemm": _gemm,
    "wgmma_gemm": _gemm,
}
