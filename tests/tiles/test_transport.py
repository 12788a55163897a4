"""A program is the same in another process: also its layouts, whose coordinates are each process's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mosaic.stitch.swizzle import swizzled
from mosaic.targets.lower import lower
from mosaic.targets.target import find
from mosaic.tiles.transport import dump, restore
from tests.stitch.test_swizzle import staged
from tests.targets import programs

LOWER = """
import sys
from pathlib import Path
from mosaic.targets.lower import lower
from mosaic.tiles.transport import restore
sys.stdout.write(lower(restore(Path(sys.argv[1]).read_bytes()), "sm_90a", binary=False).source)
"""


@pytest.mark.parametrize("kind", ["plain", "swizzled"])
def test_another_process_lowers_it_to_the_same_source(kind: str, tmp_path: Path) -> None:
    func = programs.gemm() if kind == "plain" else swizzled(staged())
    path = tmp_path / "program"
    path.write_bytes(dump(func))
    done = subprocess.run([sys.executable, "-c", LOWER, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == lower(func, find("sm_90a"), binary=False).source


def test_names_and_parameters_stay() -> None:
    func = programs.gemm()
    made = restore(dump(func))
    assert [str(made.buffer_map[p].name) for p in made.params] == [str(func.buffer_map[p].name) for p in func.params]
    assert str(made.attrs["global_symbol"]) == str(func.attrs["global_symbol"])
