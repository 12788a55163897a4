"""Profiles at three levels, each an artifact of its own, never one blob.

framework      what PyTorch saw: its operators, and the kernels behind them (torch.profiler)
runtime        what the device counted while it ran: Nsight Compute's counters for each kernel launch (ncu, a process around the program)
emitted-code   what the binary holds: the caller's record, as this room knows no compiler

    profile = framework(lambda: candidate(*inputs), device="cuda")
    artifact, content = profile.artifact("candidate")

A level that cannot be had says why in `missing`, and has no artifact.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch.profiler import ProfilerActivity

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.evidence.categories import Artifact

Level = Literal["framework", "runtime", "emitted-code"]

_KINDS: Final[Mapping[Level, Literal["trace", "counters", "sass", "other"]]] = {
    "framework": "trace",
    "runtime": "counters",
    "emitted-code": "other",
}
MOST_ROWS: Final = 200
"""Of a framework profile: the operators that took longest."""


@dataclass(frozen=True)
class Profile:
    """One level's profile: rows of figures with their units in their names, or why there is none."""

    level: Level
    tool: str
    rows: tuple[Mapping[str, Any], ...]
    missing: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The document that becomes the artifact."""
        return {"format": "mosaic-profile", "version": 1, "level": self.level, "tool": self.tool, "rows": [dict(row) for row in self.rows]}

    def artifact(self, name: str) -> tuple[Artifact, bytes] | None:
        """The artifact's record and its content, canonical JSON; None if the level is missing."""
        if self.missing is not None:
            return None
        content = canonical(self.to_dict()) + b"\n"
        named = f"{name}.{self.level}.json"
        return Artifact(name=named, kind=_KINDS[self.level], level=self.level, sha256=digest(content), size=len(content)), content


def framework(run: Callable[[], object], *, device: str | torch.device = "cpu", calls: int = 3) -> Profile:
    """What PyTorch sees of `calls` calls after one to warm up: each operator and kernel with its calls, and microseconds of its own.

    A kernel that no operator of PyTorch's launches is seen on a GPU only, by its own name. Raises what `run` raises, and InputError
    for less than one call.
    """
    if calls < 1:
        raise InputError(f"a profile needs at least 1 call, not {calls}")
    on_gpu = torch.device(device).type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    run()
    _wait(on_gpu)
    with torch.profiler.profile(activities=activities, record_shapes=False) as recorded:
        for _ in range(calls):
            run()
        _wait(on_gpu)
    rows = []
    for event in recorded.key_averages():
        row: dict[str, Any] = {"name": str(event.key)[:300], "calls": int(event.count), "host_us": float(event.self_cpu_time_total)}
        if on_gpu:
            row["device_us"] = float(event.self_device_time_total)
        rows.append(row)
    rows.sort(key=lambda row: (-row.get("device_us", 0.0), -row["host_us"], row["name"]))
    return Profile("framework", f"torch.profiler {torch.__version__}, {calls} calls", tuple(rows[:MOST_ROWS]))


def emitted_code(record: Mapping[str, Any], tool: str) -> Profile:
    """The profile of what a caller read from the binary (registers, spills, instruction families), told by which tool.

    Raises InputError for a record that JSON cannot hold.
    """
    canonical(record)
    return Profile("emitted-code", tool, (json.loads(canonical(record)),))


def _wait(on_gpu: bool) -> None:
    if on_gpu:
        torch.cuda.synchronize()
