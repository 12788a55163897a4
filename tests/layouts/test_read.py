"""Layouts read as tables: against TVM's arithmetic at single points, against what the hardware's manuals say, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

import pytest
import torch
from tilelang.layout import Fragment, Layout
from tvm import arith, tirx

from mosaic.errors import TargetError
from mosaic.layouts.read import LayoutTable, read_layouts, table
from tests.layouts.programs import odd_product, product

SM_80: Final = {"kind": "cuda", "arch": "sm_80"}
SM_90A: Final = {"kind": "cuda", "arch": "sm_90a"}
GFX942: Final = {"kind": "hip", "mcpu": "gfx942"}


def at(expression: Any, numbers: Mapping[Any, int]) -> int:
    """The value of one expression at one point, by TVM."""
    put = {variable: tirx.IntImm("int32", number) for variable, number in numbers.items()}
    return int(arith.Analyzer().simplify(tirx.stmt_functor.substitute(expression, put)))


@pytest.mark.parametrize("target", [SM_80, SM_90A, GFX942], ids=lambda target: target.get("arch", target.get("mcpu")))
def test_every_element_of_a_fragment_is_somewhere_and_no_two_share_a_register(target: dict[str, str]) -> None:
    for layout in read_layouts(product(128, 64, 64), target).values():
        if layout.thread is None or layout.register is None:
            continue
        assert layout.thread.shape[:-1] == layout.register.shape == layout.shape
        assert 0 <= int(layout.thread.min()) <= int(layout.thread.max()) < 128
        assert 0 <= int(layout.register.min()) <= int(layout.register.max()) < layout.size
        places = layout.thread * layout.size + layout.register.unsqueeze(-1)
        assert len(torch.unique(places)) == places.numel()


@pytest.mark.parametrize("target", [SM_80, SM_90A, GFX942], ids=lambda target: target.get("arch", target.get("mcpu")))
def test_a_shared_layout_gives_each_element_a_place_of_its_own(target: dict[str, str]) -> None:
    found = [layout for layout in read_layouts(product(128, 64, 64), target).values() if layout.offset is not None]
    assert {layout.buffer for layout in found} >= {"a_tile", "b_tile"}
    for layout in found:
        assert layout.offset is not None
        assert sorted(layout.offset.reshape(-1).tolist()) == list(range(layout.size))
        assert not layout.is_row_major, "a product's operand is swizzled"


def test_replicas() -> None:
    sums = read_layouts(product(128, 64, 64), SM_80)["sums"]
    assert sums.thread is not None
    assert sums.replicas > 1
    # One total for a row, held by all those threads that hold a part of the row.
    total = read_layouts(product(128, 64, 64), SM_80)["total"]
    assert total.thread is not None
    for row in range(64):
        assert set(sums.thread[row].tolist()) >= set(total.thread[row].reshape(-1).tolist())


def test_the_accumulator_on_hopper_is_that_of_wgmma() -> None:
    """PTX manual, wgmma.mma_async, accumulator D: row 16w + g + 8((r / 2) % 2), column 8(r / 4) + 2t + r % 2."""
    total = read_layouts(product(64, 64, 64), SM_90A, {"tl.disable_warp_specialized": True})["total"]
    assert total.thread is not None
    assert total.register is not None
    for i, j in itertools.product(range(64), range(64)):
        thread, register = int(total.thread[i, j, 0]), int(total.register[i, j])
        warp, lane = divmod(thread, 32)
        group, inside = divmod(lane, 4)
        assert (i, j) == (16 * warp + group + 8 * ((register // 2) % 2), 8 * (register // 4) + 2 * inside + register % 2)


def test_the_accumulator_on_cdna_is_that_of_mfma() -> None:
    """AMD CDNA 3 instruction set, v_mfma_f32_16x16x16: D[4(l / 16) + v, l % 16]; its transpose, as TileLang swaps the operands."""
    total = read_layouts(product(64, 64, 64), GFX942)["total"]
    assert total.thread is not None
    assert total.register is not None
    for i, j in itertools.product(range(64), range(64)):
        lane = int(total.thread[i, j, 0]) % 64
        assert (i % 16, j % 16) == (lane % 16, 4 * (lane // 16) + int(total.register[i, j]) % 4)


def test_threads_of_a_specialized_kernel_count_from_the_first_of_the_block() -> None:
    layouts = read_layouts(product(1024, 64, 1024, stages=2), SM_90A)
    total = layouts["total"].thread
    assert total is not None
    assert sorted(set(total.reshape(-1).tolist())) == list(range(128, 256)), "the first 128 threads load"
    assert layouts["a_tile"].shape == (2, 64, 32), "a pipelined buffer has its versions in front"


def test_a_table_is_what_its_expressions_say() -> None:
    """Against TVM's arithmetic, with numbers put in for the variables, at every point."""
    swizzle = Layout((8, 16), lambda i, j: [i // 2, (j % 8 // 4 + i % 4 // 2) % 2 * 4 + j // 8 * 8 + j % 4, i % 2])
    found = table("tile", swizzle)
    assert (found.kind, found.shape, found.replicas) == ("shared", (8, 16), 1)
    assert found.offset is not None
    variables, expressions = list(swizzle.get_forward_vars()), list(swizzle.get_forward_index())
    extents = [int(extent) for extent in swizzle.get_output_shape()]
    for point in itertools.product(range(8), range(16)):
        first, second, third = (at(expression, dict(zip(variables, point, strict=True))) for expression in expressions)
        assert int(found.offset[point]) == (first * extents[1] + second) * extents[2] + third


def test_a_swizzle_by_exclusive_or() -> None:
    offset = table("tile", Layout((8, 16), lambda i, j: [i, j ^ i])).offset
    assert offset is not None
    assert offset.tolist() == [[16 * i + (j ^ i) for j in range(16)] for i in range(8)]


def test_a_fragments_table_is_what_its_expressions_say() -> None:
    fragment = Fragment(
        (4, 6), forward_thread_fn=lambda i, j, rep: rep * 12 + (i % 2) * 6 + j, replicate=3, forward_index_fn=lambda i, j: i // 2
    )
    found = table("tile", fragment, scope="local.fragment", dtype="float16")
    assert (found.kind, found.replicas, found.size, found.dtype) == ("fragment", 3, 2, "float16")
    assert found.thread is not None
    assert found.register is not None
    for i, j in itertools.product(range(4), range(6)):
        assert found.thread[i, j].tolist() == [replica * 12 + (i % 2) * 6 + j for replica in range(3)]
        assert int(found.register[i, j]) == i // 2


def test_row_major() -> None:
    assert table("tile", Layout((3, 5), lambda i, j: i * 5 + j)).is_row_major
    assert not table("tile", Layout((3, 5), lambda i, j: j * 3 + i)).is_row_major
    assert not LayoutTable("x", "local.fragment", "float32", (1,), 1, "").is_row_major


def test_what_tilelang_refuses_is_one_sentence() -> None:
    with pytest.raises(TargetError, match=r"^TileLang infers no layouts for sm_90a: .*17") as caught:
        read_layouts(odd_product(17), SM_90A)
    assert "\n" not in str(caught.value)
    assert "Check failed" not in str(caught.value)


def test_the_compiler_works_as_before_afterwards() -> None:
    from mosaic.targets.lower import lower

    func = product(128, 64, 64)
    before = lower(func, "sm_80", binary=False).source
    read_layouts(func, SM_80)
    assert lower(product(128, 64, 64), "sm_80", binary=False).source == before
