"""Classes of conversions against brute force, and the table of what becomes of a product that feeds the next one."""

from __future__ import annotations

import heapq
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic.layouts.atoms import mfma, mma, relabel, swap_operands, tile, wgmma
from mosaic.layouts.conversion import (
    KINDS,
    Conversion,
    classify,
    classify_linear,
    classify_tables,
    contraction_indices,
    cost_order,
    find_contraction,
    permute_contraction,
)
from mosaic.layouts.layout import Layout, Repeat
from mosaic.layouts.linear import Dims, LayoutError, LinearMap
from tests.layouts.oracle import enumerate_map, invertible_maps, maps

SMALL: Dims = (("register", 2), ("lane", 2), ("warp", 1))
NARROW: Dims = (("register", 1), ("lane", 1), ("warp", 1))
TILE: Dims = (("i", 2), ("j", 1))
WHOLE: Dims = (("i", 3), ("j", 2))

Places = dict[tuple[int, ...], tuple[int, ...]]


def by_brute_force(source: Places, target: Places) -> tuple[str, bool | None] | None:
    """(kind, uniform) by looking for every needed element everywhere; None if somebody's element is nowhere."""
    holders: dict[tuple[int, ...], set[tuple[int, ...]]] = {}
    for place, element in source.items():
        holders.setdefault(element, set()).add(place)
    if any(element not in holders for element in target.values()):
        return None
    if all(source.get(place) == element for place, element in target.items()):
        return "identity", True
    nearest = [
        min(0 if (lane, warp) == (other[1], other[2]) else 1 if warp == other[2] else 2 for other in holders[element])
        for (_, lane, warp), element in target.items()
    ]
    if max(nearest) == 0:
        threads = {(lane, warp) for _, lane, warp in target}
        registers = range(1 + max(register for register, _, _ in source))
        uniform = all(
            any(all(source[other, *thread] == target[register, *thread] for thread in threads) for other in registers)
            for register in {register for register, _, _ in target}
        )
        return "permute", uniform
    return ("shuffle", False) if max(nearest) == 1 else ("shared", None)


def check(source: LinearMap, target: LinearMap) -> None:
    expected = by_brute_force(enumerate_map(source), enumerate_map(target))
    for way in (classify_linear, lambda a, b: classify_tables(Layout.of(a), Layout.of(b))):
        if expected is None:
            with pytest.raises(LayoutError, match="does not hold"):
                way(source, target)
        else:
            found = way(source, target)
            assert found.kind == expected[0]
            assert expected[1] is None or found.uniform == expected[1]


@settings(max_examples=150)
@given(maps(SMALL, TILE), maps(SMALL, TILE))
def test_the_class_is_the_smallest_on_any_replicated_layouts(source: LinearMap, target: LinearMap) -> None:
    check(source, target)


@given(maps(SMALL, TILE), maps(NARROW, TILE))
def test_the_target_may_have_fewer_threads_and_registers(source: LinearMap, target: LinearMap) -> None:
    check(source, target)


@settings(max_examples=150)
@given(invertible_maps(SMALL, WHOLE), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=2))
def test_the_class_is_the_smallest_on_layouts_that_are_near(source: LinearMap, steps: list[tuple[int, int]]) -> None:
    """Random pairs are nearly all far apart; these differ by a step or two, so that all classes occur."""
    columns = list(source.columns)
    for first, second in steps:
        columns[first], columns[second] = columns[second], columns[first]
        if first != second and (first + second) % 2:
            columns[first] ^= columns[second]
    check(source, LinearMap(source.inputs, source.outputs, tuple(columns)))


def test_all_classes_occur() -> None:
    source = LinearMap.identity(SMALL)

    def to(*columns: int) -> Conversion:
        return classify(source, LinearMap(SMALL, SMALL, columns))

    assert to(1, 2, 4, 8, 16).kind == "identity"
    assert to(2, 1, 4, 8, 16) == Conversion("permute", True, 0, 0)
    assert to(1, 2, 5, 8, 16) == Conversion("permute", False)
    assert to(1, 4, 2, 8, 16) == Conversion("shuffle", False, 1, 1, (("register1", "lane0"),))
    assert to(1, 2, 4, 12, 16) == Conversion("shuffle", False)
    assert to(1, 2, 4, 16, 8).kind == "shared"
    assert [found.is_free for found in (to(2, 1, 4, 8, 16), to(1, 2, 5, 8, 16))] == [True, False]
    assert [found.kind for found in sorted([to(1, 2, 4, 16, 8), to(1, 4, 2, 8, 16), to(1, 2, 4, 8, 16)], key=cost_order)] == [
        "identity",
        "shuffle",
        "shared",
    ]


@given(st.permutations(range(12)), st.permutations(range(12)))
def test_tables_are_classified_as_well(first: list[int], second: list[int]) -> None:
    """12 elements on 2 registers, 3 lanes, 2 warps: no map is linear here."""
    layouts = [
        Layout.from_function({"register": 2, "lane": 3, "warp": 2}, {"i": 12}, lambda r, t, w, order=order: (order[(r * 3 + t) * 2 + w],))
        for order in (first, second)
    ]
    source: Places = {(i // 6, i // 2 % 3, i % 2): (first[i],) for i in range(12)}
    target: Places = {(i // 6, i // 2 % 3, i % 2): (second[i],) for i in range(12)}
    expected = by_brute_force(source, target)
    assert expected is not None
    found = classify(*layouts)
    assert found.kind == expected[0]
    assert expected[1] is None or found.uniform == expected[1]


def fewest_exchanges(order: tuple[str, ...]) -> int:
    """How few exchanges of two bits sort `order`, where exchanging registers is free, by trying them all."""
    start, goal = order, tuple(sorted(order))
    queue, best = [(0, start)], {start: 0}
    while queue:
        cost, now = heapq.heappop(queue)
        if now == goal:
            return cost
        for i, j in itertools.combinations(range(len(now)), 2):
            changed = list(now)
            changed[i], changed[j] = changed[j], changed[i]
            # What is exchanged are places: position k is the k-th of the sorted names.
            more = cost + (not (goal[i].startswith("register") and goal[j].startswith("register")))
            if more < best.get(tuple(changed), 99):
                best[tuple(changed)] = more
                heapq.heappush(queue, (more, tuple(changed)))
    raise AssertionError


def test_the_number_of_exchanges_is_the_fewest_possible() -> None:
    dims: Dims = (("lane", 3), ("register", 2))
    names = ("lane0", "lane1", "lane2", "register0", "register1")
    source = LinearMap.identity(dims)
    for order in itertools.permutations(range(5)):
        found = classify(source, LinearMap(dims, dims, tuple(1 << bit for bit in order)))
        assert found.exchanges if found.kind == "shuffle" else found.is_free
        if found.kind == "shuffle":
            assert found.exchanges == fewest_exchanges(tuple(names[bit] for bit in order))
            assert found.crossings == sum(bit >= 3 for bit in order[:3])


# What becomes of a product that feeds the next one.

F16, TF32, F8, I8 = mma("float16", 16), mma("tfloat32", 8), mma("float8", 32), mma("int8", 32)
TO_A = {"m": "m", "n": "k"}


def as_a(c: Layout, times: int = 1) -> Layout:
    """C[m, n], so many side by side, as the A[m, k] of the next product: its columns are contracted."""
    return relabel(tile(c, {"n": times}), TO_A)


def table() -> dict[str, tuple[Layout, Layout]]:
    small, large, wide, widest = mfma("float16", 16, 16), mfma("float16", 32, 8), mfma("float16", 16, 32), mfma("float16", 32, 16)
    group = wgmma("float16", 16)
    square = tile(F16.c, {"n": 2})
    return {
        "mma C to A": (as_a(F16.c, 2), F16.operand("a")),
        "wgmma C to A": (as_a(group.c), group.operand("a")),
        "mma C transposed to B": (relabel(square, {"m": "n", "n": "k"}, ("k", "n")), tile(F16.operand("b"), {"n": 2})),
        "mfma 16 swapped D to A": (as_a(swap_operands(small).c), small.operand("a")),
        "mfma 32 swapped D to A": (as_a(swap_operands(large).c), tile(large.operand("a"), {"k": 4})),
        "mfma 16 D to B": (relabel(small.c, {"m": "k"}), small.operand("b")),
        "mfma 32 D to B": (relabel(large.c, {"m": "k"}), tile(large.operand("b"), {"k": 4})),
        "mma C to A, fp8": (as_a(F8.c, 4), F8.operand("a")),
        "mma C to A, int8": (as_a(I8.c, 4), I8.operand("a")),
        "mma C to A, tf32": (as_a(TF32.c), TF32.operand("a")),
        "mma C to A transposed": (relabel(square, {"m": "k", "n": "m"}, ("m", "k")), F16.operand("a")),
        "mma C to B, k = m": (relabel(F16.c, {"m": "k"}), F16.operand("b")),
        "mfma D to A": (as_a(small.c), small.operand("a")),
        "mfma 32 swapped D to 32x32x16": (as_a(swap_operands(large).c), tile(widest.operand("a"), {"k": 2})),
        "mfma 16 swapped D to 16x16x32": (as_a(swap_operands(small).c, 2), wide.operand("a")),
    }


@pytest.mark.parametrize(
    "name",
    [
        "mma C to A",
        "wgmma C to A",
        "mma C transposed to B",
        "mfma 16 swapped D to A",
        "mfma 32 swapped D to A",
        "mfma 16 D to B",
        "mfma 32 D to B",
    ],
)
def test_some_products_feed_the_next_for_free(name: str) -> None:
    assert classify(*table()[name]).is_free


@pytest.mark.parametrize(
    ("name", "exchanges", "crossings"),
    [
        ("mma C to A, fp8", 2, 1),
        ("mma C to A, int8", 2, 1),
        ("mma C to A, tf32", 2, 1),
        ("mma C to A transposed", 3, 1),
        ("mma C to B, k = m", 3, 1),
        ("mfma D to A", 4, 2),
        ("mfma 32 swapped D to 32x32x16", 1, 1),
        ("mfma 16 swapped D to 16x16x32", 2, 1),
    ],
)
def test_others_need_lanes_to_exchange(name: str, exchanges: int, crossings: int) -> None:
    found = classify(*table()[name])
    assert (found.kind, found.exchanges, found.crossings) == ("shuffle", exchanges, crossings)
    source, target = table()[name]
    assert classify_tables(source, target).kind == "shuffle"


def test_fp8_needs_a_ring_of_two_lanes_and_a_register() -> None:
    (ring,) = classify(*table()["mma C to A, fp8"]).cycles
    assert ring == ("register1", "register2", "lane1", "lane0")  # two registers, one of which only changes its name


def test_warps_that_split_the_columns_must_go_through_shared_memory() -> None:
    source = relabel(tile(F16.c, {"n": 4}, over="warp"), TO_A)
    everywhere = tile(F16.operand("a"), {"k": 2})
    target = LinearMap((*everywhere.linear.inputs, ("warp", 2)), everywhere.linear.outputs, (*everywhere.linear.columns, 0, 0))
    assert classify(source, target).kind == "shared"
    with pytest.raises(LayoutError, match="takes its operand b from shared memory"):
        wgmma("float16", 64).operand("b")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("mma C to A, fp8", [0, 1, 8, 9, 2, 3, 10, 11]),
        ("mma C to A, int8", [0, 1, 8, 9, 2, 3, 10, 11]),
        ("mfma 16 swapped D to 16x16x32", [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23]),
        ("mfma 32 swapped D to 32x32x16", [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15]),
        ("mma C to A, tf32", [0, 2, 4, 6, 1, 3, 5, 7]),
    ],
)
def test_another_order_of_the_contraction_makes_them_free(name: str, start: list[int]) -> None:
    source, target = (layout.linear for layout in table()[name])
    order, found = find_contraction(source, target)
    assert found.is_free
    indices = contraction_indices(order)
    assert indices[: len(start)] == start
    assert sorted(indices) == list(range(len(indices)))
    # By hand: every element that the instruction reads as its k is the tensor's indices[k].
    k = [name for name, _ in target.outputs].index("k")
    permuted = enumerate_map(permute_contraction(target, order))
    for place, element in enumerate_map(target).items():
        assert permuted[place][k] == indices[element[k]]
        assert permuted[place][1 - k] == element[1 - k]


def test_the_natural_order_is_kept_where_nothing_is_gained() -> None:
    source, target = (layout.linear for layout in table()["mma C to A"])
    order, found = find_contraction(source, target)
    assert order == (0, 1, 2, 3)
    assert found.kind == "identity"
    # k = m of C to B: the lanes hold the rows, and no order of rows brings them into registers.
    source, target = (layout.linear for layout in table()["mma C to B, k = m"])
    assert find_contraction(source, target)[1].kind == "shuffle"


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(5)), st.permutations(range(5)))
def test_no_order_of_the_indices_beats_the_best_order_of_their_bits(first: list[int], second: list[int]) -> None:
    """All 8! orders of a contraction of 8 would be many; of 4 all 24 are tried, on layouts whose bits are permuted."""
    tiles: Dims = (("m", 3), ("k", 2))
    source, target = (LinearMap(SMALL, tiles, tuple(1 << bit for bit in order)) for order in (first, second))
    _, best = find_contraction(source, target)
    held, needed = enumerate_map(source), enumerate_map(target)
    tried = []
    for order in itertools.permutations(range(4)):
        found = by_brute_force(held, {place: (m, order[k]) for place, (m, k) in needed.items()})
        assert found is not None
        tried.append([str(kind) for kind in KINDS].index(found[0]))
    assert KINDS.index(best.kind) == min(tried) or (min(tried) == 0 and best.is_free)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: classify(F16.c, F16.operand("a")), "of different tiles"),
        (lambda: classify(F16.c, mfma("float16", 16, 16).c), "of different tiles"),
        (lambda: classify(LinearMap.identity(NARROW), LinearMap(SMALL, NARROW, (1, 0, 2, 0, 4))), "more lanes or warps"),
        (lambda: classify(LinearMap.identity((("thread", 1),)), LinearMap.identity((("thread", 1),))), "not thread"),
        (lambda: permute_contraction(F16.operand("a").linear, (0, 0, 1, 2)), "no order of the 4 bits of k"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(action: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        action()


def test_tiles_that_are_no_power_of_two_are_classified() -> None:
    """A product of 96 columns, as two warpgroups' accumulators of 24 registers."""
    columns = wgmma("float16", 96).c
    assert not columns.is_linear
    assert classify(columns, columns).kind == "identity"
    other = Layout.of(
        wgmma("float16", 8).c.linear.permute_input("register", (1, 0)), Repeat("register", 12, (0, 8)), outputs={"m": 64, "n": 96}
    )
    assert classify(columns, other) == Conversion("permute", True, 0, 0)
