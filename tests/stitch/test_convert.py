"""What TileLang refuses because layouts disagree, converted: the pairs of the facts, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tilelang
import tilelang.language as T
import torch
from tvm.ir import structural_equal

from mosaic.errors import TargetError
from mosaic.layouts.read import read_layouts
from mosaic.stitch.convert import Converted, Cuts, convert, replay
from mosaic.targets.cache import Cache
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.lower import lower
from mosaic.targets.target import find
from tests.layouts.chain import Chain, build
from tests.layouts.checked import check
from tests.layouts.pairs import PAIRS, Pair

CASES = [(pair, target) for number, pair in enumerate(PAIRS) for target in pair.refused[number % len(pair.refused) :][:1]]


def converted(func: object, target: str, **options: object) -> Converted:
    return convert(func, find(target).upstream, warp_size=find(target).warp_size, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("pair", "target"), CASES, ids=[f"{pair.name}-{target}" for pair, target in CASES])
def test_a_pair_that_is_refused_alone_lowers_and_is_right(pair: Pair, target: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError):
        read_layouts(pair.make(), find(target).upstream)
    lowered = lower(pair.make(), target, binary=False, cache=Cache(tmp_path))
    for each in lowered.conversions:
        assert f"{each['source']} is converted to {each['target']}" in "".join(lowered.notes)
    report = check(pair.tensors, pair.steps, compile_cpu(lowered.program, poison=True), device="cpu", tf32=False)
    assert not report.failures
    # What the cache keeps is enough to convert the program again.
    again = lower(pair.make(), target, binary=False, cache=Cache(tmp_path))
    assert again.cached
    assert structural_equal(again.program, lowered.program)


@pytest.mark.parametrize(
    ("chain", "target", "kinds"),
    [
        (Chain("a", 128, 128, 64, 64, 256, mid="float8_e4m3fn"), "sm_90a", ["permute"]),
        (Chain("a", 128, 64, 64, 64, 256, mid="float32"), "sm_80", ["permute"]),
        (Chain("b", 64, 64, 64, 64, 128, "FullCol", "FullCol", mid="float32"), "sm_80", ["shuffle"]),
        (Chain("a", 64, 64, 64, 64, 128, "FullCol", "FullRow"), "sm_80", ["shared"]),
    ],
)
def test_a_conversion_is_of_the_smallest_class(chain: Chain, target: str, kinds: list[str]) -> None:
    found = converted(build(chain), target)
    assert [each.kind for each in found.conversions] == kinds
    for each in found.conversions:
        assert (each.shared_bytes > 0) == (each.kind == "shared")
        assert each.bytes == chain.m * chain.n * {"float8_e4m3fn": 1, "float32": 4}.get(chain.mid, 2)


def test_an_agreement_leaves_no_trace() -> None:
    func = build(Chain("a", 128, 128, 64, 64, 256))
    found = converted(func, "sm_80")
    assert found.conversions == ()
    assert found.cuts.text == ""
    assert "mosaic_convert" not in found.func.script()
    assert structural_equal(found.func, func)


def test_cuts_survive_json() -> None:
    func = build(Chain("a", 64, 64, 64, 64, 128, "FullCol", "FullRow"))
    found = converted(func, "sm_80")
    cuts = Cuts.from_dict(found.cuts.to_dict())
    assert cuts == found.cuts
    assert structural_equal(replay(func, cuts), found.func)


def test_what_the_compiler_refuses_is_cut_further() -> None:
    func = build(Chain("rows", 64, 64, 64, 64, 128))
    seen = []

    def accept(program: Converted) -> None:
        seen.append(program.cuts.level)
        if program.cuts.level == "products":
            raise TargetError("not this")

    assert converted(func, "sm_80", accept=accept).cuts.level == "reductions"
    assert seen[0] == "products"


def test_a_refusal_of_everything_says_why() -> None:
    def accept(_: Converted) -> None:
        raise TargetError("nothing is good enough")

    with pytest.raises(TargetError, match="nothing is good enough"):
        converted(build(Chain("a", 64, 64, 64, 64, 128)), "sm_80", accept=accept)


def _annotated(place: Callable[..., object]) -> Any:
    @T.prim_func
    def main(x: T.Tensor((64, 64), "float16"), w: T.Tensor((64, 64), "float16"), o: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(1, threads=128) as _:
            x_tile = T.alloc_shared((64, 64), "float16")
            w_tile = T.alloc_shared((64, 64), "float16")
            c = T.alloc_fragment((64, 64), "float32")
            T.annotate_layout({c: tilelang.layout.Fragment([64, 64], forward_fn=place)})
            T.copy(x, x_tile)
            T.copy(w, w_tile)
            T.clear(c)
            T.gemm(x_tile, w_tile, c, policy=T.GemmWarpPolicy.FullRow)
            T.copy(c, o)

    return main


def test_an_annotation_that_contradicts_the_instruction_is_converted(tmp_path: Path) -> None:
    """The author's layout of an accumulator is not the instruction's: both are kept, each on its side of a conversion."""
    lowered = lower(_annotated(lambda i, j: (i * 2 + j // 32, j % 32)), "sm_90a", binary=False, cache=Cache(tmp_path))
    (handed,) = lowered.conversions
    assert (handed["kind"], handed["source_layout"]) == ("shared", "thread _i * 2 + _j // 32, register _j % 32")
    x, w = torch.randn(64, 64, dtype=torch.float16), torch.randn(64, 64, dtype=torch.float16)
    out = torch.empty(64, 64)
    compile_cpu(lowered.program)(x, w, out)
    assert torch.allclose(out, x.float() @ w.float(), atol=1e-2)


def test_an_annotation_that_is_not_injective_is_said(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="the layout of c is not injective: two of its elements lie in one register") as caught:
        lower(_annotated(lambda i, j: (i, j % 32)), "sm_90a", binary=False, cache=Cache(tmp_path))
    assert "\n" not in str(caught.value)
