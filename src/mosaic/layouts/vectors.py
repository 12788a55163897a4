"""Vectors and subspaces over F2, a vector being the bits of a whole number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def combine(vectors: Sequence[int], selection: int) -> int:
    """The sum (exclusive or) of the vectors whose bit is set in `selection`."""
    total = 0
    for position, vector in enumerate(vectors):
        if selection >> position & 1:
            total ^= vector
    return total


def echelon(vectors: Iterable[int]) -> tuple[int, ...]:
    """The reduced basis of their span, smallest first: equal spans have equal ones."""
    basis: list[int] = []
    for vector in vectors:
        rest = reduce(vector, basis)
        if rest:
            top = 1 << rest.bit_length() - 1
            basis = [*(other ^ rest if other & top else other for other in basis), rest]
    return tuple(sorted(basis))


def reduce(vector: int, basis: Iterable[int]) -> int:
    """What is left of a vector modulo the span of a reduced basis: 0 if it lies in the span, else the smallest of its class."""
    for other in basis:
        if vector >> other.bit_length() - 1 & 1:
            vector ^= other
    return vector


def contains(basis: Iterable[int], vectors: Iterable[int]) -> bool:
    """Whether the span of a reduced basis holds all of these vectors."""
    basis = tuple(basis)
    return all(reduce(vector, basis) == 0 for vector in vectors)


def span(vectors: Iterable[int]) -> Iterator[int]:
    """Every vector of the span, once."""
    basis = echelon(vectors)
    for selection in range(1 << len(basis)):
        yield combine(basis, selection)


class Solver:
    """Which of the given vectors add up to another one; vectors that depend on earlier ones are not used."""

    def __init__(self, vectors: Sequence[int]) -> None:
        self._rows: list[tuple[int, int]] = []
        self.relations: list[int] = []
        for position, vector in enumerate(vectors):
            rest, used = self._reduce(vector, 1 << position)
            if rest:
                self._rows.append((rest, used))
            else:
                self.relations.append(used)

    def _reduce(self, vector: int, used: int) -> tuple[int, int]:
        for row, combination in self._rows:
            if vector >> row.bit_length() - 1 & 1:
                vector ^= row
                used ^= combination
        return vector, used

    def solve(self, vector: int) -> int | None:
        """A selection s with `combine(vectors, s) == vector`, or None if the vector is outside of their span."""
        rest, used = self._reduce(vector, 0)
        return None if rest else used


def relations(vectors: Sequence[int]) -> tuple[int, ...]:
    """A basis of the selections that add up to 0: the kernel of the map with these columns."""
    return tuple(Solver(vectors).relations)


def intersection(first: Iterable[int], second: Iterable[int]) -> tuple[int, ...]:
    """The reduced basis of what two spans share."""
    left, right = echelon(first), echelon(second)
    return echelon(combine(left, relation & (1 << len(left)) - 1) for relation in relations([*left, *right]))


def extend(inner: Sequence[int], candidates: Iterable[int]) -> tuple[int, ...]:
    """Those candidates, in order, that are independent of `inner` and of the ones taken before."""
    basis, taken = echelon(inner), []
    for vector in candidates:
        if reduce(vector, basis):
            taken.append(vector)
            basis = echelon([*basis, vector])
    return tuple(taken)


def complement(vectors: Sequence[int], bits: int) -> tuple[int, ...]:
    """Unit vectors that, with the span, make up the whole space of that many bits."""
    return extend(vectors, (1 << bit for bit in range(bits)))


def common_complement(first: Sequence[int], second: Sequence[int], bits: int) -> tuple[int, ...]:
    """A basis of a subspace that is a complement of both spans at once. Over any field there is one if they have the same dimension.

    With I what they share, first = I + <a_i> and second = I + <b_i>: the sums a_i + b_i lie in neither, and with a complement of
    first + second they make up what both lack. Raises ValueError if the dimensions differ.
    """
    left, right = echelon(first), echelon(second)
    if len(left) != len(right):
        raise ValueError(f"spans of {len(left)} and {len(right)} dimensions have no common complement")
    shared = intersection(left, right)
    ours, theirs = extend(shared, left), extend(shared, right)
    return tuple(a ^ b for a, b in zip(ours, theirs, strict=True)) + complement([*left, *right], bits)
