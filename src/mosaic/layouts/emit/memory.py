"""Where the elements of a tile lie in a stage of shared memory between two register layouts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from mosaic.layouts import vectors
from mosaic.layouts.banks import WIDEST, WORD, Banks
from mosaic.layouts.emit.blocks import Block, find_blocks
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.repeated import Repeats, find_repeats
from mosaic.layouts.linear import LayoutError, LinearMap, bits_of
from mosaic.layouts.swizzle import Staging, optimal_swizzle, staging_cost

Run = tuple[int, ...]
"""Registers of a thread whose elements lie beside each other in the stage, in any order."""


@dataclass(frozen=True)
class Memory:
    """`offset[element]` in elements (elements that nobody holds have none), of `size` together; the alignment that the base needs.

    write, read: the registers that are accessed together, in groups of one size each.
    """

    offset: dict[int, int]
    size: int
    alignment: int
    write: tuple[Run, ...]
    read: tuple[Run, ...]


def plan_memory(source: Places, target: Places, element_bytes: int, banks: Banks, limit: int) -> Memory:
    """The swizzle with the widest vectors and no conflicts if both are linear; else blocks, or rows with whatever padding costs least.

    limit: the bytes that the stage may have; a larger memory will be used a part at a time.
    """
    blocks = find_blocks(source, target)
    if blocks is not None:
        return _beside(blocks, element_bytes, banks, limit)
    found = [_grouped(source, target, offset, size, element_bytes, banks) for offset, size in _padded(source, target, element_bytes, banks)]
    repeats = find_repeats(source, target, lambda mine, theirs: _swizzled(mine, theirs, element_bytes, banks, limit)[0])
    found += [] if repeats is None else [_repeated(repeats, source, target, element_bytes, banks)]
    return min(found, key=lambda memory: (_cost(memory, source, target, element_bytes, banks), memory.size))


def _beside(blocks: list[Block], element_bytes: int, banks: Banks, limit: int) -> Memory:
    """Each block swizzled for itself, one after the other."""
    offset: dict[int, int] = {}
    write: list[Run] = []
    read: list[Run] = []
    size = 0
    for block in blocks:
        placed, elements = _swizzled(block.source, block.target, element_bytes, banks, limit)
        offset |= {block.elements[element]: size + place for element, place in placed.items()}
        for layout, registers, runs in ((block.source, block.source_registers, write), (block.target, block.target_registers, read)):
            found = group_registers(Places.of(layout, banks.lanes).elements, placed, element_bytes)
            runs += [tuple(registers[register] for register in run) for run in found]
        size += max(elements, WIDEST // element_bytes)
    return Memory(offset, size, banks.row if size * element_bytes > banks.row else WIDEST, tuple(write), tuple(read))


def _repeated(repeats: Repeats, source: Places, target: Places, element_bytes: int, banks: Banks) -> Memory:
    runs: list[tuple[Run, ...]] = []
    for places, groups in ((source, repeats.source), (target, repeats.target)):
        own: list[Run] = []
        for registers in groups:
            found = group_registers([places.elements[register] for register in registers], repeats.offset, element_bytes)
            own += [tuple(registers[register] for register in run) for run in found]
        runs.append(tuple(own))
    return Memory(repeats.offset, repeats.size, banks.row, *runs)


def _swizzled(source: LinearMap, target: LinearMap, element_bytes: int, banks: Banks, limit: int) -> tuple[dict[int, int], int]:
    # Elements that the source does not hold are left out: what it holds is a space of its own, with coordinates.
    basis = source.image()
    solver = vectors.Solver(basis)

    def seen(found: LinearMap) -> LinearMap:
        columns = [solver.solve(column) for column in found.columns]
        if None in columns:
            raise LayoutError("the target layout needs an element of the tile that the source layout does not hold")
        return LinearMap(found.inputs, (("element", len(basis)),), tuple(column or 0 for column in columns))

    best = optimal_swizzle(seen(source), seen(target), element_bytes, banks)
    memory = straightened(best, seen(source), seen(target), element_bytes, banks)
    elements = 1 << len(basis)
    if elements * element_bytes > limit:
        run, row = (bits_of(most // element_bytes, "elements") for most in (max(best.write.width, best.read.width), banks.row))
        bits = bits_of(elements, "elements") - max(limit // element_bytes, 1).bit_length() + 1
        memory = split_by_registers(memory, seen(source), seen(target), run, row, bits)
    # The images of the offset's bits, each by its basis; every offset adds one to that without its lowest bit.
    columns = [vectors.combine(basis, column) for column in memory.columns]
    found = [0] * elements
    for offset in range(1, elements):
        found[offset] = found[offset & offset - 1] ^ columns[(offset & -offset).bit_length() - 1]
    return {element: offset for offset, element in enumerate(found)}, elements


def straightened(best: Staging, source: LinearMap, target: LinearMap, element_bytes: int, banks: Banks) -> LinearMap:
    """The same memory, but for the order within vectors: where possible, it is the same in all threads, so that none must select.

    Offsets' lowest bits (which element of a vector) are added functions of the higher ones (which vector), so that lanes and warps on
    both sides leave them at 0. Kept as it was where that would cost more instructions or conflicts.
    """
    widths = [(cost.width // element_bytes).bit_length() - 1 for cost in (best.write, best.read)]
    most = max(widths)
    back = best.memory.invert()
    columns = list(best.memory.columns)
    for low in range(most):
        rows = []
        for layout, bits in zip((source, target), widths, strict=True):
            moved = [back.apply(image) for image in layout.images("lane", "warp")] if low < bits else []
            # The number of the vector, and below it the bit that it should cancel.
            rows += [place >> most << 1 | place >> low & 1 for place in moved]
        reduced = vectors.echelon(rows)
        if 1 not in reduced:
            for row in reduced:
                if row & 1:
                    columns[most + row.bit_length() - 2] ^= columns[low]
    memory = LinearMap(best.memory.inputs, best.memory.outputs, tuple(columns))
    found = staging_cost(memory, source, target, element_bytes, banks)
    better = (found.instructions, found.wavefronts) <= (best.instructions, best.wavefronts)
    return memory if better else best.memory


def split_by_registers(memory: LinearMap, source: LinearMap, target: LinearMap, run: int, row: int, bits: int) -> LinearMap:
    """The same banks, but up to `bits` top bits of an offset, which say in which round an element goes through a stage that is too small
    for all, depend on registers alone where that is possible, or on registers and warps: then no lane waits while others go.

    run, row: how many lowest bits of an offset lie in a vector and in a row of banks. Any function of an offset's bits may be added to a
    bit above those of a row, and those may be reordered, without a change to the banks.
    """
    columns = list(memory.columns)
    # Least constrained last: whole warps may wait, as a branch that all their lanes skip costs little; lanes may not.
    choices = [(ours, theirs) for theirs in (("lane", "warp"), ("lane",)) for ours in (("lane", "warp"), ("lane",))]
    for top in reversed(range(max(row, len(columns) - bits), len(columns))):
        back = LinearMap(memory.inputs, memory.outputs, tuple(columns)).invert()
        taken = [1 << bit for bit in (*range(run), *range(top + 1, len(columns)))]
        for ours, theirs in choices:
            still = [back.apply(image) for image in (*source.images(*ours), *target.images(*theirs))]
            found = _sum_of_bits([*still, *taken], len(columns), row)
            if found is not None:
                break
        else:
            break
        replaced = max(found)
        for bit in found:
            if bit != replaced:
                columns[bit] ^= columns[replaced]
        columns[replaced], columns[top] = columns[top], columns[replaced]
    return LinearMap(memory.inputs, memory.outputs, tuple(columns))


def _sum_of_bits(zero: list[int], bits: int, row: int) -> list[int] | None:
    """Bits whose sum is 0 for all of these vectors, one of them from `row` on; None if there are none."""
    rows = vectors.echelon(zero)
    pivots = [vector.bit_length() - 1 for vector in rows]
    free = (bit for bit in range(bits) if bit not in pivots)
    sums = ([bit, *(pivot for pivot, vector in zip(pivots, rows, strict=True) if vector >> bit & 1)] for bit in free)
    return next((chosen for chosen in sums if max(chosen) >= row), None)


def _padded(source: Places, target: Places, element_bytes: int, banks: Banks) -> list[tuple[dict[int, int], int]]:
    """Elements in the order in which one of the two layouts' vectors have them, in rows of one row of banks, padded by some words."""
    held = sorted({element for row in source.elements for element in row if element is not None})
    row = max(banks.row // element_bytes, 1)
    least = max(WORD // element_bytes, 1)
    found = []
    paddings = (0, least, 2 * least, 4 * least, 8 * least)
    for layout, padding in itertools.product((source, target), paddings):
        wanted = set(held)
        order: list[int] = []
        for thread in range(layout.threads):
            for register in range(layout.registers):
                element = layout.elements[register][thread]
                if element in wanted:
                    wanted.discard(element)
                    order.append(element)
        order += sorted(wanted)
        offset = {element: place + place // row * padding for place, element in enumerate(order)}
        found.append((offset, 1 + max(offset.values())))
    row_major = {element: place for place, element in enumerate(held)}
    # Rows of banks, and the tile's own rows.
    for length, padding in itertools.product((row, source.extents[-1]), paddings):
        offset = {element: place + place // length * padding for element, place in row_major.items()}
        found.append((offset, 1 + max(offset.values())))
    return found


def _grouped(source: Places, target: Places, offset: dict[int, int], size: int, element_bytes: int, banks: Banks) -> Memory:
    write = group_registers(source.elements, offset, element_bytes)
    read = group_registers(target.elements, offset, element_bytes)
    return Memory(offset, size, banks.row if size * element_bytes > banks.row else WIDEST, write, read)


def group_registers(elements: Sequence[Sequence[int | None]], offset: dict[int, int], element_bytes: int) -> tuple[Run, ...]:
    """The registers of each access, as many together as lie in one aligned run of up to 16 bytes in every thread.

    Registers that repeat another one's element in all threads are left out.
    """
    first: dict[tuple[int | None, ...], int] = {}
    for register, row in enumerate(elements):
        first.setdefault(tuple(row), register)
    registers = sorted(first.values(), key=lambda register: next(offset[e] for e in elements[register] if e is not None))
    places = {register: [None if element is None else offset[element] for element in elements[register]] for register in registers}
    count = WIDEST // element_bytes
    while count > 1:
        groups = [tuple(registers[at : at + count]) for at in range(0, len(registers), count)]
        if all(len(group) == count and _is_run([places[register] for register in group], count) for group in groups):
            return tuple(groups)
        count //= 2
    return tuple((register,) for register in sorted(registers))


def _is_run(places: list[list[int | None]], count: int) -> bool:
    """Whether in every thread these are all offsets of one aligned run."""
    for found in zip(*places, strict=True):
        known = [place for place in found if place is not None]
        if known and (len(known) != count or {place // count for place in known} != {known[0] // count} or len(set(known)) != count):
            return False
    return True


def _cost(memory: Memory, source: Places, target: Places, element_bytes: int, banks: Banks) -> tuple[int, int]:
    """Instructions and cycles of the banks of all warps, both accesses together; and the cycles alone, which decide between equals."""
    instructions = cycles = 0
    for layout, runs, direction in ((source, memory.write, "write"), (target, memory.read, "read")):
        width = len(runs[0]) * element_bytes
        for run, warp in itertools.product(runs, range(layout.warps)):
            addresses: list[int | None] = []
            for thread in range(warp * layout.warp_size, (warp + 1) * layout.warp_size):
                element = layout.elements[run[0]][thread]
                addresses.append(None if element is None else memory.offset[element] // len(run) * width)
            instructions += 1
            cycles += wavefronts(addresses, width, banks, "write" if direction == "write" else "read")
    return instructions + cycles, cycles


def wavefronts(addresses: Sequence[int | None], width: int, banks: Banks, direction: str) -> int:
    """Cycles of the banks for one access of a warp at these byte addresses; lanes with None take no part."""
    total = 0
    for phase in banks.phases(width, "write" if direction == "write" else "read"):
        served = [address for lane in phase if lane < len(addresses) and (address := addresses[lane]) is not None]
        if served:
            words = {word for address in served for word in range(address // WORD, (address + width - 1) // WORD + 1)}
            counts = [0] * banks.count
            for word in words:
                counts[word % banks.count] += 1
            total += max(counts)
    return total
