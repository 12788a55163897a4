"""The kernels that ship: ordinary TileLang functions, one file a family, none of which knows of fusion.

Importing a family's module registers its kernels; `load` imports them all. A family's module may
have a table `UNSUPPORTED`: kernel name → target name → why it must not be lowered for that target.

The families' files do not import `annotations` from `__future__`: TileLang evaluates a kernel's
annotations, and as strings they would not find sizes that its body does not use.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

FAMILIES: Final = (
    "activation",
    "attention",
    "conv",
    "copy",
    "elementwise",
    "embedding",
    "gemm",
    "norm",
    "quantize",
    "reduce",
    "rope",
    "softmax",
)
"""Names of the family modules, in this package."""


def load() -> None:
    """Register every kernel that ships. Calling it again costs nothing."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")


def unsupported(kernel_name: str, target: str) -> str | None:
    """Why the kernel of that name must not be lowered for `target` (a target's name such as "sm_80"), or None if it can."""
    for family in FAMILIES:
        table: Mapping[str, Mapping[str, str]] = getattr(importlib.import_module(f"{__name__}.{family}"), "UNSUPPORTED", {})
        if reason := table.get(kernel_name, {}).get(target):
            return reason
    return None
