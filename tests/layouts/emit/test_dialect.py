"""Architectures and types of conversions."""

from __future__ import annotations

import pytest

from mosaic.dtypes import DTYPES
from mosaic.layouts.emit.dialect import TYPES, cast, dialect, element_bytes, prelude, type_name
from mosaic.layouts.linear import LayoutError


def test_architectures() -> None:
    assert (dialect("sm_80").warp_size, dialect("sm_80").transposes, dialect("sm_80").packs_fp8) == (32, True, False)
    assert dialect("sm_70").transposes is False
    assert dialect("sm_90a").packs_fp8
    assert dialect("sm_100a").packs_fp8
    assert (dialect("gfx942").warp_size, dialect("gfx942").swaps) == (64, ())
    assert dialect("gfx950").swaps == (4, 5)
    for arch in ("gfx1100", "sm_x", "c", ""):
        with pytest.raises(LayoutError, match="no conversions are emitted"):
            dialect(arch)


def test_sizes_are_those_of_the_dtypes() -> None:
    for name in TYPES:
        if name in DTYPES:
            assert element_bytes(name) == DTYPES[name].bytes
    assert element_bytes("float8_e4m3fnuz") == 1
    with pytest.raises(LayoutError, match="float64"):
        type_name("float64")


def test_casts() -> None:
    assert cast("x", "float16", "float16") == "x"
    assert cast("x", "float32", "int8") == "static_cast<signed char>(x)"
    assert cast("x", "float32", "float16") == "half_t(x)"
    assert cast("x", "bfloat16", "float8_e4m3fn") == "fp8_e4_t(static_cast<float>(x))"
    assert cast("x", "float16", "int8") == "static_cast<signed char>(static_cast<float>(x))"


def test_helpers_are_guarded() -> None:
    for arch in ("sm_80", "sm_90a", "gfx942", "gfx950"):
        text = prelude(dialect(arch))
        assert text.startswith("#ifndef MOSAIC_CONVERSION\n#define MOSAIC_CONVERSION\n")
        assert text.count("#if") == text.count("#endif")
        assert text.count("{") == text.count("}")
        assert ("permlane32_swap" in text) == (arch == "gfx950")
