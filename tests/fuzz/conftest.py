"""How many random graphs a run goes through, and what it says at its end.

A plain run takes the first 30. `-m fuzz` takes MOSAIC_FUZZ of them (a number, or "full"; make fuzz), and also lowers them for
GPUs. MOSAIC_SEED=n takes that one graph alone, in either.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Final

import pytest

FULL: Final = 300
QUICK: Final = 30
REFUSALS: Final[Counter[str]] = Counter()
"""What was refused and why, over the whole run: checks of stitching, and lowering."""


def seeds() -> range:
    """The seeds that `-m fuzz` goes through."""
    if one := os.environ.get("MOSAIC_SEED"):
        return range(int(one), int(one) + 1)
    wanted = os.environ.get("MOSAIC_FUZZ", "full")
    return range(FULL if wanted == "full" else int(wanted))


def quick_seeds() -> range:
    """The seeds of a plain run."""
    return seeds() if "MOSAIC_SEED" in os.environ else range(QUICK)


def pytest_report_header() -> str:
    """Which seeds; each test's name has its own."""
    return f"random graphs: seeds {quick_seeds().start} to {quick_seeds().stop - 1}, with -m fuzz {seeds().start} to {seeds().stop - 1}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if REFUSALS:
        terminalreporter.section("refusals in random graphs")
        for reason, count in REFUSALS.most_common(40):
            terminalreporter.line(f"{count:5d}  {reason}")


@pytest.fixture
def refusals() -> Counter[str]:
    return REFUSALS
