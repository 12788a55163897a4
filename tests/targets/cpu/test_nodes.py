"""What is asked of TVM's nodes."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Op

from mosaic.targets.cpu.nodes import (
    Region,
    constant,
    dtype_of,
    is_buffer_like,
    kind,
    operator_name,
    reads_memory,
    region_of,
    statements,
    strides_of,
    uses,
    variables_of,
)

I = tirx.Var("i", "int32")  # noqa: E741
X = tirx.decl_buffer((4, 6, 8), "float32", "x")


def region(*extents: int) -> object:
    load = tirx.BufferLoad(X, [I, 0, 2])
    return tirx.Call("handle", Op.get("tl.region"), [load, 1, *extents])


def test_regions() -> None:
    found = region_of(region(1, 6, 1))
    assert found.buffer.same_as(X)
    assert found.minimum[0].same_as(I)
    assert [constant(extent) for extent in found.extent] == [1, 6, 1]
    assert found.axes == (1,)
    assert is_buffer_like(region(1, 1, 1))
    assert not is_buffer_like(I)
    assert Region(X, (I,), (tirx.const(1, "int32"),)).axes == ()


def test_kinds_and_names() -> None:
    assert kind(I + 1) == "Add"
    assert dtype_of(I) == "int32"
    assert operator_name(tirx.exp(tirx.const(1.0, "float32"))) == "exp"
    assert operator_name(region(1, 1, 1)) == "region"


def test_constants() -> None:
    assert constant(tirx.const(7, "int32")) == 7
    assert constant(3) == 3
    assert constant(I) is None
    assert constant(tirx.const(1.0, "float32")) is None


def test_strides() -> None:
    assert [constant(stride) for stride in strides_of(X)] == [48, 8, 1]
    declared = tirx.decl_buffer((4, 6), "float32", strides=[100, 2])
    assert [constant(stride) for stride in strides_of(declared)] == [100, 2]


def test_what_an_expression_uses() -> None:
    assert reads_memory(tirx.BufferLoad(X, [I, 0, 0]) + 1)
    assert not reads_memory(I * 3 + 1)
    assert uses(I * 3, [I])
    assert not uses(tirx.const(3, "int32"), [I])
    assert not uses(I, [tirx.Var("i", "int32")]), "another variable of the same name"
    assert [v.name for v in variables_of(I + tirx.Var("j", "int32"))] == ["i", "j"]


def test_statements_in_order() -> None:
    one, two = (tirx.Evaluate(tirx.const(n, "int32")) for n in (1, 2))
    assert [int(s.value) for s in statements(tirx.SeqStmt([one, tirx.SeqStmt([two, one])]))] == [1, 2, 1]
