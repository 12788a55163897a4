"""Linear maps: every operation against plain tables, and the laws that they obey."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.layouts import vectors
from mosaic.layouts.linear import Dims, LayoutError, LinearMap, pack, unpack
from tests.layouts.oracle import enumerate_map, invertible_maps, maps

PAIR: Dims = (("a", 2), ("b", 2))
OTHER: Dims = (("c", 3), ("d", 1))


@given(maps())
def test_a_map_is_what_its_columns_add_up_to(found: LinearMap) -> None:
    for place, image in enumerate_map(found).items():
        indices = dict(zip((name for name, _ in found.inputs), place, strict=True))
        assert tuple(found(**indices).values()) == image
        assert unpack(found.apply(pack(indices, found.inputs)), found.outputs) == found(**indices)


@given(maps(), st.data())
def test_a_map_is_linear(found: LinearMap, data: st.DataObject) -> None:
    numbers = st.integers(0, (1 << found.input_bits) - 1)
    x, y = data.draw(numbers), data.draw(numbers)
    assert found.apply(x ^ y) == found.apply(x) ^ found.apply(y)


@given(maps(outputs=PAIR), maps(inputs=(("b", 2), ("a", 2))))
def test_composition_goes_by_names(first: LinearMap, second: LinearMap) -> None:
    after = enumerate_map(second)
    assert enumerate_map(first.then(second)) == {place: after[image[1], image[0]] for place, image in enumerate_map(first).items()}


@given(maps(outputs=PAIR), maps(PAIR, OTHER), maps(inputs=OTHER))
def test_composition_is_associative_and_has_an_identity(first: LinearMap, second: LinearMap, third: LinearMap) -> None:
    assert first.then(second).then(third) == first.then(second.then(third))
    assert first.then(LinearMap.identity(PAIR)) == first
    assert LinearMap.identity(first.inputs).then(first) == first


@given(invertible_maps(PAIR, OTHER))
def test_an_inverse_undoes(found: LinearMap) -> None:
    back = enumerate_map(found.invert())
    assert back == {image: place for place, image in enumerate_map(found).items()}
    assert found.then(found.invert()) == LinearMap.identity(PAIR)
    assert found.invert().then(found) == LinearMap.identity(OTHER)


@given(maps())
def test_a_pseudo_inverse_finds_a_place_of_each_element(found: LinearMap) -> None:
    back = found.pseudo_invert()
    assert found.then(back).then(found) == found
    assert back.then(found).then(back) == back
    table, places = enumerate_map(found), enumerate_map(back)
    assert all(table[places[image]] == image for image in table.values())


@given(maps())
def test_kernel_image_and_rank_are_counted_right(found: LinearMap) -> None:
    images = [found.apply(place) for place in range(1 << found.input_bits)]
    assert set(vectors.span(found.image())) == set(images)
    assert set(vectors.span(found.kernel())) == {place for place, image in enumerate(images) if image == 0}
    assert found.rank + len(found.kernel()) == found.input_bits
    assert found.is_injective == (len(set(images)) == len(images))
    assert found.is_surjective == (len(set(images)) == 1 << found.output_bits)


@given(maps(PAIR))
def test_replication_is_the_threads_that_hold_the_same(found: LinearMap) -> None:
    same = {b for b in range(4) if all(found(a=a, b=b) == found(a=a, b=0) for a in range(4))}
    assert set(vectors.span(found.replication("b"))) == same


@given(maps(), maps())
def test_a_product_has_the_second_map_above_the_first(inner: LinearMap, outer: LinearMap) -> None:
    whole = inner.product(outer)
    low, high = dict(inner.inputs), dict(outer.inputs)
    for place in enumerate_map(whole):
        indices = dict(zip((name for name, _ in whole.inputs), place, strict=True))
        first = inner(**{name: indices[name] % (1 << bits) for name, bits in low.items()})
        second = outer(**{name: indices[name] >> low.get(name, 0) for name in high})
        below = dict(inner.outputs)
        assert whole(**indices) == {name: first.get(name, 0) + (second.get(name, 0) << below.get(name, 0)) for name, _ in whole.outputs}


@given(maps(), maps(), maps())
def test_products_are_associative_up_to_order_and_divide(first: LinearMap, second: LinearMap, third: LinearMap) -> None:
    left, right = first.product(second).product(third), first.product(second.product(third))
    assert left == right
    quotient = first.product(second).divide(first)
    assert quotient is not None
    assert first.product(quotient).order_like(first.product(second)) == first.product(second)


@given(maps(PAIR, OTHER), maps((("a", 1), ("b", 1)), (("c", 1), ("d", 1))))
def test_division_says_no_exactly_where_there_is_no_quotient(whole: LinearMap, inner: LinearMap) -> None:
    """All quotients there could be are tried: two input bits, two output bits."""
    every = (LinearMap((("a", 1), ("b", 1)), (("c", 2), ("d", 0)), columns) for columns in itertools.product(range(4), repeat=2))
    expected = [quotient for quotient in every if inner.product(quotient) == whole]
    found = whole.divide(inner)
    assert ([] if found is None else [found]) == expected


@given(maps(PAIR, OTHER), maps(PAIR, (("e", 2),)))
def test_a_stack_gives_both(first: LinearMap, second: LinearMap) -> None:
    left, right = enumerate_map(first), enumerate_map(second)
    assert enumerate_map(first.stack(second)) == {place: left[place] + right[place] for place in left}
    assert first.stack(second).project("c", "d") == first
    assert first.stack(second).project("e") == second


@given(maps((("register", 2), ("lane", 2)), (("c", 3),)), maps((("register", 2), ("lane", 2)), (("c", 3),)), st.booleans(), st.data())
def test_equality_up_to_registers_is_one_permutation_for_all_threads(
    first: LinearMap, second: LinearMap, related: bool, data: st.DataObject
) -> None:
    if related:  # two random maps are rarely equal, so half of the pairs are made so: registers mixed by an invertible map
        mix = data.draw(invertible_maps((("register", 2),), (("register", 2),)))
        mixed = tuple(vectors.combine(first.columns[:2], column) for column in mix.columns)
        second = LinearMap(first.inputs, first.outputs, mixed + first.columns[2:])
    a, b = enumerate_map(first), enumerate_map(second)
    expected = any(
        all(a[order[register], lane] == b[register, lane] for register in range(4) for lane in range(4))
        for order in itertools.permutations(range(4))
    )
    assert first.equal_up_to(second) == expected
    assert expected or not related


@given(maps(PAIR, OTHER), st.permutations([0, 1]))
def test_bits_of_an_input_are_permuted(found: LinearMap, order: list[int]) -> None:
    permuted = found.permute_input("b", order)
    for a, b in itertools.product(range(4), range(4)):
        mixed = sum((b >> bit & 1) << order[bit] for bit in range(2))
        assert permuted(a=a, b=b) == found(a=a, b=mixed)


def test_dims_are_seen_in_other_ways() -> None:
    found = LinearMap.of({"lane": [{"row": 1}, {"column": 2}], "register": [{"column": 1}]}, {"row": 2, "column": 4})
    assert found(lane=3, register=1) == {"row": 1, "column": 3}
    assert found.order_inputs("register", "lane")(lane=2) == {"row": 0, "column": 2}
    assert found.rename({"lane": "thread", "row": "m"})(thread=1) == {"m": 1, "column": 0}
    assert found.reshape(inputs=(("place", 3),))(place=0b101) == {"row": 1, "column": 1}
    assert LinearMap.strided("a", "b", 4, first=1)(a=3) == {"b": 6}
    assert found.restrict("register")(register=1) == {"row": 0, "column": 1}


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: LinearMap.of({"a": [{"b": 4}]}, {"b": 4}), "lies outside of its extent 4"),
        (lambda: LinearMap.of({"a": []}, {"b": 3}), "the extent 3 of b is no power of two"),
        (lambda: LinearMap((("a", 1),), (("b", 1),), ()), "needs 1 columns, not 0"),
        (lambda: LinearMap((("a", 1),), (("b", 1),), (2,)), "outside of its outputs"),
        (lambda: LinearMap((("a", 0), ("a", 0)), (), ()), "different names"),
        (lambda: LinearMap.identity(PAIR).then(LinearMap.identity(OTHER)), "do not compose"),
        (lambda: LinearMap.identity(PAIR).stack(LinearMap.identity(OTHER)), "do not stack"),
        (lambda: LinearMap(PAIR, PAIR, (1, 2, 4, 4)).invert(), "has no inverse"),
        (lambda: LinearMap.identity(PAIR)(a=4), "index 4 of a"),
        (lambda: LinearMap.identity(PAIR)(z=0), "there is no dim z"),
        (lambda: LinearMap.identity(PAIR).project("z"), "there is no dim z"),
        (lambda: LinearMap.identity(PAIR).permute_input("a", [0, 0]), "no order of the 2 bits"),
        (lambda: LinearMap.identity(PAIR).order_inputs("a"), "are not the inputs"),
        (lambda: LinearMap.identity(PAIR).order_outputs("a"), "are not the outputs"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(action: object, message: str) -> None:
    assert callable(action)
    with pytest.raises(LayoutError, match=message.replace("[", r"\[")):
        action()
