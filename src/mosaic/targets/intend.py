"""What a program's code should hold on a target, told from its tiles: the matrix units for its products, asynchronous copies, no spills.

It is what the hardware is made for, not what today's compiler makes of it: the difference is what `compare` shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mosaic.targets.intent import Intent, Requirement
from mosaic.targets.target import Target
from mosaic.tiles.program import Access, OnChip, TileOp, TileProgram, element_bytes

_WARPGROUP: Final = 128
_WARPGROUP_ROWS: Final = 64  # PTX ISA, wgmma: m64nNk16 and its relatives
_BULK: Final = 16  # bytes; PTX ISA: strides and addresses of bulk tensor copies are multiples of it
_SHORT: Final = ("float16", "bfloat16")


def intend(program: TileProgram, target: Target) -> Intent:
    """The intent for a program on a GPU; for the CPU, of whose code nothing is read, an empty one."""
    if target.kind == "cpu":
        return Intent(target.name)
    require = dict.fromkeys((*_products(program, target), *_copies(program, target)))
    # More threads than asked for may be launched: with warp specialization another warpgroup.
    limits = {"registers": target.registers_per_thread, "spill_bytes": 0, "shared_bytes": target.shared_per_block}
    return Intent(target.name, tuple(require), ("local-memory",), limits)


def _products(program: TileProgram, target: Target) -> Iterator[Requirement]:
    for op in program.ops:
        if not op.op.startswith("gemm"):
            continue
        operands = [buffer for name in op.reads if (buffer := _buffer(program, name)) is not None and name not in op.writes]
        dtypes = {buffer.dtype for buffer in operands}
        result = next((buffer for name in op.writes if (buffer := _buffer(program, name)) is not None), None)
        if len(dtypes) != 1 or result is None:
            continue
        (dtype,) = dtypes
        why = f"the product in {dtype} into {result.name!r}"
        if target.kind == "hip":
            yield Requirement(("mfma",), why)
        elif families := _nvidia(program, target, dtype, op, result, operands):
            yield Requirement(families, why)
            if families == ("mma",) and dtype in _SHORT and all(_is_shared(operand) for operand in operands):
                yield Requirement(("ldmatrix",), f"the operands of {result.name!r}")


def _nvidia(
    program: TileProgram, target: Target, dtype: str, op: TileOp, result: OnChip, operands: list[OnChip]
) -> tuple[str, ...]:  # fmt: skip
    """Groups of which one should multiply; none where the matrix units have no such format."""
    generation = int(target.arch.removeprefix("sm_").rstrip("af"))
    if dtype not in target.matrix_rates:
        return ()
    if generation >= 100 and dtype != "float64":
        return ("tcgen05",)
    # The second operand comes from shared memory always; the first may be registers. Others than 16 bits want it by columns.
    rows, wide = result.shape[0] if result.shape else 0, program.thread_count // _WARPGROUP
    fits = wide >= 1 and program.thread_count % _WARPGROUP == 0 and rows % _WARPGROUP_ROWS == 0
    if generation >= 90 and dtype != "float64" and fits and operands and _is_shared(operands[-1]):
        return ("wgmma",) if dtype in _SHORT else ("wgmma", "mma")
    return ("mma",)


def _copies(program: TileProgram, target: Target) -> Iterator[Requirement]:
    """Tiles fetched ahead into shared memory by pipelined loops."""
    if target.kind != "cuda":
        return  # where direct loads to shared memory pay, AMD's compiler decides
    bulk: dict[str, Access] = {}
    other: dict[str, Access] = {}
    into = _fetched(program)
    for access in program.accesses:
        if access.mode != "read" or access.op != "copy" or access.tensor not in into or access.guards:
            continue
        if not any(loop.kind == "pipelined" and loop.stages >= 2 for loop in access.loops):
            continue
        dtype = program.param(access.tensor).dtype
        row, stride = access.extent[-1] * element_bytes(dtype) if access.extent else 0, _row_bytes(program, access)
        if stride is None:
            continue
        if target.specializes_warps and stride % _BULK == 0 and row % _BULK == 0:
            bulk[access.tensor] = access
        elif row % 4 == 0 and stride % 4 == 0:
            other[access.tensor] = access
    # A place in the code for each tensor: else one that is fetched well would hide another that is not.
    if bulk:
        yield Requirement(("tma",), f"tiles of {_listed(bulk)}", len(bulk))
    if other:
        group, count = ("async-copy", len(bulk) + len(other)) if target.specializes_warps else ("cp.async", len(other))
        yield Requirement((group,), f"tiles of {_listed({**bulk, **other})}", count)


def _fetched(program: TileProgram) -> set[str]:
    """Tensors in device memory that some copy brings straight to shared memory."""
    params = {param.name for param in program.params}
    return {
        name
        for op in program.ops
        if op.op == "copy" and all((buffer := _buffer(program, to)) is not None and _is_shared(buffer) for to in op.writes)
        for name in op.reads
        if name in params
    }


def _row_bytes(program: TileProgram, access: Access) -> int | None:
    """Bytes between the rows of a tensor; None where that is known at run time only."""
    param = program.param(access.tensor)
    inner = param.shape[-1] if param.shape else None
    return inner * element_bytes(param.dtype) if isinstance(inner, int) else None


def _buffer(program: TileProgram, name: str) -> OnChip | None:
    return next((buffer for buffer in program.buffers if buffer.name == name), None)


def _is_shared(buffer: OnChip) -> bool:
    return buffer.scope.startswith("shared") and "tmem" not in buffer.scope


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))
