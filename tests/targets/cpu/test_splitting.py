"""Loops are split where a condition changes, and compute what they did before."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tvm import tirx

from mosaic.targets.cpu import emit_c
from mosaic.targets.cpu.bounds import Bounds
from mosaic.targets.cpu.splitting import first_cut, is_splittable
from tests.targets.cpu import loops
from tests.targets.cpu.running import run


@pytest.mark.parametrize(("M", "N", "rows", "columns"), [(40, 40, 16, 16), (37, 53, 16, 32), (1, 7, 8, 8), (64, 64, 64, 64)])
@pytest.mark.parametrize("shift", [0, -5, 40])
def test_masks_and_edges(M: int, N: int, rows: int, columns: int, shift: int) -> None:
    x, y = torch.randn(M, N), torch.zeros(M, N)
    run(loops.masked(M, N, rows, columns, shift), x, y)
    assert torch.equal(y, torch.where(torch.ones(M, N, dtype=torch.bool).tril(shift), x, -1.0))


@pytest.mark.parametrize(("L", "window", "stride", "padding"), [(50, 3, 1, 1), (50, 5, 2, 2), (33, 4, 3, 0), (7, 3, 2, 3), (1, 1, 1, 0)])
def test_padding_with_strides(L: int, window: int, stride: int, padding: int) -> None:
    x = torch.randint(-9, 10, (L,)).float()
    y = torch.zeros((L + 2 * padding - window) // stride + 1)
    run(loops.padded(L, window, stride, padding, 16), x, y)
    want = torch.nn.functional.conv1d(x.view(1, 1, -1), torch.ones(1, 1, window), stride=stride, padding=padding)
    assert torch.equal(y, want.view(-1))


def test_the_inner_loop_has_no_condition_left() -> None:
    text = emit_c(loops.masked(37, 53, 16, 32, 0)).partition("/* masked */")[2].partition("int mosaic_run")[0]
    assert "split" in text
    assert "?" not in text
    assert "if (" not in text


@given(factor=st.integers(-4, 4), rest=st.integers(-30, 30), sign=st.sampled_from([tirx.LT, tirx.LE, tirx.GT, tirx.GE]))
def test_a_boundary_is_where_its_condition_changes(factor: int, rest: int, sign: type) -> None:
    j = tirx.Var("j", "int32")
    bounds = Bounds()
    bounds.loop(j, tirx.const(0, "int32"), tirx.const(64, "int32"))
    condition = sign(j * factor, tirx.const(rest, "int32"))
    cut = first_cut(bounds, j, [condition], lambda _: False)
    if factor == 0:
        assert cut is None
        return
    assert cut is not None
    python = {tirx.LT: int.__lt__, tirx.LE: int.__le__, tirx.GT: int.__gt__, tirx.GE: int.__ge__}[sign]
    for value in range(-70, 70):
        assert python(value * factor, rest) == ((value >= int(cut.boundary)) == cut.holds_after)


def test_a_boundary_that_is_not_known_before_the_loop_is_no_cut() -> None:
    j, inner = tirx.Var("j", "int32"), tirx.Var("inner", "int32")
    bounds = Bounds()
    assert first_cut(bounds, j, [j < inner], lambda variable: not variable.same_as(inner)) is None
    assert first_cut(bounds, j, [j < inner], lambda _: True) is not None


def test_conditions_with_one_boundary_are_settled_together() -> None:
    j, b = tirx.Var("j", "int32"), tirx.Var("b", "int32")
    cut = first_cut(Bounds(), j, [b * 8 + j < 50, j < 50 - b * 8, j < 49 - b * 8], lambda _: True)
    assert cut is not None
    assert len(cut.conditions) == 2


def test_loops_with_tile_operators_are_left_whole() -> None:
    tile = tirx.decl_buffer((4,), "float32")
    j = tirx.Var("j", "int32")
    store = tirx.BufferStore(tile, tirx.const(1.0, "float32"), [j])
    assert is_splittable(store)
    assert is_splittable(tirx.SeqStmt([store, store]))
    assert not is_splittable(tirx.Evaluate(tirx.call_extern("int32", "f")))
    assert not is_splittable(tirx.While(j < 3, store))
