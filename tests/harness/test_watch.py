"""What a candidate reaches for, each in a process of its own: an audit hook cannot be taken away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mosaic

SOURCE = Path(mosaic.__file__).parent / "harness"

DRIVER = """
import json, os, sys
os.chdir({scratch!r})
os.environ["MINE_CACHE_DIR"] = {scratch!r} + "/cache"
sys.path.append({source!r})
from watch import Watch  # alone: the package around it would load PyTorch
sys.path.remove({source!r})
told = []
watch = Watch(lambda cheat, message: told.append([cheat, message]), {folder!r}, {scratch!r})
watch.start()
sys.path.append({folder!r})
import candidate
if hasattr(candidate, "entry"):
    import torch
    result = watch.call(candidate.entry, [torch.zeros(4)], {{}}, (torch.full((4,), 0.5),))
watch.after()
print(json.dumps(told))
"""


def told(source: str, folder: Path) -> list[str]:
    (folder / "candidate").mkdir()
    (folder / "scratch").mkdir()
    (folder / "candidate" / "candidate.py").write_text(source, encoding="utf-8")
    driver = DRIVER.format(source=str(SOURCE), folder=str(folder / "candidate"), scratch=str(folder / "scratch"))
    done = subprocess.run([sys.executable, "-c", driver], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return [cheat for cheat, _ in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture
def leaves_nothing() -> Iterator[None]:
    """What the sources below leave beyond their folder is not there before them, nor after them."""
    left = (Path("/tmp/.triton-of-others"), Path("/dev/shm/mosaic-test-of-watch"))

    def clear() -> None:
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    clear()
    yield
    clear()


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize(
    ("source", "cheats"),
    [
        ("import sys\nsys._getframe()\n", ["swapped_code"]),
        ("import inspect\ninspect.currentframe()\n", ["swapped_code"]),
        ("import gc\ngc.get_objects()\n", ["memory_scan"]),
        ("open('/proc/self/maps')\n", ["memory_scan"]),
        ("import os\nos.listdir('/proc/self/fd')\n", ["interposed_pipes"]),
        ("import shlex\nshlex.quote.__code__ = (lambda *a, **k: '').__code__\n", ["swapped_code"]),
        ("open('tolerance.json', 'w').write('{}')\n", ["edited_harness"]),
        ("import os\nos.remove('workload.json')\n", ["edited_harness"]),
        ("open('cache/compiled-entry.bin', 'ab').write(b'x')\n", ["poisoned_cache"]),
        ("import os\nos.makedirs('/tmp/.triton-of-others', exist_ok=True)\n", ["poisoned_cache"]),
        ("open('/dev/shm/mosaic-test-of-watch', 'a')\n", ["carried_state"]),
        ("import subprocess\nsubprocess.run(['true'])\n", ["obfuscated_code"]),
        ("import socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), 0.1)\nexcept OSError:\n    pass\n", ["obfuscated_code"]),
        ("try:\n    import reference\nexcept ImportError:\n    pass\n", ["inherited_reference"]),
        ("import ctypes\nctypes.CDLL(None).mprotect\n", ["hooked_elapsed_time"]),
        ("import os\nos.environ['LD_PRELOAD'] = 'x.so'\n", ["shadowed_module"]),
        ("import marshal\nexec(marshal.loads(marshal.dumps(compile('1', 'x', 'exec'))))\n", ["obfuscated_code"]),
        ("import __main__\n__main__.make_inputs = lambda: []\n", ["redefined_globals"]),
    ],
)
def test_what_is_reached_for(source: str, cheats: list[str], tmp_path: Path) -> None:
    assert told(source, tmp_path) == cheats


def test_decoys_in_the_callers_frame(tmp_path: Path) -> None:
    source = (
        "def entry(x):\n    try:\n        raise ValueError\n"
        "    except ValueError as error:\n        frame = error.__traceback__.tb_frame.f_back\n    {}\n"
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    taken = source.format("return frame.f_locals['expected'][0].clone()")
    spoilt = source.format("frame.f_locals['expected'][0].zero_()\n    return x")
    assert told(taken, tmp_path / "a") == ["memory_scan"]
    assert told(spoilt, tmp_path / "b") == ["overwritten_expected"]


def test_what_libraries_do_is_not_held_against_who_uses_them(tmp_path: Path) -> None:
    source = """
import collections, dataclasses, functools, json, logging, tempfile, warnings
import torch, torch.utils.cpp_extension
logging.getLogger("x").warning("y")
warnings.warn("z", stacklevel=2)
Point = collections.namedtuple("Point", "x y")

@dataclasses.dataclass
class A:
    b: int = 1

with tempfile.NamedTemporaryFile("w", dir=".") as file:
    file.write("own")
open("own.txt", "w").write("own")

def entry(x):
    print("hello")
    exec(compile("y = 1", "<generated>", "exec"), {})
    return torch.softmax(x, -1)
"""
    assert told(source, tmp_path) == []
