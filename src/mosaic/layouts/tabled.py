"""Conversions by tables: of any two layouts, holes and all, by way of shared memory, from the numbers of the elements alone.

What `emit` writes is better wherever it takes both layouts. This is for the rest: fragments that fill only some of a block's threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mosaic.layouts.bridge import EMPTY
from mosaic.layouts.conversion import Kind
from mosaic.layouts.linear import LayoutError

_NOWHERE = 0xFFFFFFFF


@dataclass(frozen=True)
class Tabled:
    """A conversion as text, and the bytes of shared memory that it needs; `registers`: (permute) which one each of the target's is."""

    kind: Kind
    text: str
    shared_bytes: int
    registers: tuple[int, ...] = ()


def same_places(source: torch.Tensor, target: torch.Tensor) -> bool:
    """Whether every register of the target's holds what the source's of that number does; both int64 [registers, threads]."""
    return len(source) >= len(target) and bool(((target == EMPTY) | (target == source[: len(target)])).all())


def renaming(source: torch.Tensor, target: torch.Tensor) -> tuple[int, ...] | None:
    """For each register of the target's, the source's that holds the same in all threads; None if there is none for one of them."""
    found = []
    for wanted in target:
        fits = ((wanted == EMPTY) | (wanted == source)).all(dim=1)
        if not bool(fits.any()):
            return None
        found.append(int(fits.int().argmax()))
    return tuple(found)


def tabled(source: torch.Tensor, target: torch.Tensor, *, name: str, element_bytes: int) -> Tabled:
    """A device function `name(source, target[, stage])` of register arrays, from `bridge.places` of both.

    Raises LayoutError if the target needs an element that the source does not hold.
    """
    if not bool(torch.isin(target[target != EMPTY], source).all()):
        raise LayoutError("the target layout needs an element of the tile that the source layout does not hold")
    registers = renaming(source, target)
    head = f"template <class Source, class Target>\n__device__ __forceinline__ void {name}(const Source* source, Target* target"
    if registers is not None:
        moves = "".join(f"  target[{to}] = Target(source[{register}]);\n" for to, register in enumerate(registers))
        kind: Kind = "identity" if same_places(source, target) else "permute"
        return Tabled(kind, f"{head}) {{\n{moves}}}\n", 0, registers)
    text = (
        f"{_table(f'{name}_write', _first_holders(source))}{_table(f'{name}_read', target)}{head}, void* stage) {{\n"
        "  Target* memory = static_cast<Target*>(stage);\n"
        "  const unsigned thread = threadIdx.x;\n"
        "  __syncthreads();\n#pragma unroll\n"
        f"  for (int r = 0; r < {len(source)}; ++r)\n"
        f"    if ({name}_write[r][thread] != {_NOWHERE}u) memory[{name}_write[r][thread]] = Target(source[r]);\n"
        "  __syncthreads();\n#pragma unroll\n"
        f"  for (int r = 0; r < {len(target)}; ++r)\n"
        f"    if ({name}_read[r][thread] != {_NOWHERE}u) target[r] = memory[{name}_read[r][thread]];\n"
        "  __syncthreads();\n}\n"
    )
    return Tabled("shared", text, (int(source.max()) + 1) * element_bytes)


def _first_holders(source: torch.Tensor) -> torch.Tensor:
    """The source with every element at one place only, so that it is written once."""
    flat = source.reshape(-1)
    order = torch.argsort(flat, stable=True)
    new = torch.ones_like(flat, dtype=torch.bool)
    new[order[1:]] = flat[order[1:]] != flat[order[:-1]]
    return torch.where(new, flat, torch.full_like(flat, EMPTY)).reshape(source.shape)


def _table(name: str, values: torch.Tensor) -> str:
    rows = ["{" + ", ".join(f"{_NOWHERE if value == EMPTY else value}u" for value in row) + "}" for row in values.tolist()]
    return f"__device__ const unsigned {name}[{values.shape[0]}][{values.shape[1]}] = {{{', '.join(rows)}}};\n"
