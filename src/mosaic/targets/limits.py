"""What layouts must know of a target."""

from __future__ import annotations

from mosaic.layouts.cost import constants
from mosaic.layouts.facts import Limits
from mosaic.targets.target import Target


def limits_of(target: Target) -> Limits:
    """A target's limits, as `layouts` takes them."""
    return Limits(
        arch=target.arch,
        kind=target.kind,
        lanes=target.warp_size,
        processors=target.processors,
        shared_per_block=target.shared_per_block,
        registers_per_thread=target.registers_per_thread,
        registers_per_processor=target.registers_per_processor,
        bandwidth=target.bandwidth,
        launch_seconds=target.launch_seconds,
        clock=1e9 if target.kind == "cpu" else constants(target.arch).clock_hz,  # a processor's conversions are free: nothing is asked
    )
