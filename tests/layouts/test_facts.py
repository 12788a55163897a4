"""Facts: which instructions a product gets on which device."""

from __future__ import annotations

import pytest

from mosaic.layouts.facts import Edge, Limits, Product
from tests.layouts.samples import AMPERE, CPU, HOPPER, MI300X


@pytest.mark.parametrize(
    ("limits", "m", "threads", "takes_wgmma", "family"),
    [
        (HOPPER, 64, 128, True, "wgmma"),
        (HOPPER, 32, 128, True, "mma"),
        (HOPPER, 64, 64, True, "mma"),
        (HOPPER, 64, 128, False, "mma"),
        (AMPERE, 64, 128, True, "mma"),
        (MI300X, 64, 128, True, "mfma"),
        (CPU, 64, 128, True, None),
    ],
)
def test_families(limits: Limits, m: int, threads: int, takes_wgmma: bool, family: str | None) -> None:
    assert limits.family(Product("p", "g", m, 64, 64, "float16", takes_wgmma=takes_wgmma), threads) == family


def test_bytes_of_a_stage() -> None:
    assert Edge("a -> b", "t", "a", "b", 0, rows=64, columns=32, dtype_bytes=4).stage_bytes == 8192
