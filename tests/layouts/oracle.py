"""What tests of layouts compare with: a map as a plain dict of indices, and random linear maps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from hypothesis import strategies as st

from mosaic.layouts.linear import Dims, LinearMap

Table = dict[tuple[int, ...], tuple[int, ...]]


def places(extents: Mapping[str, int]) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(extent) for extent in extents.values())))


def enumerate_map(found: LinearMap) -> Table:
    """Every index and its image, each bit's column added up by hand."""
    table: Table = {}
    for place in places({name: 1 << bits for name, bits in found.inputs}):
        total, position = 0, 0
        for index, (_, bits) in zip(place, found.inputs, strict=True):
            for bit in range(bits):
                total ^= found.columns[position + bit] * (index >> bit & 1)
            position += bits
        image = []
        for _, bits in found.outputs:
            image.append(total % (1 << bits))
            total >>= bits
        table[place] = tuple(image)
    return table


@st.composite
def dims(draw: st.DrawFn, names: str, bits: int) -> Dims:
    """Up to len(names) dims, of at most that many bits together."""
    found = []
    for name in names[: draw(st.integers(1, len(names)))]:
        size = draw(st.integers(0, bits))
        bits -= size
        found.append((name, size))
    return tuple(found)


@st.composite
def maps(draw: st.DrawFn, inputs: Dims | None = None, outputs: Dims | None = None) -> LinearMap:
    """Any linear map of at most 5 bits on each side."""
    source = draw(dims("rlw", 5)) if inputs is None else inputs
    target = draw(dims("ijk", 5)) if outputs is None else outputs
    count, width = sum(bits for _, bits in source), sum(bits for _, bits in target)
    return LinearMap(source, target, tuple(draw(st.lists(st.integers(0, (1 << width) - 1), min_size=count, max_size=count))))


@st.composite
def invertible_maps(draw: st.DrawFn, inputs: Dims, outputs: Dims) -> LinearMap:
    """Any invertible map: unit vectors, permuted and then added to each other."""
    count = sum(bits for _, bits in inputs)
    columns = draw(st.permutations([1 << bit for bit in range(count)]))
    for target, source in draw(st.lists(st.tuples(st.integers(0, max(count - 1, 0)), st.integers(0, max(count - 1, 0))), max_size=12)):
        if target != source:
            columns[target] ^= columns[source]
    return LinearMap(inputs, outputs, tuple(columns))
