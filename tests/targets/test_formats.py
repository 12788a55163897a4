"""Formats that a target lacks are refused before TileLang makes something else of them."""

from __future__ import annotations

import pytest

from mosaic import kernels
from mosaic.errors import TargetError
from mosaic.graph.kernel import Spec, find
from mosaic.targets.formats import missing_format
from mosaic.targets.lower import lower
from mosaic.targets.target import TARGETS

kernels.load()


def program(name: str, *specs: Spec, **attributes: str) -> object:
    kernel = find(name)
    return kernel.instantiate(kernel.bind(specs, {**kernel.attributes, **attributes}))


TILE, SCALE = Spec((64, 64), "float8_e4m3fn"), Spec((64,), "float32")
PRODUCT = ("gemm_fp8", TILE, SCALE, TILE, SCALE)


@pytest.mark.parametrize(("target", "refused"), [("sm_80", True), ("gfx942", True), ("sm_90a", False), ("gfx950", False), ("cpu", False)])
def test_products_of_8_bit_floats(target: str, refused: bool) -> None:
    assert (missing_format(program(*PRODUCT), TARGETS[target]) is not None) == refused


def test_storage_alone_is_fine_where_the_format_exists() -> None:
    quantize = program("quantize_fp8", Spec((64, 64), "float16"))
    assert missing_format(quantize, TARGETS["sm_80"]) is None
    assert "gfx942 does not have" in (missing_format(quantize, TARGETS["gfx942"]) or "")


def test_lower_refuses() -> None:
    with pytest.raises(TargetError, match="multiplies 8-bit floats, which sm_80 cannot"):
        lower(program(*PRODUCT), "sm_80")
