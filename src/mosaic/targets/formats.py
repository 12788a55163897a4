"""Number formats that a target does not have, though TileLang would compile them to something else.

Found by reading what TileLang 0.1.15 emits: on sm_80 a product of 8-bit floats becomes a program without matrix
instructions; on gfx942 float8_e4m3fn is taken for the format of that GPU, which has another exponent bias (fnuz), so that
every number would be wrong.
"""

from __future__ import annotations

from typing import Any

from mosaic.errors import ReadError
from mosaic.targets.target import Target
from mosaic.tiles.read import read


def missing_format(func: Any, target: Target) -> str | None:
    """Which number format of a PrimFunc `target` lacks, as a sentence; None if it has all, or the PrimFunc can't be read."""
    if target.name not in ("sm_80", "gfx942"):
        return None
    try:
        program = read(func)
    except ReadError:
        return None
    dtypes = {b.name: b.dtype for b in program.buffers} | {p.name: p.dtype for p in program.params}
    if target.name == "gfx942" and "float8_e4m3fn" in dtypes.values():
        return f"kernel {program.name!r} uses float8_e4m3fn, which gfx942 does not have (its 8-bit float is another, fnuz); choose gfx950"
    products = [dtypes.get(name, "") for op in program.ops if op.op.startswith("gemm") for name in op.reads]
    if target.name == "sm_80" and any(dtype.startswith("float8") for dtype in products):
        return f"kernel {program.name!r} multiplies 8-bit floats, which sm_80 cannot; choose sm_90a, or float16"
    return None
