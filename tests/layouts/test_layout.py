"""Layouts of any extents, against plain dicts; and what is recognised of a table."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mosaic.layouts.layout import Layout, Repeat
from mosaic.layouts.linear import LayoutError, LinearMap
from tests.layouts.oracle import enumerate_map, maps, places

INPUTS = (("a", 2), ("b", 1))
OUTPUTS = (("i", 2), ("j", 2))


def enumerate_layout(found: Layout) -> dict[tuple[int, ...], tuple[int, ...]]:
    """By hand: an index's digits divided off, from the lowest."""
    assert found.core is not None
    core = enumerate_map(found.core)
    table = {}
    for place in places(dict(found.inputs)):
        index = dict(zip((name for name, _ in found.inputs), place, strict=True))
        low = []
        for name, bits in found.core.inputs:
            low.append(index[name] % 2**bits)
            index[name] //= 2**bits
        value = list(core[tuple(low)])
        for repeat in found.repeats:
            digit = index[repeat.name] % repeat.extent
            index[repeat.name] //= repeat.extent
            value = [total + digit * step for total, step in zip(value, repeat.steps, strict=True)]
        table[place] = tuple(value)
    return table


def as_dict(found: Layout) -> dict[tuple[int, ...], tuple[int, ...]]:
    table = found.to_table()
    return {place: tuple(map(int, table[place])) for place in places(dict(found.inputs))}


def extents(found: Layout) -> tuple[Mapping[str, int], Mapping[str, int]]:
    return dict(found.inputs), dict(found.outputs)


REPEATS = st.lists(
    st.builds(Repeat, st.sampled_from("ab"), st.integers(2, 5), st.tuples(st.integers(0, 40), st.integers(0, 40))), max_size=3
)
LAYOUTS = st.builds(lambda core, repeats: Layout.of(core, *repeats), maps(INPUTS, OUTPUTS), REPEATS)


@given(LAYOUTS)
def test_core_and_repeats_are_what_digits_add_up_to(found: Layout) -> None:
    assert as_dict(found) == enumerate_layout(found)
    for place, value in enumerate_layout(found).items():
        assert tuple(found(a=place[0], b=place[1]).values()) == value


@given(LAYOUTS)
def test_a_table_gives_the_layout_back(found: Layout) -> None:
    again = Layout.from_table(found.inputs, found.outputs, found.to_table())
    assert again == found
    assert as_dict(again) == as_dict(found)


@given(maps(INPUTS, OUTPUTS), st.integers(2, 7), st.sampled_from("ab"), st.booleans())
def test_structure_is_recognised_where_a_fragment_repeats(core: LinearMap, times: int, name: str, rows: bool) -> None:
    """Repeats that lie beside each other, as tiles do, are found; so is a table of a linear map, as one."""
    found = Layout.of(core, Repeat(name, times, (4, 0) if rows else (0, 4)), outputs={"i": 32, "j": 32})
    assert Layout.from_table(found.inputs, found.outputs, found.to_table()).core is not None
    whole = Layout.of(core)
    again = Layout.from_table(whole.inputs, whole.outputs, whole.to_table())
    assert again.is_linear
    assert again.linear == core


@given(st.permutations(range(12)))
def test_any_table_is_kept(order: list[int]) -> None:
    found = Layout.from_function({"a": 12}, {"i": 12}, lambda a: (order[a],))
    assert as_dict(found) == {(a,): (order[a],) for a in range(12)}
    assert found.is_injective
    inverse = found.invert()
    assert as_dict(inverse) == {(order[a],): (a,) for a in range(12)}
    assert as_dict(found.then(inverse.then(found))) == as_dict(found)


@settings(max_examples=50)
@given(LAYOUTS, st.data())
def test_composition_is_what_tables_give(first: Layout, data: st.DataObject) -> None:
    shape = [extent for _, extent in reversed(first.outputs)]
    seed = data.draw(st.integers(0, 2**16))
    values = torch.randint(0, 9, (*shape, 1), generator=torch.Generator().manual_seed(seed))
    second = Layout.from_table(tuple(reversed(first.outputs)), (("z", 9),), values)
    expected = {place: (int(values[value[1], value[0], 0]),) for place, value in as_dict(first).items()}
    assert as_dict(first.then(second)) == expected


@given(LAYOUTS)
def test_linear_is_said_exactly_of_what_is_linear(found: Layout) -> None:
    table = as_dict(found)
    powers = all(extent & extent - 1 == 0 for _, extent in found.inputs + found.outputs)
    pairs = itertools.product(table, table)
    additive = powers and all(table[a[0] ^ b[0], a[1] ^ b[1]] == (table[a][0] ^ table[b][0], table[a][1] ^ table[b][1]) for a, b in pairs)
    assume(powers)
    assert found.is_linear == additive
    if additive:
        assert as_dict(found) == enumerate_map(found.linear)


def test_what_occurs_is_recognised() -> None:
    padded = Layout.from_function({"row": 64, "column": 64}, {"offset": 72 * 64}, lambda row, column: (72 * row + column,))
    assert padded.core is not None
    assert padded.repeats  # 72 = 64 + 8: rows carry into each other, so they cannot all be bits
    uneven = Layout.from_function({"register": 2, "thread": 96}, {"i": 192}, lambda register, thread: (96 * register + thread,))
    assert uneven.core is not None
    assert uneven.is_injective
    odd = Layout.from_function({"register": 12}, {"i": 12}, lambda register: (register % 3 * 4 + register // 3,))
    assert odd.core is not None
    assert [repeat.extent for repeat in odd.repeats] == [3, 4]
    swizzled = Layout.from_function({"row": 8, "chunk": 8}, {"row": 8, "chunk": 8}, lambda row, chunk: (row, chunk ^ row))
    assert swizzled.is_linear
    shifted = Layout.from_function({"thread": 4}, {"i": 20}, lambda thread: (thread + 16,))
    assert shifted.origin == (16,)
    assert not shifted.is_linear


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: Layout((("a", 3),), (("i", 4),), core=LinearMap.of({"a": [{"i": 1}]}, {"i": 4})), "cover 2 of the 3"),
        (lambda: Layout((("a", 2),), (("i", 4),)), "either a linear core or a table"),
        (lambda: Layout.from_function({"a": 2}, {"i": 1}, lambda a: (a,)), "leaves the extent 1 of its output i"),
        (lambda: Layout.from_table((("a", 2),), (("i", 1),), torch.zeros(3, 1, dtype=torch.int64)), "does not fit"),
        (lambda: Layout.from_function({"a": 2}, {"i": 2}, lambda a: (0,)).invert(), "has no inverse"),
        (lambda: Layout.from_function({"a": 2}, {"i": 2}, lambda a: (a,))(a=2), "outside of its extent 2"),
        (lambda: Layout.from_function({"a": 2}, {"i": 2}, lambda a: (a,))(z=1), "there is no dim z"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(action: object, message: str) -> None:
    assert callable(action)
    with pytest.raises(LayoutError, match=message):
        action()
