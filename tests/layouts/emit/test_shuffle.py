"""The ways of converting within a warp that are tried."""

from __future__ import annotations

from mosaic.layouts.atoms import mma
from mosaic.layouts.emit.dialect import dialect
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.shuffle import convert_shuffle, way_cost, ways
from mosaic.layouts.emit.steps import Exchange, Shuffle, Transpose
from mosaic.layouts.linear import LinearMap
from tests.layouts.emit.family import amd_cases, convert, nvidia_cases


def maps(name: str) -> tuple[LinearMap, LinearMap]:
    source, target, *_ = {**nvidia_cases(), **amd_cases()}[name]
    return source.linear.restrict("register", "lane", "warp"), target.linear.restrict("register", "lane", "warp")


def kinds(name: str, arch: str, element_bytes: int) -> list[set[type]]:
    how = dialect(arch)
    builder = Builder(how.warp_size, how.warp_size, element_bytes, casts_first=True)
    return [{type(step) for step in way.steps} & {Shuffle, Transpose, Exchange} for way in ways(builder, *maps(name), how)]


def test_movmatrix_alone_turns_a_fragment_round() -> None:
    for name in ("b_fp16", "at_fp16"):
        assert {Transpose} in kinds(name, "sm_90a", 2)
        assert {Transpose} not in kinds(name, "sm_70", 2)
        assert {Transpose} not in kinds(name, "sm_90a", 4)


def test_exchanges_alone_do_on_gfx950() -> None:
    assert {Exchange} in kinds("d_a_16x16x32", "gfx950", 2)
    assert kinds("d_a_16x16x32", "gfx942", 2) == [{Shuffle}]


def test_the_cheapest_is_taken() -> None:
    how = dialect("sm_90a")
    for name in ("b_fp16", "at_fp16"):
        builder = Builder(32, 32, 2, casts_first=True)
        least = min(way_cost(way, how).cycles for way in ways(builder, *maps(name), how))
        assert convert_shuffle(builder, *maps(name), how)
        assert way_cost(builder, how).cycles == least


def test_nothing_is_shuffled_to_the_lane_that_has_it() -> None:
    half = mma("float16", 16)
    function, _ = convert(half.c, half.c, kind="shuffle")
    assert function.instructions == {}
