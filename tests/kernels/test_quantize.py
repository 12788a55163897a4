"""int4 weights and float8 activations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st

from mosaic.errors import KernelError
from mosaic.graph.kernel import Spec, find
from mosaic.kernels.quantize import FLOAT8_LARGEST
from mosaic.targets.cpu import compile_cpu
from tests.kernels.cases import cases, check_lowers, on_cases, targets_for

NAMES = ("dequantize_int4", "gemm_fp8", "gemm_int4", "quantize_fp8")


@on_cases(*NAMES, count=4)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def test_int4_unpacks_what_was_packed() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-8, 8, (3, 12), generator=generator)
    scale = torch.rand(3, 3, generator=generator, dtype=torch.float64)
    stored = (values + 8).to(torch.uint8)
    packed = stored[:, 0::2] | stored[:, 1::2] << 4
    wanted = torch.stack([values[:, column] * scale[:, column // 4] for column in range(12)], 1)
    assert torch.equal(find("dequantize_int4").reference(packed, scale, group=4), wanted)
    a = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    assert torch.allclose(find("gemm_int4").reference(a, packed, scale, group=4), a @ wanted.T)


@pytest.mark.parametrize("name", ["dequantize_int4", "gemm_int4"])
def test_groups_that_do_not_divide_a_row(name: str) -> None:
    kernel = find(name)
    weight = (Spec((3, 6), "uint8"), Spec((3, 2), "float16"))
    specs = weight if name == "dequantize_int4" else (Spec((5, 12), "float16"), *weight)
    with pytest.raises(KernelError, match="rows of 12 columns do not divide into groups of 5"):
        kernel.instantiate(kernel.bind(specs, {"group": 5}))


def test_fp8_gives_back_what_was_quantized() -> None:
    """Every element within half a spacing of float8 (2^-4 relative; 2^-10 of the scale below the normal numbers)."""
    x = torch.randn(6, 67, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 6)[:, None]
    x[2] = 0.0
    kernel = find("quantize_fp8")
    q, scale = torch.empty(6, 67, dtype=torch.float8_e4m3fn), torch.empty(6)
    compile_cpu(kernel.instantiate(kernel.bind((Spec((6, 67), "float32"),))))(x, q, scale)
    back = q.float() * scale[:, None]
    assert not back[2].any()
    assert scale[2] > 0
    kept = torch.tensor([0, 1, 3, 4, 5])
    assert torch.equal(q.float().abs().amax(1)[kept], torch.full((5,), FLOAT8_LARGEST))
    assert ((back - x).abs() <= (x.abs() * 2.0**-4).maximum(scale[:, None] * 2.0**-10) * 1.0001).all()


def test_the_fp8_references() -> None:
    x, w = torch.randn(4, 9, dtype=torch.float64), torch.randn(3, 9, dtype=torch.float64)
    (q, scale), (r, row_scale) = find("quantize_fp8").reference(x), find("quantize_fp8").reference(w)
    assert torch.allclose(q * scale[:, None], x)
    assert torch.allclose(q.abs().amax(1), torch.full((4,), FLOAT8_LARGEST, dtype=torch.float64))
    assert torch.allclose(find("gemm_fp8").reference(q, scale, r, row_scale), x @ w.T)
