"""A small task with candidates of every fate, as users would write them, for the tests of the verbs that judge."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mosaic.cli.smoke import DEFINITION, REFERENCE, RIGHT, WRONG

WORKLOAD: Final = """{"format": "mosaic-workload", "version": 1,
 "cases": [{"name": "given", "set": "given", "symbols": {"M": 64, "N": 48, "K": 32}}],
 "hidden": 1, "distributions": ["normal"], "trials": 1, "timing": {"cases": ["given"], "samples": 6, "warm_up": 1}}
"""
CRASHES: Final = "def product(a, b):\n    raise RuntimeError('no product today')\n"


def write(folder: Path) -> Path:
    """Write the task and its candidates; the folder."""
    files = {
        "task/definition.json": DEFINITION,
        "task/workload.json": WORKLOAD,
        "task/reference.py": REFERENCE,
        "right.py": RIGHT,
        "wrong.py": WRONG,
        "crashes.py": CRASHES,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
