"""Copies, fills and transposes: every kind of memory, every edge, shapes that are primes and 1."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mosaic.dtypes import dtype
from mosaic.errors import ReadError
from mosaic.targets.cpu import CpuKernel, compile_cpu, emit_c
from tests.targets.cpu import copies
from tests.targets.cpu.running import run

SIZES = st.sampled_from([1, 2, 3, 7, 15, 16, 17, 23, 24, 25, 31, 48, 97]) | st.integers(1, 70)


@functools.cache
def copying(source: str, target: str) -> CpuKernel:
    return compile_cpu(copies.copy_through(source, target), poison=True)


def guarded(rows: int, columns: int, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A tensor, and the memory around it, which nobody may touch."""
    memory = torch.full((rows * columns + 256,), 77.0).to(kind)
    return memory[128 : 128 + rows * columns].view(rows, columns), memory


@pytest.mark.parametrize(("source", "target"), [("float16", "float16"), ("float32", "bfloat16"), ("float16", "float32")])
@given(rows=SIZES, columns=SIZES)
def test_a_copy_of_any_size_is_whole_and_stays_inside(source: str, target: str, rows: int, columns: int) -> None:
    x = torch.randn(rows, columns).to(dtype(source).torch)
    y, memory = guarded(rows, columns, dtype(target).torch)
    copying(source, target)(x, y)
    assert torch.equal(y, x.to(y.dtype))
    assert (memory[:128].float() == 77).all()
    assert (memory[-128:].float() == 77).all()


@pytest.mark.parametrize("dtype_name", ["float64", "float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int16", "int64", "bool"])
def test_a_copy_keeps_the_bits_of_every_dtype(dtype_name: str) -> None:
    kind = dtype(dtype_name)
    x = torch.randint(0, 256, (30 * 30 * kind.bytes,), dtype=torch.uint8)
    x = (x % 2 if dtype_name == "bool" else x).view(kind.torch).reshape(30, 30)
    y = torch.zeros(30, 30).to(kind.torch)
    run(copies.copy_through(dtype_name, dtype_name, scope="fragment"), x, y)
    assert torch.equal(y.view(torch.uint8), x.view(torch.uint8))


@pytest.mark.parametrize("build", [copies.shifted, copies.shifted_elements])
@pytest.mark.parametrize(("by_rows", "by_columns"), [(3, 2), (-3, 0), (-7, 5), (0, 40), (13, 0)])
def test_reads_outside_are_zero_and_writes_outside_are_dropped(build: object, by_rows: int, by_columns: int) -> None:
    x = torch.randn(13, 11)
    y, memory = guarded(13, 11, torch.float32)
    run(build(13, 11, by_rows, by_columns), x, y)  # type: ignore[operator]
    wide = torch.zeros(13 + 2 * 64, 11 + 2 * 64)
    wide[64 : 64 + 13, 64 : 64 + 11] = x
    assert torch.equal(y, wide[64 + by_rows : 64 + by_rows + 13, 64 + by_columns : 64 + by_columns + 11])
    assert (memory[:128] == 77).all()
    assert (memory[-128:] == 77).all()


@pytest.mark.parametrize("build", [copies.shifted, copies.shifted_elements])
def test_the_safe_value_is_what_reads_outside_give(build: object) -> None:
    x, y = torch.randn(8, 4), torch.zeros(8, 4)
    run(build(8, 4, 6, 0, safe=-5.0), x, y)  # type: ignore[operator]
    assert torch.equal(y[:2], x[6:])
    assert (y[2:] == -5).all()


def test_axes_of_extent_one_are_dropped_on_both_sides() -> None:
    x, y, z = torch.randn(3, 8, 16), torch.zeros(8, 3, 16), torch.zeros(16)
    run(copies.slices(), x, y, z)
    assert torch.equal(y, x.transpose(0, 1))
    assert torch.equal(z[1:], x[2, 5, 1:])
    assert z[0] == x[0, 0, 0]


def test_regions_of_tiles() -> None:
    x, y = torch.randn(4, 4).half(), torch.zeros(8, 8)
    run(copies.larger_tile(), x, y)
    want = torch.full((8, 8), 2.0)
    want[2:6, 3:7] = x.float()
    want[7] = 0
    assert torch.equal(y, want)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (1, 7), (13, 5)])
def test_transpose(rows: int, columns: int) -> None:
    x, y = torch.randn(rows, columns).half(), torch.zeros(columns, rows)
    run(copies.transposed(rows, columns), x, y)
    assert torch.equal(y, x.float().T)


def test_negative_indices_count_from_the_end() -> None:
    x, y = torch.randn(5, 4), torch.zeros(4)
    run(copies.last_row(), x, y)
    assert torch.equal(y, x[-1])


def test_a_region_that_starts_before_its_tensor_counts_from_the_end() -> None:
    """As TileLang's LegalizeNegativeIndex has it: -1 is the last column, not padding; single elements alike."""
    x, y = torch.randn(13, 11), torch.zeros(13, 11)
    run(copies.shifted(13, 11, 0, -1), x, y)
    assert torch.equal(y[:, 0], x[:, -1])
    assert (y[:, 1:] == 0).all()
    run(copies.shifted_elements(13, 11, -20, 0), x, y)
    assert (y[:7] == 0).all()
    assert torch.equal(y[7:], x[:6])


def test_axes_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ReadError, match=r"kernel 'mismatched' .* copies 1 axes of 'x' to 2 of 'y'"):
        emit_c(copies.mismatched())


@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding"), [(3, 1, 1, 1), (2, 2, 1, 0), (3, 2, 2, 2)])
def test_windows_of_an_image(kernel: int, stride: int, dilation: int, padding: int) -> None:
    x = torch.randn(2, 9, 7, 4).half()
    columns = torch.nn.functional.unfold(x.permute(0, 3, 1, 2).float(), kernel, dilation, padding, stride)
    want = columns.view(2, 4, kernel * kernel, -1).permute(0, 3, 2, 1).reshape(-1, kernel * kernel * 4)
    y = torch.full(want.shape, float("nan")).half()
    run(copies.windows((2, 9, 7, 4), kernel, stride, dilation, padding, (16, 8)), x, y)
    assert torch.equal(y.float(), want)
