"""The CPU target: tile programs as C, compiled by gcc."""

from __future__ import annotations

from mosaic.targets.cpu.compile import CpuKernel, compile_cpu
from mosaic.targets.cpu.emit import emit_c

__all__ = ["CpuKernel", "compile_cpu", "emit_c"]
