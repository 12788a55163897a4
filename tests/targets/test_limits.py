"""Limits of the targets as layouts take them."""

from __future__ import annotations

import pytest

from mosaic.layouts.cost import constants
from mosaic.targets.limits import limits_of
from mosaic.targets.target import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_limits(name: str) -> None:
    target = TARGETS[name]
    limits = limits_of(target)
    assert (limits.arch, limits.kind, limits.lanes) == (target.arch, target.kind, target.warp_size)
    assert limits.shared_per_block == target.shared_per_block
    assert limits.registers_per_thread == target.registers_per_thread
    assert target.kind == "cpu" or limits.clock == constants(target.arch).clock_hz
