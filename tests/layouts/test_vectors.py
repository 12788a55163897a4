"""Subspaces over F2, against all their elements counted out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.layouts import vectors

BITS = 5
LISTS = st.lists(st.integers(0, (1 << BITS) - 1), max_size=6)


def everything(generators: list[int]) -> set[int]:
    found = {0}
    for generator in generators:
        found |= {element ^ generator for element in found}
    return found


@given(LISTS)
def test_a_reduced_basis_has_the_same_span_and_is_one_for_each_span(generators: list[int]) -> None:
    basis = vectors.echelon(generators)
    assert everything(list(basis)) == everything(generators)
    assert len(everything(generators)) == 1 << len(basis)
    assert vectors.echelon(sorted(everything(generators), reverse=True)) == basis
    assert sorted(vectors.span(generators)) == sorted(everything(generators))


@given(LISTS, st.integers(0, (1 << BITS) - 1))
def test_reducing_gives_the_smallest_of_its_class(generators: list[int], vector: int) -> None:
    assert vectors.reduce(vector, vectors.echelon(generators)) == min(vector ^ element for element in everything(generators))
    assert vectors.contains(vectors.echelon(generators), [vector]) == (vector in everything(generators))


@given(LISTS, st.integers(0, (1 << BITS) - 1))
def test_the_solver_finds_a_sum_where_there_is_one(generators: list[int], vector: int) -> None:
    found = vectors.Solver(generators).solve(vector)
    assert (found is not None) == (vector in everything(generators))
    assert found is None or vectors.combine(generators, found) == vector


@given(LISTS)
def test_relations_are_all_selections_that_add_up_to_nothing(generators: list[int]) -> None:
    nothing = {selection for selection in range(1 << len(generators)) if vectors.combine(generators, selection) == 0}
    assert everything(list(vectors.relations(generators))) == nothing


@given(LISTS, LISTS)
def test_the_intersection_is_what_both_hold(first: list[int], second: list[int]) -> None:
    assert everything(list(vectors.intersection(first, second))) == everything(first) & everything(second)


@given(LISTS)
def test_a_complement_meets_the_span_in_nothing_and_completes_it(generators: list[int]) -> None:
    rest = vectors.complement(generators, BITS)
    assert everything(generators) & everything(list(rest)) == {0}
    assert len(everything([*generators, *rest])) == 1 << BITS


@given(LISTS, LISTS)
def test_a_common_complement_is_one_of_both(first: list[int], second: list[int]) -> None:
    left, right = vectors.echelon(first), vectors.echelon(second)
    if len(left) != len(right):
        with pytest.raises(ValueError, match="no common complement"):
            vectors.common_complement(first, second, BITS)
        return
    rest = vectors.common_complement(first, second, BITS)
    assert len(rest) == BITS - len(left)
    for generators in (first, second):
        assert everything(generators) & everything(list(rest)) == {0}
        assert len(everything([*generators, *rest])) == 1 << BITS
