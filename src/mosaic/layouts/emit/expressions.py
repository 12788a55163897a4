"""What differs from thread to thread, as expressions of C over `thread`, the number of a thread."""

from __future__ import annotations

from mosaic.layouts.emit.steps import PerThread


def linear_columns(values: PerThread) -> tuple[int, ...] | None:
    """The images of the bits of a thread's number if values are value(0) and what their bits add by exclusive or; else None."""
    bits = (len(values) - 1).bit_length()
    columns = tuple(values[1 << bit] ^ values[0] for bit in range(bits))
    for thread, value in enumerate(values):
        total = values[0]
        for bit in range(bits):
            if thread >> bit & 1:
                total ^= columns[bit]
        if total != value:
            return None
    return columns


def of_warp(values: PerThread, warp_size: int) -> PerThread:
    """The values of one warp, if all warps have the same; else all of them."""
    first = values[:warp_size]
    return first if all(values[at : at + warp_size] == first for at in range(0, len(values), warp_size)) else values


def linear_text(values: PerThread, columns: tuple[int, ...]) -> str:
    """Exclusive or of a constant and runs of bits of `thread`, each moved by one distance."""
    moved: dict[int, int] = {}
    for bit, column in enumerate(columns):
        for to in range(column.bit_length()):
            if column >> to & 1:
                moved[to - bit] = moved.get(to - bit, 0) | 1 << bit
    terms = []
    for distance, mask in sorted(moved.items()):
        masked = f"(thread & {number(mask)})"
        terms.append(masked if distance == 0 else f"({masked} << {distance})" if distance > 0 else f"({masked} >> {-distance})")
    if values[0] or not terms:
        terms.append(number(values[0]))
    return " ^ ".join(terms)


def number(value: int) -> str:
    return f"{value:#x}u" if value > 9 else f"{value}u"


def parity(values: PerThread) -> tuple[int, int] | None:
    """(mask, constant) if values are the constant plus the parity of the bits of `thread` under the mask."""
    columns = linear_columns(values)
    if columns is None:
        return None
    return sum(column << bit for bit, column in enumerate(columns)), values[0]


def bit_mask(values: PerThread) -> int:
    """A number whose bit t is values[t]."""
    return sum(value << thread for thread, value in enumerate(values))
