"""Small tasks and candidates that several tests of the judge write into a folder of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

SCALE_ADD: Final[dict[str, Any]] = {
    "format": "mosaic-task",
    "version": 1,
    "name": "scale_add",
    "symbols": {"M": {"min": 1, "max": 64}, "N": {"min": 1, "max": 64}},
    "inputs": {"x": {"shape": ["M", "N"], "dtype": "float32"}, "y": {"shape": ["M", "N"], "dtype": "float32"}},
    "outputs": {"z": {"shape": ["M", "N"], "dtype": "float32"}},
    "attributes": {"alpha": 1.5},
    "reference": {"file": "reference.py", "function": "reference"},
}
REFERENCE: Final = "def reference(x, y, *, alpha):\n    return alpha * x + y\n"
WORKLOAD: Final[dict[str, Any]] = {
    "format": "mosaic-workload",
    "version": 1,
    "cases": [
        {"name": "small", "set": "given", "symbols": {"M": 16, "N": 32}},
        {"name": "odd", "set": "odd", "symbols": {"M": 7, "N": 13}},
    ],
    "hidden": 1,
    "distributions": ["normal", "integers"],
    "timing": {"cases": ["small"], "samples": 6, "warm_up": 1, "seconds": 0.002},
}
HONEST: Final = "def scale_add(x, y, alpha):\n    return x * alpha + y\n"
HONEST_C: Final = """#include <stdint.h>
void scale_add(const float *x, const float *y, float *z, int64_t M, int64_t N, double alpha) {
    for (int64_t i = 0; i < M * N; i++) z[i] = (float)alpha * x[i] + y[i];
}
"""
PUBLISHED: Final = """import torch


class Model(torch.nn.Module):
    def __init__(self, wide, narrow):
        super().__init__()
        self.linear = torch.nn.Linear(wide, narrow)

    def forward(self, x):
        return torch.relu(self.linear(x))


def get_inputs():
    return [torch.randn(8, 16)]


def get_init_inputs():
    return [16, 4]
"""


def write_task(folder: Path, *, workload: dict[str, Any] | None = None, source: str = REFERENCE, **changes: Any) -> Path:
    """A folder `task` with scale_add, some of its keys changed (None: left out)."""
    made = folder / "task"
    made.mkdir(parents=True, exist_ok=True)
    document = {key: value for key, value in {**SCALE_ADD, **changes}.items() if value is not None}
    (made / "definition.json").write_text(json.dumps(document))
    (made / "reference.py").write_text(source)
    (made / "workload.json").write_text(json.dumps(workload or WORKLOAD))
    return made


def write_candidate(folder: Path, text: str, name: str = "mine.py") -> Path:
    """A candidate that is one file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name
