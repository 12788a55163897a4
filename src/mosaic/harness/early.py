"""Starts the clean processes of a judgement before PyTorch is loaded here, so that they load it at the same time. Needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

from mosaic.harness.sandbox import ORACLE, nursery


def start(task: Path, candidate: Path, *, device: str, timing: bool) -> None:
    """What a candidate at this path will be forked from, as far as its name tells. Nothing where task or candidate are not there."""
    if not task.exists() or not candidate.exists():
        return
    nursery((), ORACLE, package=True)
    if timing or device.startswith("cuda") or candidate.suffix == ".py":
        nursery(("torch",))
