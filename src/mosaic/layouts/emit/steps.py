"""The steps of a conversion, before they are text: what every thread of a block does, in order.

Between the source's registers and the target's, elements move in words of 32 bits, each of which holds one, two or four of them in its
slots, lowest bits first. Words are numbered; each is written once, except that a guarded `Load` leaves it alone in threads whose
guard is 0. What differs from thread to thread is a `PerThread`: one number for each thread of the block, warp by warp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PerThread = tuple[int, ...]
Word = int
Part = tuple[Word, int]
"""A slot of a word."""

WORD_BYTES: Final = 4


@dataclass(frozen=True)
class Copy:
    """target[register] = source[from_register], cast."""

    register: int
    from_register: int


@dataclass(frozen=True)
class Pack:
    """word = source's registers, one for each slot, cast if it is the source's side that casts; None: the slot is not used."""

    word: Word
    registers: tuple[int | None, ...]


@dataclass(frozen=True)
class Unpack:
    """target[register] = a slot of a word, cast if it is the target's side that casts."""

    register: int
    part: Part


@dataclass(frozen=True)
class UnpackWord:
    """All of a word's slots to the target's registers from `register` on, which hold the type that words hold."""

    register: int
    word: Word


@dataclass(frozen=True)
class Permute:
    """word = four of the eight bytes of `low` (0 to 3) and `high` (4 to 7): the selector's nibbles name them, lowest first."""

    word: Word
    low: Word
    high: Word
    selector: PerThread


@dataclass(frozen=True)
class Select:
    """word = `yes` where the condition is 1, `no` where it is 0."""

    word: Word
    condition: PerThread
    yes: Word
    no: Word


@dataclass(frozen=True)
class Shuffle:
    """word = `value` of another lane of the same warp: `lanes` says which."""

    word: Word
    value: Word
    lanes: PerThread


@dataclass(frozen=True)
class Exchange:
    """AMD's v_permlane32_swap (bit 5) and v_permlane16_swap (bit 4): lanes where the bit is set give up `values[0]` for `values[1]` of
    their partner, the lane without the bit: words = (both first halves, both second halves)."""

    words: tuple[Word, Word]
    values: tuple[Word, Word]
    bit: int


@dataclass(frozen=True)
class Transpose:
    """NVIDIA's movmatrix: a word of each lane is an 8x8 matrix of 16 bits, row lane // 4, columns 2·(lane % 4) and the next; transposed."""

    word: Word
    value: Word


@dataclass(frozen=True)
class Store:
    """Stage at `address` (bytes, of each thread) = `words`, or of one word `width` < 4 bytes from `byte` on; only where the guard is 1."""

    words: tuple[Word, ...]
    width: int
    address: PerThread
    byte: int = 0
    guard: PerThread | None = None


@dataclass(frozen=True)
class Load:
    """`words` = stage at `address`; of width < 4 bytes it fills one word's lowest bytes. Elsewhere than where the guard is 1 words stay."""

    words: tuple[Word, ...]
    width: int
    address: PerThread
    guard: PerThread | None = None


@dataclass(frozen=True)
class Barrier:
    """All threads of the conversion wait for each other, and see what was stored before."""


Step = Copy | Pack | Unpack | UnpackWord | Permute | Select | Shuffle | Exchange | Transpose | Store | Load | Barrier


@dataclass(frozen=True)
class Program:
    """A whole conversion. `slots`: elements in a word; `casts_first`: the source's side casts, so that words hold the target's type.

    `shared_bytes` of stage are used. `threads` is that of the source's layout, in whole warps of `warp_size`.
    """

    steps: tuple[Step, ...]
    threads: int
    warp_size: int
    slots: int
    casts_first: bool
    shared_bytes: int = 0

    @property
    def element_bytes(self) -> int:
        """Of an element on its way."""
        return WORD_BYTES // self.slots
