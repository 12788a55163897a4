"""Emitted conversions of every class: each place of the target holds its element, by the fewest instructions, without conflicts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.layouts.atoms import mma, relabel, tile
from mosaic.layouts.conversion import Kind, classify, find_contraction, permute_contraction
from mosaic.layouts.cost import cost
from mosaic.layouts.emit import Callers, emit
from mosaic.layouts.linear import Dims, LayoutError, LinearMap
from tests.layouts.emit.family import TO_A, amd_cases, convert, nvidia_cases, random_table, spread

PLACES: Dims = (("register", 3), ("lane", 5), ("warp", 1))
SMALL_TARGET: Dims = (("register", 2), ("lane", 4), ("warp", 0))
DTYPES = st.sampled_from(
    [("float32", "float32"), ("float32", "float16"), ("float32", "float8_e4m3fn"), ("int8", "float32"), ("int8", "int8")]
)


@pytest.mark.parametrize("name", nvidia_cases())
@pytest.mark.parametrize("kind", [None, "shared"])
def test_conversions_of_nvidia(name: str, kind: Kind | None) -> None:
    source, target, *dtypes = nvidia_cases()[name]
    function, outcome = convert(source, target, (dtypes[0], dtypes[1]), kind=kind)
    assert function.kind == (kind or classify(source, target).kind)
    if name != "three_warps":
        assert outcome.conflicts == 0


@pytest.mark.parametrize("name", amd_cases())
@pytest.mark.parametrize("kind", [None, "shared"])
@pytest.mark.parametrize("arch", ["gfx942", "gfx950"])
def test_conversions_of_amd(name: str, kind: Kind | None, arch: str) -> None:
    source, target, *dtypes = amd_cases()[name]
    function, outcome = convert(source, target, (dtypes[0], dtypes[1]), arch=arch, kind=kind)
    assert function.kind == (kind or classify(source, target).kind)
    assert outcome.conflicts == 0


@settings(max_examples=60)
@given(spread(PLACES, 9), spread(PLACES, 9), DTYPES)
def test_any_linear_layouts(source: LinearMap, target: LinearMap, dtypes: tuple[str, str]) -> None:
    _, outcome = convert(source, target, dtypes)
    assert outcome.conflicts == 0


@settings(max_examples=60)
@given(spread(PLACES, 9, within=1), spread(PLACES, 9, within=1), DTYPES)
def test_any_linear_layouts_within_a_warp(source: LinearMap, target: LinearMap, dtypes: tuple[str, str]) -> None:
    function, _ = convert(source, target, dtypes)
    assert function.kind != "shared"
    assert not function.shared_bytes


@settings(max_examples=60)
@given(spread(PLACES, 7), spread(PLACES, 7), DTYPES)
def test_layouts_with_copies(source: LinearMap, target: LinearMap, dtypes: tuple[str, str]) -> None:
    convert(source, target, dtypes)
    convert(source, target, dtypes, kind="shared")


@settings(max_examples=40)
@given(spread(PLACES, 6), spread(SMALL_TARGET, 6), DTYPES)
def test_a_target_of_fewer_threads(source: LinearMap, target: LinearMap, dtypes: tuple[str, str]) -> None:
    convert(source, target, dtypes)


@settings(max_examples=40)
@given(spread((("register", 3), ("lane", 6), ("warp", 1)), 10), spread((("register", 3), ("lane", 6), ("warp", 1)), 10), DTYPES)
def test_any_linear_layouts_of_waves(source: LinearMap, target: LinearMap, dtypes: tuple[str, str]) -> None:
    for arch in ("gfx942", "gfx950"):
        convert(source, target, dtypes, arch=arch)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("within", [True, False])
@pytest.mark.parametrize("dtypes", [("float32", "float16"), ("int8", "int8")])
def test_any_layouts_at_all(seed: int, within: bool, dtypes: tuple[str, str]) -> None:
    layouts = [random_table(4, 32, 3, 2 * seed + which, within=within) for which in (0, 1)]
    function, _ = convert(layouts[0], layouts[1], dtypes)
    assert function.kind == ("shuffle" if within else "shared")


@pytest.mark.parametrize("limit", [512, 1024, 2048, 4096])
def test_a_small_stage_is_used_in_rounds(limit: int) -> None:
    source, target, *_ = nvidia_cases()["transpose_fp32"]
    function, outcome = convert(source, target, ("float32", "float32"), limit=limit)
    assert function.shared_bytes == limit
    assert function.instructions["barrier"] == 2 * (64 * 64 * 4 // limit)
    assert outcome.conflicts == 0


def test_a_stage_that_holds_nothing() -> None:
    source, target, *_ = nvidia_cases()["transpose_fp32"]
    with pytest.raises(LayoutError, match="does not hold one access"):
        convert(source, target, limit=8)


def test_what_is_free_has_no_instructions() -> None:
    for name in ("a_fp16", "ct_b_bf16"):
        source, target, *dtypes = nvidia_cases()[name]
        function, _ = convert(source, target, (dtypes[0], dtypes[1]))
        assert function.instructions == {}
    fp8 = mma("float8", 32)
    four = relabel(tile(fp8.c, {"n": 4}), TO_A).linear
    order, _ = find_contraction(four, fp8.operand("a").linear)
    function, _ = convert(four, permute_contraction(fp8.operand("a").linear, order), ("float32", "float8_e4m3fn"))
    assert function.instructions == {}


def test_shuffles_are_packed() -> None:
    # Sixteen elements of 8 bits are four words, of which all leave their lane; of 32 bits they would be sixteen.
    source, target, *_ = nvidia_cases()["a_fp8"]
    function, _ = convert(source, target, ("float32", "float8_e4m3fn"))
    assert function.instructions["shuffle"] == 4
    wide, _ = convert(source, target, ("float32", "float32"))
    assert wide.instructions["shuffle"] == 16


def test_one_exchange_is_half_the_shuffles() -> None:
    # Register bit 0 for lane bit 0: of eight words four stay.
    source = LinearMap((("register", 3), ("lane", 5)), (("e", 8),), tuple(1 << bit for bit in range(8)))
    target = LinearMap(source.inputs, source.outputs, (8, 2, 4, 1, 16, 32, 64, 128))
    function, _ = convert(source, target, ("float32", "float32"))
    assert function.instructions == {"shuffle_xor": 4, "select": 12}


def test_gfx950_exchanges_halves() -> None:
    for name, exchanges in (("d_a_32x32x16", 4), ("d_a_16x16x32", 4)):
        source, target, *dtypes = amd_cases()[name]
        function, _ = convert(source, target, (dtypes[0], dtypes[1]), arch="gfx950")
        assert function.instructions == {"exchange": exchanges}
        older, _ = convert(source, target, (dtypes[0], dtypes[1]), arch="gfx942")
        assert "exchange" not in older.instructions


def test_the_cast_is_where_less_is_moved() -> None:
    source, target, *_ = nvidia_cases()["transpose_fp32"]
    narrowed, _ = convert(source, target, ("float32", "float16"))
    widened, _ = convert(source, target, ("float16", "float32"))
    assert narrowed.shared_bytes == widened.shared_bytes == 64 * 64 * 2
    assert narrowed.program.casts_first
    assert not widened.program.casts_first


def test_the_cheapest_is_what_the_costs_say() -> None:
    for cases, arch in ((nvidia_cases(), "sm_90a"), (amd_cases(), "gfx942")):
        for source, target, *dtypes in cases.values():
            first, _ = convert(source, target, (dtypes[0], dtypes[1]), arch=arch)
            second, _ = convert(source, target, (dtypes[0], dtypes[1]), arch=arch, kind="shared")
            best, _ = convert(source, target, (dtypes[0], dtypes[1]), arch=arch, kind="cheapest")
            assert cost(best, arch).cycles == min(cost(first, arch).cycles, cost(second, arch).cycles)


def test_layouts_that_cannot_be_converted() -> None:
    half = mma("float16", 16)
    with pytest.raises(LayoutError, match="different tiles"):
        convert(half.c, half.operand("a"))
    with pytest.raises(LayoutError, match="does not hold"):
        convert(
            LinearMap((("register", 0), ("lane", 5)), (("e", 6),), (1, 2, 4, 8, 16)),
            LinearMap((("lane", 5),), (("e", 6),), (1, 2, 4, 8, 32)),
        )
    with pytest.raises(LayoutError, match="do not move float64"):
        convert(half.c, half.c, ("float64", "float32"))
    with pytest.raises(LayoutError, match="no conversions are emitted for gfx90a"):
        convert(half.c, half.c, arch="gfx90a")
    source, target, *_ = nvidia_cases()["a_fp8"]
    with pytest.raises(LayoutError, match="can't be emitted as identity"):
        convert(source, target, kind="identity")


def test_named_barriers_are_cudas() -> None:
    source, target, *_ = nvidia_cases()["transpose_fp16"]
    callers = Callers(first_thread=128, barrier=3)
    function = emit(source, target, source_dtype="float32", target_dtype="float16", arch="sm_90a", name="part", callers=callers)
    assert "mosaic::barrier(3u, 128u);" in function.text
    assert "thread = threadIdx.x - 0x80u;" in function.text
    source, target, *_ = amd_cases()["d_a"]
    with pytest.raises(LayoutError, match="no named barriers"):
        emit(source, target, source_dtype="float32", target_dtype="float16", arch="gfx942", name="part", callers=callers)
