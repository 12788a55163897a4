"""What operators do with fragments, read off kernels."""

from __future__ import annotations

from mosaic.stitch.uses import Scope, opaque, read_uses
from mosaic.tiles.anatomy import dissect
from tests.layouts.chain import Chain, build
from tests.layouts.pairs import PAIRS
from tests.layouts.programs import product


def tree(func: object) -> Scope:
    return read_uses(dissect(func).block.body)


def described(root: Scope) -> list[tuple[str, dict[str, str], list[str]]]:
    return [
        (each.kind, {str(b.name): mode for b, mode in each.uses.items()}, sorted(str(b.name) for b in each.anchors))
        for each in root.operators()
        if each.uses
    ]


def test_a_product_that_feeds_a_product() -> None:
    assert described(tree(build(Chain("a", 64, 64, 64, 64, 128)))) == [
        ("fill", {"c": "write"}, []),
        ("gemm", {"c": "update"}, ["c"]),
        ("copy", {"c": "read", "h": "write"}, []),
        ("fill", {"o_sum": "write"}, []),
        ("gemm", {"h": "read", "o_sum": "update"}, ["h", "o_sum"]),
        ("copy", {"o_sum": "read"}, []),
    ]


def test_loops_over_elements_are_one_operator() -> None:
    found = described(tree(build(Chain("rows", 64, 64, 64, 64, 128, loop=True))))
    assert ("reduce", {"wide": "read", "by_row": "write"}, ["by_row", "wide"]) in found
    assert ("loop", {"wide": "update", "by_row": "read"}, []) in found
    assert ("loop", {"c": "read", "h": "write"}, []) in described(tree(build(Chain("a", 64, 64, 64, 64, 128, loop=True))))


def test_a_reduction_that_adds_to_its_result_updates_it() -> None:
    pair = next(pair for pair in PAIRS if "reductions" in pair.name)
    modes = [uses["s"] for kind, uses, _ in described(tree(pair.make())) if kind == "reduce"]
    assert modes == ["write", "update"]


def test_scopes_are_loops_of_the_kernel() -> None:
    root = tree(product(64, 64, 64, stages=2))
    loops = [child for child in root.children if isinstance(child, Scope)]
    assert [loop.kind for loop in loops] == ["loop"]
    assert [each.kind for each in loops[0].operators() if each.uses] == ["gemm"]
    assert opaque(root) == set()


def test_equal_products_bind_alike() -> None:
    def anchor(chain: Chain) -> object:
        return next(anchor for each in tree(build(chain)).operators() for b, anchor in each.anchors.items() if str(b.name) == "c")

    # Where an accumulator lies does not depend on the depth of the product, but on its policy.
    assert anchor(Chain("a", 64, 64, 64, 64, 128)) == anchor(Chain("a", 64, 64, 32, 64, 128))
    assert anchor(Chain("a", 64, 64, 64, 64, 128)) != anchor(Chain("a", 64, 64, 64, 64, 128, first="FullCol"))
