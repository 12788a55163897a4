"""Shared-memory swizzles: the exclusive-or modes of the hardware, and the best one for a pair of accesses.

The modes of 32, 64 and 128 bytes are those of NVIDIA's TMA and wgmma (PTX ISA, "Swizzling modes"): the numbers of the 16-byte chunks of
a row of so many bytes are exclusive-ored with bits of the address above, so that eight rows' chunks of one column lie in different banks.

The best swizzle for a write and a read follows Lin, Zhou et al. (arXiv 2505.23819), who keep common vectors of both together and find
rows of banks that neither access spans; here, unlike there, the two accesses may have different widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mosaic.layouts import vectors
from mosaic.layouts.banks import WIDEST, WORD, AccessCost, Banks, Direction, access_cost
from mosaic.layouts.linear import LayoutError, LinearMap, bits_of

MODES: Final = (0, 32, 64, 128)
_CHUNK_BITS: Final = 4
_FIRST_SOURCE_BIT: Final = 7
_WRITE: Final[Direction] = "write"
_READ: Final[Direction] = "read"


def alignment(mode: int) -> int:
    """The bytes that the base address of a buffer swizzled so must be a multiple of: the pattern repeats there. 128 without a swizzle."""
    _check(mode)
    return {0: 128, 32: 256, 64: 512, 128: 1024}[mode]


def xor_swizzle(mode: int, element_bytes: int, bits: int) -> LinearMap:
    """`offset` to `offset`, of 2**bits elements: where the element that would lie at an offset lies in this mode. Its own inverse.

    Raises LayoutError if there is no such mode, or the buffer is shorter than the pattern.
    """
    _check(mode)
    size = bits_of(element_bytes, "the bytes of an element")
    chunks = bits_of(max(mode >> _CHUNK_BITS, 1), "the chunks of a row")
    if mode and bits + size < _FIRST_SOURCE_BIT + chunks:
        raise LayoutError(
            f"a buffer of {1 << bits + size} bytes is shorter than the {alignment(mode)} bytes of the swizzle of {mode} bytes"
        )
    columns = [1 << bit for bit in range(bits)]
    for chunk in range(chunks):
        columns[_FIRST_SOURCE_BIT + chunk - size] ^= 1 << _CHUNK_BITS + chunk - size
    return LinearMap((("offset", bits),), (("offset", bits),), tuple(columns))


def swizzled_column(mode: int, element_bytes: int, row: Any, column: Any) -> Any:
    """Where a row keeps the element of a column in a stage of this mode, other than 0: numbers, tensors, or TIR expressions.

    Unlike the hardware's modes it goes by the row's number whatever the row's length: eight rows' pieces of a column lie in different
    banks in rows of 256 or 768 bytes too. In rows as wide as the mode it is the hardware's.
    """
    chunk, chunks, rows_a_line = (1 << _CHUNK_BITS) // element_bytes, mode >> _CHUNK_BITS, 128 // mode
    turned = (column // chunk % chunks) ^ (row // rows_a_line % chunks)
    return column // (chunk * chunks) * (chunk * chunks) + turned * chunk + column % chunk


def row_swizzle(mode: int, element_bytes: int, column_bits: int, bits: int) -> LinearMap:
    """`swizzled_column` of a row-major tile of 2**bits elements, 2**column_bits a row, as a map from `offset` to `offset`.

    Raises LayoutError if there is no such mode, or a row is shorter than it.
    """
    _check(mode)
    size = bits_of(element_bytes, "the bytes of an element")
    if (1 << column_bits + size) < mode:
        raise LayoutError(f"rows of {1 << column_bits + size} bytes are shorter than a swizzle of {mode}")
    columns = [1 << bit for bit in range(bits)]
    chunks = bits_of(max(mode >> _CHUNK_BITS, 1), "the chunks of a row")
    first = column_bits + _FIRST_SOURCE_BIT - _CHUNK_BITS - chunks
    for chunk in range(chunks):
        if first + chunk < bits:
            columns[first + chunk] ^= 1 << _CHUNK_BITS + chunk - size
    return LinearMap((("offset", bits),), (("offset", bits),), tuple(columns))


def widest(row_bytes: int) -> int:
    """The widest mode that divides rows of that length: 128, 64, 32, or 0."""
    return max(mode for mode in MODES if mode == 0 or row_bytes % mode == 0)


def _check(mode: int) -> None:
    if mode not in MODES:
        raise LayoutError(f"there is no swizzle of {mode} bytes: modes are {', '.join(map(str, MODES))}")


@dataclass(frozen=True)
class Staging:
    """A tile's way through shared memory.

    memory: `offset` (in elements) to the tile's elements, one to one. write, read: what each access costs a warp.
    """

    memory: LinearMap
    write: AccessCost
    read: AccessCost

    @property
    def instructions(self) -> int:
        return self.write.instructions + self.read.instructions

    @property
    def wavefronts(self) -> int:
        return self.write.wavefronts + self.read.wavefronts


def staging_cost(memory: LinearMap, source: LinearMap, target: LinearMap, element_bytes: int, banks: Banks) -> Staging:
    """What it costs to write a tile laid out as `source` into `memory` and read it laid out as `target`, both (register, lane, ...)."""
    back = memory.invert()
    write = access_cost(source.then(back), element_bytes, banks, "write")
    return Staging(memory, write, access_cost(target.then(back), element_bytes, banks, "read"))


def optimal_swizzle(source: LinearMap, target: LinearMap, element_bytes: int, banks: Banks) -> Staging:
    """The memory layout with the fewest instructions, and then the fewest wavefronts, for writing `source` and reading `target`.

    Both are (register, lane[, warp]) to the elements of a tile of powers of two; the source must hold all of them. Vectors that both
    can access come first, then what makes one of the two wider still, up to 16 bytes. The rows of banks are a subspace that neither
    access's phase meets, which exists if each phase spans no more than a row: then there is no conflict at all.
    """
    if dict(source.outputs) != dict(target.outputs):
        raise LayoutError(f"layouts of different tiles, {source.outputs} and {target.outputs}, do not share a buffer")
    if not source.is_surjective:
        raise LayoutError("the source layout does not hold all elements of the tile that is staged")
    target = target.order_outputs(*(name for name, _ in source.outputs))
    shared = vectors.intersection(source.images("register"), target.images("register"))
    most = max(WIDEST // element_bytes, 1).bit_length() - 1
    common = shared[:most]
    found = []
    for wider in (source, target):
        run = (*common, *vectors.extend(common, wider.images("register"))[: most - len(common)])
        found.append(
            staging_cost(_memory(run, common, wider is source, source, target, element_bytes, banks), source, target, element_bytes, banks)
        )
    return min(found, key=lambda staging: (staging.instructions, staging.wavefronts))


def _memory(
    run: tuple[int, ...],
    common: tuple[int, ...],
    write_is_wider: bool,
    source: LinearMap,
    target: LinearMap,
    element_bytes: int,
    banks: Banks,
) -> LinearMap:
    """Offsets from the lowest bit: `run`, the rest of a row of banks, then the rows."""
    bits = source.output_bits
    row = min(bits_of(max(banks.row // element_bytes, 1), "the elements of a row"), bits)
    # What a phase of each access touches must lie in different banks, or in one word.
    word = run[: bits_of(max(WORD // element_bytes, 1), "the elements of a word")]
    spans = []
    for layout, direction, wide in ((source, _WRITE, write_is_wider), (target, _READ, not write_is_wider)):
        vector = run if wide else common
        lanes = layout.images("lane")
        served = vectors.intersection(banks.phase(element_bytes << len(vector), direction), (1 << bit for bit in range(len(lanes))))
        spans.append(vectors.echelon([*word, *vector, *(vectors.combine(lanes, lane) for lane in served)]))
    # Both made as large as a row, by what the other has and then by anything: a common complement needs equal dimensions.
    full = [_fill([*own, *run, *other], row, bits) for own, other in (spans, spans[::-1])]
    rows = vectors.common_complement(full[0], full[1], bits)
    low = vectors.extend(rows, [*run, *spans[0], *spans[1], *(1 << bit for bit in range(bits))])
    columns = (*low, *rows)
    return LinearMap((("offset", bits),), source.outputs, columns)


def _fill(candidates: list[int], size: int, bits: int) -> tuple[int, ...]:
    """A basis of a subspace of `size` dimensions out of these vectors, the first ones first, and then of any."""
    return vectors.extend((), [*candidates, *(1 << bit for bit in range(bits))])[:size]
