"""Shared-memory accesses: how wide they are, and how many of them the banks make wait.

An access is a map (register, lane[, warp]) to `offset`, in elements. It is issued as instructions of some width; the hardware serves the
lanes of one instruction in phases, and in one phase each bank delivers one word of 4 bytes. Lanes that want the same word share it;
different words of one bank wait for each other. A conflict-free phase takes one cycle.

Sources of the phases. NVIDIA: 32 lanes at up to 4 bytes, half-warps at 8, quarter-warps at 16 (GTC talk S62192 and NVIDIA's developer
forum; the CUDA programming guide gives only the rule for 4 bytes). AMD: up to 4 bytes 32 lanes at once, 8 bytes 16, writes of 16 bytes 8
lanes in order (ROCm's Composable Kernel documentation, "Understanding AMD GPU LDS and Bank Conflicts"); reads of 16 bytes on gfx942 in
groups 0-3 with 20-23, 4-7 with 16-19 and so on, and on gfx950, whose 64 banks serve 16 lanes, 0-3, 12-15, 20-23, 24-27 and so on
(the same, and triton pull request 11365). gfx950's other accesses are taken to fill its 64 banks with twice as many lanes in order:
that is an assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from mosaic.layouts import vectors
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError, LinearMap, bits_of

WORD: Final = 4
WIDEST: Final = 16
Direction = Literal["read", "write"]


@dataclass(frozen=True)
class Banks:
    """Banks of shared memory: `count` of 4 bytes, a warp of `lanes`.

    swizzled_reads: the lanes of the first phase of a read of 16 bytes, as a basis over F2 (the other phases are its cosets); None: in
    order, as all other accesses are.
    """

    name: str
    count: int
    lanes: int
    swizzled_reads: tuple[int, ...] | None = None

    @property
    def row(self) -> int:
        """Bytes that lie in different banks."""
        return self.count * WORD

    def phase(self, width: int, direction: Direction) -> tuple[int, ...]:
        """The lanes that access of `width` bytes serves first together, as a basis over F2; the other phases are its cosets.

        Raises LayoutError unless the width is 1, 2, 4, 8 or 16.
        """
        if width not in (1, 2, 4, 8, 16):
            raise LayoutError(f"no instruction accesses {width} bytes of shared memory: widths are 1, 2, 4, 8 and 16")
        if width == WIDEST and direction == "read" and self.swizzled_reads is not None:
            return self.swizzled_reads
        together = min(self.row // max(width, WORD), self.lanes)
        return tuple(1 << bit for bit in range(bits_of(together, "lanes of a phase")))

    def phases(self, width: int, direction: Direction) -> tuple[tuple[int, ...], ...]:
        """All phases of an access, each the lanes that are served together."""
        return _phases(self, width, direction)


@cache
def _phases(banks: Banks, width: int, direction: Direction) -> tuple[tuple[int, ...], ...]:
    basis = banks.phase(width, direction)
    first = sorted(vectors.span(basis))
    starts = sorted({vectors.reduce(lane, vectors.echelon(basis)) for lane in range(banks.lanes)})
    return tuple(tuple(sorted(start ^ lane for lane in first)) for start in starts)


NVIDIA: Final = Banks("NVIDIA", 32, 32)
GFX942: Final = Banks("gfx942", 32, 64, (1, 2, 0b10100))
GFX950: Final = Banks("gfx950", 64, 64, (1, 2, 0b01100, 0b10100))


@dataclass(frozen=True)
class AccessCost:
    """Of all registers of one warp: width in bytes, instructions issued, cycles that they take, and how many cycles too many that is.

    wavefronts: cycles of the banks, one for each phase at the least; conflicts: wavefronts beyond that.
    """

    width: int
    instructions: int
    wavefronts: int
    conflicts: int


def vector_width(access: LinearMap, element_bytes: int, *, most: int = WIDEST) -> int:
    """The widest access in bytes, a power of two up to `most`, that each thread can make if it may number its registers as it likes.

    2**n elements are one access if n dims of a thread's registers span the offsets 0 .. 2**n - 1; as the map is linear, every thread's
    groups are then aligned. At least one element, also if that is wider than `most`.
    """
    registers = vectors.echelon(_offsets(access, "register"))
    elements = 1
    while elements * 2 * element_bytes <= most and vectors.contains(registers, [elements]):
        elements *= 2
    return elements * element_bytes


def access_cost(access: LinearMap, element_bytes: int, banks: Banks, direction: Direction, *, width: int | None = None) -> AccessCost:
    """What a linear access costs one warp, each register's element accessed once; `width` in bytes, the widest possible without it.

    All warps, instructions and phases of a linear access cost the same, as their addresses differ by a fixed exclusive or. Base addresses
    must be aligned to a row of banks, or to the swizzle (`swizzle.alignment`). Raises LayoutError for a width that is not possible.
    """
    widest = vector_width(access, element_bytes)
    width = widest if width is None else width
    if width > widest or width % element_bytes:
        raise LayoutError(f"a thread's elements lie together in runs of {widest} bytes, so it can't access {width} bytes at once")
    lanes = access.bits("lane")
    if 1 << lanes > banks.lanes:
        raise LayoutError(f"an access by {1 << lanes} lanes does not fit a warp of {banks.lanes}")
    size = bits_of(element_bytes, "the bytes of an element")
    # A phase touches all bytes of its vectors: the lanes' offsets, and those within a vector.
    phase = vectors.intersection(banks.phase(width, direction), (1 << bit for bit in range(lanes)))
    within = [1 << bit for bit in range(bits_of(width, "the width"))]
    touched = [*within, *(vectors.combine(_offsets(access, "lane"), lane) << size for lane in phase)]
    words = vectors.echelon(address // WORD for address in touched)
    reached = vectors.echelon(word % banks.count for word in words)
    each = 1 << len(words) - len(reached)
    # An instruction may touch one word twice, in two registers: a register that adds nothing is still written.
    distinct = 1 << len(vectors.echelon(_offsets(access, "register")))
    instructions = max(1, distinct * element_bytes // width)
    phases = 1 << lanes - len(phase)
    return AccessCost(width, instructions, instructions * phases * each, instructions * phases * (each - 1))


def access_cost_of(access: Layout, element_bytes: int, banks: Banks, direction: Direction, *, width: int | None = None) -> AccessCost:
    """`access_cost` of any layout, by looking at every address; registers are grouped into accesses as they are numbered.

    Raises LayoutError if some group of registers is no aligned run of `width` bytes, or the access has more lanes than a warp.
    """
    width = element_bytes if width is None else width
    if [name for name, _ in access.inputs] != ["register", "lane"] or len(access.outputs) != 1:
        raise LayoutError("an access of one warp has the inputs register and lane, and one output, its offset")
    registers, lanes = (extent for _, extent in access.inputs)
    each = width // element_bytes
    offsets = access.to_table()[..., 0]
    if lanes > banks.lanes or each < 1 or registers % each:
        raise LayoutError(f"{registers} registers of {lanes} lanes are not accessed in vectors of {width} bytes")
    wavefronts = least = 0
    for first in range(0, registers, each):
        group = offsets[first : first + each]
        if bool((group[0] % each).any()) or any(bool((group[step] != group[0] + step).any()) for step in range(each)):
            raise LayoutError(f"registers {first} to {first + each - 1} are no aligned run of {width} bytes in every thread")
        addresses = [int(offset) * element_bytes for offset in group[0]]
        for phase in banks.phases(width, direction):
            served = [lane for lane in phase if lane < lanes]
            if served:
                wavefronts += _wavefronts([addresses[lane] for lane in served], width, banks)
                least += 1
    return AccessCost(width, registers // each, wavefronts, wavefronts - least)


def _wavefronts(addresses: list[int], width: int, banks: Banks) -> int:
    """The most different words that one bank must deliver."""
    words = {word for address in addresses for word in range(address // WORD, (address + width - 1) // WORD + 1)}
    counts = [0] * banks.count
    for word in words:
        counts[word % banks.count] += 1
    return max(counts)


def _offsets(access: LinearMap, name: str) -> tuple[int, ...]:
    if [output for output, _ in access.outputs] != ["offset"]:
        raise LayoutError("an access to shared memory has one output, its offset")
    return access.images(name)
