"""Orders of a product's contraction with which an operand need not leave its registers.

A product may run over k in any order that both operands are in. Of all orders those are looked at that permute k's bits, and of these the
one with which lanes and warps of the target move elements as those of the source do: there is at most one that matters, as the rest of
the bits lie in registers on both sides. (`conversion.find_contraction` tries all of them, also for orders that help but do not suffice.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mosaic.layouts.conversion import classify, permute_contraction
from mosaic.layouts.layout import Layout

_MOST_BITS: Final = 8


def free_order(source: Layout, target: Layout, axis: int) -> tuple[int, ...] | None:
    """The order of the lowest bits of dim `axis` with which no element of `target` (a fragment of a product) must leave its thread.

    Where a lane moves an element by one bit of the index in the target and by another one in the source, that bit becomes the other; all
    other bits stay in order. None if that is no permutation, or not enough, or changes nothing.
    """
    extent = source.outputs[axis][1]
    bits = min((extent & -extent).bit_length() - 1, _MOST_BITS)
    mine, theirs = (_steps(layout, axis) for layout in (source, target))
    if len(mine) != len(theirs):
        return None
    becomes: dict[int, int] = {}
    for ours, other in zip(mine, theirs, strict=True):
        if ours == other == 0:
            continue
        if any(step == 0 or step & (step - 1) or step >= 1 << bits for step in (ours, other)):
            return None
        if becomes.setdefault(other.bit_length() - 1, ours.bit_length() - 1) != ours.bit_length() - 1:
            return None
    left = [bit for bit in range(bits) if bit not in becomes.values()]
    order = tuple(becomes[bit] if bit in becomes else left.pop(0) for bit in range(bits) if bit in becomes or left)
    if sorted(order) != list(range(bits)):
        return None
    while order and order[-1] == len(order) - 1:
        order = order[:-1]
    return order if order and classify(source, permuted(target, axis, order)).kind in ("identity", "permute") else None


def permuted(layout: Layout, axis: int, order: Sequence[int]) -> Layout:
    """The layout of the tensor's elements, where `layout` is that of the product's operand: its index k is the tensor's p(k)."""
    if layout.is_linear:
        name, bits = layout.linear.outputs[axis]
        return Layout.of(permute_contraction(layout.linear, (*order, *range(len(order), bits)), name))
    table = layout.to_table().clone()
    table[..., axis] = moved(table[..., axis], order)
    return Layout.from_table(layout.inputs, layout.outputs, table)


def moved(index: Any, order: Sequence[int]) -> Any:
    """p(k) of a number, a tensor or an expression: bit i becomes bit order[i]; runs of bits are moved together, higher ones stay."""
    total = index // (1 << len(order)) * (1 << len(order))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and order[end] == order[end - 1] + 1:
            end += 1
        total = total + index // (1 << start) % (1 << end - start) * (1 << order[start])
        start = end
    return total


def _steps(layout: Layout, axis: int) -> list[int]:
    """By how much each bit of lane and warp changes an index, by exclusive or, from place 0."""
    if layout.is_linear:
        name, bits = layout.linear.outputs[axis]
        low = sum(size for _, size in layout.linear.outputs[:axis])
        inputs = {other for other, _ in layout.linear.inputs}
        columns = [column for each in ("lane", "warp") if each in inputs for column in layout.linear.images(each)]
        return [column >> low & (1 << bits) - 1 for column in columns]
    table = layout.to_table()[..., axis]
    names = [name for name, _ in layout.inputs]
    found = []
    for name in ("lane", "warp"):
        extent = dict(layout.inputs).get(name, 1)
        for bit in range((extent - 1).bit_length()):
            place = tuple(1 << bit if other == name else 0 for other in names)
            found.append(int(table[place]) ^ int(table[(0,) * len(names)]))
    return found
