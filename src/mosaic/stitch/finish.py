"""A stitched program with what its recipe says of the whole: stages swizzled, warps that only load or none, registers held down."""

from __future__ import annotations

from typing import Any, Final

import tilelang  # noqa: F401  (puts its own tvm on the path)
from tvm import tirx

from mosaic.stitch.recipe import Recipe
from mosaic.stitch.swizzle import swizzled
from mosaic.tiles.anatomy import assemble, dissect, sequence
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read

NO_SPECIALIZATION: Final = "tl.disable_warp_specialized"
PASS_CONFIGS: Final = "tilelang_pass_configs"
"""The attribute in which a PrimFunc says how TileLang is to lower it."""
MIN_BLOCKS: Final = "tl.min_blocks_per_sm"


def finished(program: TileProgram, recipe: Recipe) -> TileProgram:
    """The program as its recipe has it; itself if that changes nothing."""
    func = program.func
    if recipe.swizzled:
        func = swizzled(func)
    if not recipe.specialized:
        func = unspecialized(func)
    if recipe.resident:
        func = with_residents(func, recipe.resident)
    return program if func is program.func else read(func)


def unspecialized(func: Any) -> Any:
    """The kernel without warps that only load: all of a block's warps compute, and load ahead (`cp.async`) as they go."""
    asked = dict((func.attrs or {}).get(PASS_CONFIGS, {}))
    return func.with_attr(PASS_CONFIGS, {**asked, NO_SPECIALIZATION: True})


def with_residents(func: Any, blocks: int) -> Any:
    """The kernel with no more registers a thread than lets a processor hold so many of its blocks (CUDA: `__launch_bounds__`)."""
    anatomy = dissect(func)
    body = tirx.AttrStmt(tirx.IntImm("int32", 0), MIN_BLOCKS, tirx.IntImm("int32", blocks), sequence(anatomy.body))
    params = [(p, func.buffer_map[p]) for p in func.params]
    return assemble(anatomy, params=params, body=[body], allocations=anatomy.allocations, annotations=dict(anatomy.block.annotations))
