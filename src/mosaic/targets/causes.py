"""Why emitted code is not what was intended: the usual causes, the more telling by what is there instead.

Each is a thing to look at in the program, found by lowering programs with and without it (NVIDIA: TileLang 0.1.15 and nvcc 13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Cause:
    """A likely cause of a mismatch: `symptom` as `intent` names it. `beside`: families that are there then, any of them (a trailing *
    stands for any ending); `without`: families that are not. `targets`: those for which it can be, all if none is named."""

    symptom: str
    text: str
    beside: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()


_MATRIX: Final = ("HMMA", "IMMA", "QMMA", "DMMA", "HGMMA", "QGMMA", "IGMMA", "UTCHMMA", "UTCQMMA", "UTCIMMA", "mfma*", "smfmac*", "wmma*")
_VECTOR: Final = ("FFMA", "HFMA2", "DFMA", "fma")

CAUSES: Final = (
    Cause(
        "missing wgmma",
        "a block has fewer than 64 rows of the product a warpgroup, or its warps are no multiple of 4",
        ("HMMA", "QMMA", "IMMA"),
    ),
    Cause(
        "missing wgmma",
        "an operand is read from registers, or lies in shared memory in a layout that descriptors cannot name",
        ("HMMA", "QMMA"),
    ),
    Cause("missing wgmma", "operands of 32 or 8 bits whose inner axis is not the one summed over", ("HMMA", "QMMA", "IMMA")),
    Cause("missing wgmma", "it was compiled for sm_90, and only sm_90a has these instructions", targets=("sm_90",)),
    Cause(
        "missing tcgen05",
        "the accumulator is a fragment: only one in tensor memory is multiplied into by these units",
        ("HMMA", "QMMA", "IMMA"),
    ),
    Cause("missing tcgen05", "it was compiled for sm_100, and only sm_100a has these instructions", targets=("sm_100",)),
    *(
        Cause(
            f"missing {name}",
            "the product runs on the vector units: the matrix units have no format for its dtype, "
            "or its tile is no multiple of their shape",
            _VECTOR,
            _MATRIX,
        )
        for name in ("mma", "wgmma", "tcgen05", "mfma", "matrix")
    ),
    *(
        Cause(
            f"missing {name}",
            "nothing of the product is there: the compiler removed it as its result is not used",
            without=(*_MATRIX, *_VECTOR),
        )
        for name in ("mma", "wgmma", "tcgen05", "mfma", "matrix")
    ),
    Cause("missing mma", "the product runs on warpgroups", ("HGMMA", "QGMMA", "IGMMA")),
    Cause("missing mfma", "the shape of the instruction is another one of this dtype", ("mfma*",)),
    Cause("missing tma", "a row's stride in device memory is no multiple of 16 bytes, or the tile's inner extent is none", ("LDGSTS",)),
    Cause("missing tma", "the elements are changed or guarded one by one on their way to shared memory", ("LDG",)),
    Cause("missing tma", "its lowering is off (tl.disable_tma_lower), or the loop is not specialized by warps", ("LDGSTS", "LDG")),
    Cause("missing cp.async", "the loop has fewer than two stages, so nothing is fetched ahead", ("LDG",)),
    Cause(
        "missing cp.async",
        "elements are converted or computed on their way to shared memory, so that they pass through registers",
        ("STS",),
    ),
    Cause("missing cp.async", "neighbouring elements are less than 4 bytes together, or not aligned to them", ("LDG",)),
    Cause("missing cp.async", "bulk copies do it instead", ("UTMALDG", "UBLKCP")),
    Cause(
        "missing async-copy",
        "the rows of a tensor are no multiple of 16 bytes: bulk copies cannot, and the compiler uses registers instead",
        ("UTMALDG", "LDG"),
    ),
    Cause("missing async-copy", "the loop has fewer than two stages, or elements pass through registers on their way", ("LDG", "load")),
    Cause(
        "missing load-lds",
        "the compiler moves the tile through registers: the target lacks direct loads of this width",
        ("load", "ds_write"),
    ),
    Cause("missing ldmatrix", "the tile's layout in shared memory has no rows of 16 contiguous bytes", ("LDS",)),
    Cause("missing ldmatrix", "the elements have 32 bits and the tile is read across its rows", ("LDS",)),
    Cause("missing ldmatrix", "operands come straight from device memory, without shared memory", ("LDG",), ("LDS", "STS")),
    Cause("missing ldmatrix", "the matrix units read shared memory themselves", ("HGMMA", "QGMMA", "IGMMA", "UTCHMMA")),
    Cause("missing stmatrix", "the result leaves straight from registers", ("STG",)),
    Cause(
        "forbidden local-memory",
        "more accumulators and fragments are alive at once than registers: use smaller tiles, or more threads for the same",
    ),
    Cause("forbidden local-memory", "an array in registers is indexed by what is known at run time only: unroll the loop around it"),
    Cause("forbidden local-memory", "__launch_bounds__ or setmaxnreg leaves a thread fewer registers than it needs", ("USETMAXREG",)),
    Cause(
        "forbidden register-moves",
        "operands or results change between the two kinds of registers: accumulators are used by vector code in the loop",
    ),
    Cause("limit registers", "the tile has too many accumulators a thread: smaller tiles, or more threads for the same"),
    Cause("limit registers", "the loop is unrolled so far that loads of several rounds are alive at once"),
    Cause(
        "limit spill_bytes", "more values are alive at once than registers: smaller tiles, more threads, or fewer stages kept in registers"
    ),
    Cause("limit spill_bytes", "the registers of a thread are capped by __launch_bounds__, maxnreg or setmaxnreg"),
    Cause("limit stack_bytes", "an array in registers is indexed by what is known at run time only: unroll the loop around it"),
    Cause("limit stack_bytes", "a function was not inlined, and its arguments go over the stack"),
    Cause("limit shared_bytes", "the pipeline keeps too many stages of its tiles, or tiles that are never alive together share no space"),
)


def likely_causes(symptom: str, families: Mapping[str, int], target: str) -> tuple[str, ...]:
    """The causes of a mismatch that fit what is there and the target, in the order above."""
    return tuple(
        cause.text
        for cause in CAUSES
        if cause.symptom == symptom
        and (not cause.targets or target in cause.targets)
        and (not cause.beside or _any(cause.beside, families))
        and not _any(cause.without, families)
    )


def _any(patterns: tuple[str, ...], families: Mapping[str, int]) -> bool:
    return any(family.startswith(p[:-1]) if p.endswith("*") else family == p for p in patterns for family in families)
