"""Questions about TIR expressions."""

from __future__ import annotations

from typing import Any

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx

from mosaic.tiles.nodes import extent_of, is_region, op_name, operands

x, y = tirx.Var("x", "int32"), tirx.Var("y", "int32")
buffer = tirx.decl_buffer((4, 4), "float32", "b")


def names(node: Any) -> list[str]:
    return [str(each) for each in operands(node)]


def test_operands_of_every_kind_of_expression() -> None:
    assert names(x + y) == ["x", "y"]
    assert names(tirx.Cast("float32", x)) == ["x"]
    assert names(tirx.Select(x < y, x, y)) == ["x < y", "x", "y"]
    assert names(tirx.Not(x < y)) == ["x < y"]
    assert names(tirx.BufferLoad(buffer, [x, y])) == ["x", "y"]
    assert names(tirx.exp(tirx.Cast("float32", x))) == ['T.Cast("float32", x)']
    assert names(tirx.Ramp(x, 1, 4)) == ["x"]
    assert names(tirx.Broadcast(x, 4)) == ["x"]
    assert [names(leaf) for leaf in (x, tirx.IntImm("int32", 1), tirx.FloatImm("float32", 1.0), tirx.StringImm("s"))] == [[]] * 4


def test_operators_and_regions() -> None:
    region = tirx.call_intrin("handle", tirx.op.Op.get("tl.region"), tirx.BufferLoad(buffer, [x, y]), 1, 2, 2)
    assert op_name(region) == "tl.region"
    assert is_region(region)
    assert not is_region(x)
    assert op_name(x) == ""
    assert op_name(tirx.exp(tirx.FloatImm("float32", 1.0))) == "tirx.exp"


def test_extents() -> None:
    assert extent_of(3) == 3
    assert extent_of(tirx.IntImm("int32", 4)) == 4
    assert extent_of(x + 1) == "x + 1"
