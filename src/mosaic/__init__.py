"""Mosaic fuses independently written TileLang kernels into fewer ones, and proves that the answer is the same.

The public names. Each is imported when it is first used, so that `mosaic --help` need not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from mosaic.version import __version__

if TYPE_CHECKING:
    from mosaic.candidates import candidate
    from mosaic.errors import MosaicError
    from mosaic.graph.graph import Graph
    from mosaic.graph.kernel import Kernel, Spec, kernel
    from mosaic.graph.serialize import load, save
    from mosaic.harness.judge import judge
    from mosaic.harness.reward import reward
    from mosaic.pipeline import Fused, fuse

__all__ = [
    "Fused",
    "Graph",
    "Kernel",
    "MosaicError",
    "Spec",
    "__version__",
    "candidate",
    "fuse",
    "judge",
    "kernel",
    "load",
    "reward",
    "save",
]

_HOMES: Final = {
    "Fused": "mosaic.pipeline",
    "Graph": "mosaic.graph.graph",
    "Kernel": "mosaic.graph.kernel",
    "MosaicError": "mosaic.errors",
    "Spec": "mosaic.graph.kernel",
    "candidate": "mosaic.candidates",
    "fuse": "mosaic.pipeline",
    "judge": "mosaic.harness.judge",
    "kernel": "mosaic.graph.kernel",
    "load": "mosaic.graph.serialize",
    "reward": "mosaic.harness.reward",
    "save": "mosaic.graph.serialize",
}

_NAMING_KERNELS: Final = ("Graph", "load")
"""With these, kernels are asked for by name: those that ship must be known by then."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mosaic' has no attribute {name!r}")
    if name in _NAMING_KERNELS:
        import_module("mosaic.kernels").load()
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
