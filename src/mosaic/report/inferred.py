"""The layouts that TileLang infers for a fused kernel, or a sentence that says why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mosaic.errors import MosaicError
from mosaic.layouts.read import LayoutTable, read_layouts
from mosaic.report.facts import KernelFact
from mosaic.stitch.finish import NO_SPECIALIZATION
from mosaic.targets import upstream
from mosaic.targets.target import TARGETS, Target

ON_PROCESSORS: Final = TARGETS["sm_90a"]
"""The GPU whose layouts are shown for a program that runs on a processor, which has none."""


@dataclass(frozen=True)
class Inferred:
    """A kernel's layouts by buffer for a target, with a remark."""

    target: Target
    layouts: Mapping[str, LayoutTable]
    note: str = ""


def inferred(kernel: KernelFact) -> Inferred:
    """The layouts of a kernel's buffers as it was compiled; for the CPU, as it would be for `ON_PROCESSORS`."""
    lowered = kernel.lowered
    target, func = lowered.target, lowered.program
    configs: dict[str, Any] = dict(lowered.pass_configs)
    note = ""
    if target.kind == "cpu":
        target = ON_PROCESSORS
        # Tiles that were chosen for a processor's caches may leave no room for a specialised pipeline's second copy.
        configs = {NO_SPECIALIZATION: True}
        note = f"A processor has neither registers nor threads to lay tiles out over; this is what TileLang infers for {target.name}."
    try:
        with upstream.captured_output():
            return Inferred(target, read_layouts(func, target.upstream, configs), note)
    except MosaicError as error:
        return Inferred(target, {}, f"{str(error)[:1].upper()}{str(error)[1:]}.")
