"""The code of a conversion: a device function that turns one layout of a tile in registers into another, and one dtype into another.

The smallest class that does it (`conversion.classify`) decides how. The cast stands on the side where less is moved: before, if it makes
elements narrower, else after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mosaic.layouts.conversion import Kind, classify
from mosaic.layouts.cost import cost
from mosaic.layouts.emit.blocks import find_blocks
from mosaic.layouts.emit.counts import counts
from mosaic.layouts.emit.dialect import Dialect, dialect, element_bytes, type_name
from mosaic.layouts.emit.memory import plan_memory
from mosaic.layouts.emit.places import Places
from mosaic.layouts.emit.registers import Builder
from mosaic.layouts.emit.shared import convert_shared
from mosaic.layouts.emit.shuffle import convert_shuffle
from mosaic.layouts.emit.steps import Copy, Program, Step, UnpackWord
from mosaic.layouts.emit.table import convert_table
from mosaic.layouts.emit.text import WHOLE_BLOCK, Callers, print_function
from mosaic.layouts.layout import Layout
from mosaic.layouts.linear import LayoutError, LinearMap


@dataclass(frozen=True)
class DeviceFunction:
    """A conversion as text: `__device__ void name(const SOURCE* source, TARGET* target[, void* stage])`, arrays of a thread's registers.

    All `threads` of it (whole warps) must call it together. kind: how elements really move. With `shared_bytes` > 0 it has the argument
    `stage`, shared memory aligned to `shared_alignment` bytes; a barrier must come before the stage's next use.
    instructions: how many each warp executes, by the names of `mosaic.layouts.cost`, casts left out; chain: those of the longest chain in
    which one waits for the other.
    """

    name: str
    text: str
    kind: Kind
    shared_bytes: int
    shared_alignment: int
    threads: int
    program: Program
    instructions: Mapping[str, int]
    chain: Mapping[str, int]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.program.steps


def emit(
    source: Layout | LinearMap,
    target: Layout | LinearMap,
    *,
    source_dtype: str,
    target_dtype: str,
    arch: str,
    name: str,
    shared_limit: int = 48 << 10,
    reused: bool = True,
    callers: Callers = WHOLE_BLOCK,
    kind: Kind | Literal["cheapest"] | None = None,
) -> DeviceFunction:
    """The conversion from `source` to `target`, both (register, lane, warp) to the elements of one tile, for sm_NN or gfx942, gfx950.

    shared_limit: most bytes of stage; a larger tile goes through it in rounds. reused: whether a barrier must come before the stage is
    written. callers: the threads that call it, if not the whole block. kind: a class to use although a smaller one would do (such as
    shared for shuffle), or "cheapest": shared memory instead of shuffles where `mosaic.layouts.cost` says so.
    Raises LayoutError if the layouts are of different tiles, the target needs what the source does not hold, or a dtype can't be moved.
    """
    how = dialect(arch)
    found = classify(source, target)
    mine, theirs = Places.of(source, how.warp_size), Places.of(target, how.warp_size)
    if callers.barrier is not None and how.hip:
        raise LayoutError("HIP has no named barriers: a conversion there is called by the whole block")
    sizes = element_bytes(source_dtype), element_bytes(target_dtype)

    def made(used: Kind) -> DeviceFunction:
        builder = Builder(
            mine.threads, how.warp_size, min(sizes), casts_first=sizes[1] <= sizes[0], whole_words=moves_words(source_dtype, target_dtype)
        )
        shared = alignment = 0
        if used == "shared":
            shared, alignment = _through_shared(builder, mine, theirs, how, shared_limit, reused)
        elif used != "shuffle" and found.uniform:
            _rename(builder, mine, theirs, sizes[0])
        else:
            _within_warp(builder, mine, theirs, how)
        program = builder.program(shared)
        text = print_function(program, how, name, source_dtype, target_dtype, callers)
        return DeviceFunction(name, text, used, shared, alignment, mine.threads, program, *counts(program))

    if kind != "cheapest":
        return made(found.kind if kind is None else _stronger(found.kind, kind))
    kinds: list[Kind] = [found.kind] if found.is_free or found.kind == "shared" else [found.kind, "shared"]
    return min((made(each) for each in kinds), key=lambda function: cost(function, arch).cycles)


def moves_words(source_dtype: str, target_dtype: str) -> bool:
    """Whether source registers are packed without a cast: it comes after, or there is none."""
    return element_bytes(target_dtype) > element_bytes(source_dtype) or type_name(source_dtype) == type_name(target_dtype)


def _stronger(least: Kind, wanted: Kind) -> Kind:
    order: tuple[Kind, ...] = ("identity", "permute", "shuffle", "shared")
    if order.index(wanted) < order.index(least):
        raise LayoutError(f"a conversion of the class {least} can't be emitted as {wanted}")
    return wanted


def _rename(builder: Builder, source: Places, target: Places, source_bytes: int) -> None:
    """Every target register is one source register, the same in all threads. Words are rounded, or put together of bytes, at once."""
    found = []
    for register, row in enumerate(target.elements):
        needed = [(thread, element) for thread, element in enumerate(row) if element is not None]
        same = register < source.registers and all(source.elements[register][thread] == element for thread, element in needed)
        others = (at for at, held in enumerate(source.elements) if all(held[thread] == element for thread, element in needed))
        found.append(register if same else next(others))
    by_words = builder.casts_first and (source_bytes > builder.element_bytes or builder.whole_words)
    for first in range(0, len(found), builder.slots):
        group = found[first : first + builder.slots]
        if by_words and len(group) == builder.slots > 1:
            builder.steps.append(UnpackWord(first, builder.pack(tuple(group))))
        else:
            builder.steps += [Copy(first + at, register) for at, register in enumerate(group)]


def _within_warp(builder: Builder, source: Places, target: Places, how: Dialect) -> None:
    """Block by block if they are linear, else by tables."""
    steps: list[Step] = []
    words = builder.words
    for block in find_blocks(source, target) or ():
        trial = builder.fresh()
        trial.adopt([], words)
        if not convert_shuffle(trial, block.source, block.target, how):
            steps = []
            break
        steps += block.place(trial.steps, builder.slots)
        words = trial.words
    if steps:
        builder.adopt(steps, words)
    else:
        convert_table(builder, source, target)


def _through_shared(builder: Builder, source: Places, target: Places, how: Dialect, limit: int, reused: bool) -> tuple[int, int]:
    memory = plan_memory(source, target, builder.element_bytes, how.banks, limit)
    return convert_shared(builder, source, target, memory, limit, reused=reused), memory.alignment
