"""Where fragments are split, and what is handed over."""

from __future__ import annotations

from typing import Any

import tilelang.language as T

from mosaic.stitch.uses import Operator, read_uses
from mosaic.stitch.versions import LEVELS, Level, Versions, merged, split
from mosaic.tiles.anatomy import dissect
from tests.layouts.chain import Chain, build
from tests.layouts.pairs import PAIRS


def versions(func: Any, level: Level = "products") -> Versions:
    block = dissect(func).block
    return split(read_uses(block.body, frozenset(block.annotations.get("layout_map", {}))), level)


def handed(found: Versions) -> list[tuple[str, str, str]]:
    """Fragment, the operator or loop, before or after it."""
    return [
        (str(each.source.buffer.name), each.place.kind if isinstance(each.place, Operator) else f"a {each.place.kind}", each.where)
        for each in found.handovers
    ]


def test_an_operand_is_handed_over_after_the_cast() -> None:
    assert handed(versions(build(Chain("a", 128, 128, 64, 64, 256, "FullCol", "FullRow")))) == [("h", "gemm", "before")]


def test_what_nothing_else_binds_is_not_cut() -> None:
    assert handed(versions(build(Chain("a", 128, 128, 0, 64, 256)))) == []


def test_an_accumulator_goes_over_to_the_next_policy_and_stays() -> None:
    assert handed(versions(build(Chain("accumulate", 128, 128, 64, 64, 256, "FullRow", "FullCol")))) == [("c", "gemm", "before")]
    assert handed(versions(build(Chain("accumulate", 128, 128, 64, 64, 256)))) == []


def test_the_cheaper_side_is_converted() -> None:
    # Of float32 accumulators and a float16 tile in one loop, it is the tile.
    assert handed(versions(build(Chain("add", 128, 128, 64, 64, 256, "FullRow", "FullCol")))) == [("h", "loop", "before")]


def test_annotated_fragments_keep_their_layouts() -> None:
    pair = next(pair for pair in PAIRS if "annotated" in pair.name)
    assert handed(versions(pair.make())) == [("b", "copy", "after")]


def test_each_level_cuts_no_less() -> None:
    func = build(Chain("both", 64, 64, 64, 64, 128, "FullCol"))
    counts = [len(versions(func, level).handovers) for level in LEVELS]
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[-1] > counts[1] > 0


def attention(m: int, n: int, d: int) -> Any:
    """Two products in a loop, the second of which takes what the first left."""

    @T.prim_func
    def main(q: T.Tensor((m, d), "float16"), k: T.Tensor((4 * n, d), "float16"), o: T.Tensor((m, d), "float32")) -> None:
        with T.Kernel(1, threads=128) as _:
            q_tile = T.alloc_shared((m, d), "float16")
            k_tile = T.alloc_shared((n, d), "float16")
            s = T.alloc_fragment((m, n), "float32")
            p = T.alloc_fragment((m, n), "float16")
            fixed = T.alloc_fragment((m, d), "float16")
            acc = T.alloc_fragment((m, d), "float32")
            T.copy(q, q_tile)
            T.copy(q, fixed)
            T.clear(acc)
            for step in T.serial(4):
                T.copy(k[step * n, 0], k_tile)
                T.clear(s)
                T.gemm(fixed, k_tile, s, transpose_B=True, policy=T.GemmWarpPolicy.FullCol)
                T.copy(s, p)
                T.gemm(p, k_tile, acc, policy=T.GemmWarpPolicy.FullRow)
            T.gemm(fixed, k_tile, acc, policy=T.GemmWarpPolicy.FullCol) if d == n else None
            T.copy(acc, o)

    return main


def test_a_loop_converts_what_it_makes_and_nothing_that_it_only_carries() -> None:
    found = handed(versions(attention(64, 32, 64)))
    assert found == [("p", "gemm", "before")]
    # A second product with another policy after the loop: its operand is read only, and converted there; the accumulator goes over once.
    gemms = [("acc", "gemm", "before"), ("fixed", "gemm", "before"), ("p", "gemm", "before")]
    assert sorted(handed(versions(attention(64, 64, 64)))) == gemms


def test_united_versions_have_no_handovers() -> None:
    found = versions(build(Chain("a", 128, 128, 64, 64, 256, "FullCol", "FullRow")))
    pairs = {each.target: each.source for each in found.handovers}
    whole = merged(found, pairs)
    assert whole.handovers == []
    assert all(len(each) == 1 for each in whole.of.values())
