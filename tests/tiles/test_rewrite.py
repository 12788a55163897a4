"""Copies of programs are the same programs, made of their own variables and buffers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tilelang
import tilelang.language as T
import tvm
from tvm import tirx

import mosaic.kernels
from mosaic.errors import ReadError
from mosaic.graph.kernel import registered
from mosaic.stitch.library import as_prim_func
from mosaic.tiles.anatomy import dissect
from mosaic.tiles.read import read
from mosaic.tiles.rewrite import Rewriter, bind
from mosaic.tiles.verify import verify
from tests.tiles.test_read import FOREIGN, specs_of

mosaic.kernels.load()


def equal(one: Any, other: Any) -> bool:
    """The same program but for the names of variables and buffers, and the kernel's."""
    return bool(tvm.ir.structural_equal(one.with_attr("global_symbol", "k"), other.with_attr("global_symbol", "k"), map_free_vars=True))


def variables(func: Any) -> set[int]:
    """Every variable of a program by identity, pointers too."""
    found = {hash(p) for p in func.params}
    for buffer in func.buffer_map.values():
        found.add(hash(buffer.data))

    def visit(node: Any) -> None:
        kind = type(node).__name__
        if kind in ("Var", "SizeVar"):
            found.add(hash(node))
        elif kind == "For":
            found.add(hash(node.loop_var))
        elif kind == "SBlock":
            found.update(hash(b.data) for b in node.alloc_buffers)

    tirx.stmt_functor.post_order_visit(func.body, visit)
    return found


def programs() -> Iterator[Any]:
    for name, (make, _) in FOREIGN.items():
        yield pytest.param(make, id=name)
    for name, kernel in registered().items():
        if kernel.source_file.endswith(".py") and "/mosaic/kernels/" in kernel.source_file:
            yield pytest.param(lambda k=kernel: first(k), id=name)


def first(kernel: Any) -> Any:
    binding = kernel.bind(specs_of(kernel))
    return as_prim_func(kernel.instantiate(binding, next(kernel.choices(binding))), kernel.name)


@pytest.mark.parametrize("make", list(programs()))
def test_a_bound_program_is_the_same_with_its_own_variables(make: Any) -> None:
    func = make()
    names = {str(b.name): f"{b.name}_renamed" for b in func.buffer_map.values()}
    copy = bind(func, names)
    assert equal(func, copy)
    assert not variables(func) & variables(copy)
    assert [str(copy.buffer_map[p].name) for p in copy.params] == list(names.values())
    verify(copy)


def test_copies_of_one_program_share_nothing() -> None:
    func = FOREIGN["flash causal"][0]()
    one, other = bind(func, {}), bind(func, {})
    assert equal(one, other)
    assert not variables(one) & variables(other)


def test_names() -> None:
    func = FOREIGN["vector_add"][0]()
    copy = bind(func, {"A": "x", "C": "y"}, name="sum_of_two")
    assert [str(copy.buffer_map[p].name) for p in copy.params] == ["x", "B", "y"]
    assert str(copy.attrs["global_symbol"]) == "sum_of_two"
    assert str(func.attrs["global_symbol"]) == "main"


def test_tensors_of_one_name_become_one() -> None:
    program = read(bind(FOREIGN["vector_add"][0](), {"A": "x", "B": "x", "C": "y"}))
    assert [(p.name, p.mode) for p in program.params] == [("x", "read"), ("y", "write")]
    assert len(program.accesses_of("x")) == 2
    verify(program)


def dynamic() -> Any:
    m, n = T.dynamic("m, n")

    @T.prim_func
    def main(A: T.Tensor((m, n), "float32"), R: T.Tensor((m,), "float32")) -> None:
        with T.Kernel(T.ceildiv(m, 16), threads=64) as bx:
            tile = T.alloc_fragment((16, 32), "float32")
            total = T.alloc_fragment((16,), "float32")
            part = T.alloc_fragment((16,), "float32")
            T.clear(total)
            for k in T.serial(T.ceildiv(n, 32)):
                for i, j in T.Parallel(16, 32):
                    tile[i, j] = T.if_then_else(k * 32 + j < n, A[bx * 16 + i, k * 32 + j], 0.0)
                T.reduce_sum(tile, part, dim=1)
                for i in T.Parallel(16):
                    total[i] += part[i]
            T.copy(total, R[bx * 16])

    return main


def fixed(m: int, n: int) -> Any:
    @T.prim_func
    def main(A: T.Tensor((m, n), "float32"), R: T.Tensor((m,), "float32")) -> None:
        with T.Kernel(T.ceildiv(m, 16), threads=64) as bx:
            tile = T.alloc_fragment((16, 32), "float32")
            total = T.alloc_fragment((16,), "float32")
            part = T.alloc_fragment((16,), "float32")
            T.clear(total)
            for k in T.serial(T.ceildiv(n, 32)):
                for i, j in T.Parallel(16, 32):
                    tile[i, j] = T.if_then_else(k * 32 + j < n, A[bx * 16 + i, k * 32 + j], 0.0)
                T.reduce_sum(tile, part, dim=1)
                for i in T.Parallel(16):
                    total[i] += part[i]
            T.copy(total, R[bx * 16])

    return main


def test_sizes_are_bound_everywhere() -> None:
    bound = bind(dynamic(), {}, {"m": 77, "n": 100})
    program = read(bound)
    assert program.dynamic == ()
    assert [p.shape for p in program.params] == [(77, 100), (77,)]
    assert program.blocks == 5
    simplified = tilelang.transform.Simplify()
    one, other = (tvm.IRModule({"k": f.with_attr("global_symbol", "k")}) for f in (bound, fixed(77, 100)))
    assert tvm.ir.structural_equal(simplified(one), simplified(other), map_free_vars=True)
    verify(bound)


def test_some_sizes_may_stay_free() -> None:
    program = read(bind(dynamic(), {}, {"n": 100}))
    assert program.dynamic == ("m",)
    assert program.params[0].shape == ("m", 100)


def test_annotations_follow_their_buffers() -> None:
    @T.prim_func
    def main(A: T.Tensor((40, 40), "float32"), C: T.Tensor((40, 40), "float32")) -> None:
        with T.Kernel(2, 2, threads=64) as (bx, by):
            tile = T.alloc_shared((32, 32), "float32")
            T.annotate_layout({tile: tilelang.layout.make_swizzled_layout(tile)})
            T.annotate_safe_value({A: 2.0})
            T.copy(A[bx * 32, by * 32], tile)
            T.copy(tile, C[bx * 32, by * 32])

    copy = bind(main, {"A": "x"})
    anatomy = dissect(copy)
    notes = anatomy.block.annotations
    (tile,) = anatomy.allocations
    assert [k.same_as(tile.data) for k in notes["layout_map"]] == [True]
    x = next(b for b in copy.buffer_map.values() if str(b.name) == "x")
    assert [k.same_as(x.data) for k in notes["safe_value_map"]] == [True]
    assert equal(main, copy)


def test_a_copys_barrier_is_its_own() -> None:
    @T.prim_func
    def main(A: T.Tensor((64, 64), "float16"), C: T.Tensor((64, 64), "float16")) -> None:
        with T.Kernel(1, threads=128):
            tile = T.alloc_shared((64, 64), "float16")
            ready = T.alloc_barrier(arrive_count=128)
            T.tma_copy(A[0, 0], tile, barrier=ready)
            T.barrier_arrive(ready)
            T.barrier_wait(ready, 0)
            T.copy(tile, C[0, 0])

    copy = bind(main, {})
    own = next(b for b in dissect(copy).allocations if "barrier" in str(b.scope()))
    (call,) = (s.value for s in dissect(copy).body if "tma_copy" in str(s))
    assert call.annotations["barrier"].buffer.same_as(own)
    verify(copy)


def test_every_kind_of_expression_is_rebuilt() -> None:
    x, y = tirx.Var("x", "int32"), tirx.Var("y", "int32")
    buffer = tirx.decl_buffer((8,), "float32", "b")
    zero = tirx.FloatImm("float32", 0.0)
    for expr in (
        tirx.Select(x < y, x, y),
        tirx.Not(x < y),
        tirx.Cast("float32", x),
        tirx.Ramp(x, 1, 4),
        tirx.Broadcast(x, 4),
        tirx.BufferLoad(buffer, [x]),
        tirx.exp(tirx.Cast("float32", x)),
        tirx.Or(x < y, tirx.And(x > y, x >= y)),
        tirx.if_then_else(x < y, tirx.BufferLoad(buffer, [x]), zero),
        tirx.Min(x, tirx.Max(x, x % y)),
    ):
        again = Rewriter({x: y}).expr(expr)
        assert "x" not in str(again).replace("max", "").replace("exp", "").replace("Max", "")
        assert tvm.ir.structural_equal(Rewriter().expr(expr), expr)


def test_a_let_gets_its_own_variable() -> None:
    x, y = tirx.Var("x", "int32"), tirx.Var("y", "int32")
    expr = tirx.Let(x, y + 1, x * x)
    again = Rewriter().expr(expr)
    assert not again.var.same_as(x)
    assert tvm.ir.structural_equal(again, expr, map_free_vars=True)


def test_what_cannot_be_rewritten_is_named() -> None:
    x = tirx.Var("x", "int32")
    with pytest.raises(ReadError, match="is a Shuffle, which cannot be rewritten"):
        Rewriter().expr(tirx.Shuffle([tirx.Broadcast(x, 2)], [tirx.IntImm("int32", 0)]))
    with pytest.raises(ReadError, match="a AssertStmt statement cannot be rewritten"):
        Rewriter().stmt(tirx.AssertStmt(x < 1, tirx.StringImm("no"), []))
