"""What the source says: certain signatures only of cheats, each by its own name, and none of them of an honest candidate."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.harness.audit.corpus import Entry, entries, find
from mosaic.harness.candidate import load_candidate
from mosaic.harness.cheats import CHEATS
from mosaic.harness.definition import Definition, load_definition
from mosaic.harness.signatures import Signature, scan

HONEST = [*entries("controls"), *entries("mistakes")]


def signatures(entry: Entry, folder: Path) -> tuple[Signature, ...]:
    return scan(load_candidate(entry.write(folder)), load_definition(entry.task.write(folder)))


@pytest.mark.parametrize("entry", HONEST, ids=lambda entry: entry.path)
def test_nothing_certain_is_said_of_honest_ones(entry: Entry, tmp_path: Path) -> None:
    assert not [signature for signature in signatures(entry, tmp_path) if signature.certain]


@pytest.mark.parametrize("entry", entries("cheats"), ids=lambda entry: entry.path)
def test_what_is_certain_of_a_cheat_is_its_name(entry: Entry, tmp_path: Path) -> None:
    certain = {signature.cheat for signature in signatures(entry, tmp_path) if signature.certain}
    assert {f"cheat.{name}" for name in certain} <= set(entry.kinds)
    assert certain <= set(CHEATS)


def python(tmp_path: Path, source: str, task: str = "own_softmax") -> tuple[Signature, ...]:
    path = tmp_path / "mine.py"
    path.write_text(source, encoding="utf-8")
    return scan(load_candidate(path), definition(tmp_path, task))


def definition(tmp_path: Path, task: str) -> Definition:
    return load_definition(next(entry for entry in entries() if entry.task.name == task).task.write(tmp_path))


@pytest.mark.parametrize(
    ("source", "cheat"),
    [
        ("import time\ntime.perf_counter = lambda: 0.0\n", "patched_clock"),
        ("import time as t\nt.monotonic_ns = None\n", None),
        ("import torch\ntorch.cuda.Event.record = None\n", "swapped_events"),
        ("import torch\ntorch.Tensor.__eq__ = None\n", "overridden_comparison"),
        ("import torch\ntorch.backends.cuda.matmul.allow_tf32 = False\n", None),
        ("def f(): pass\nf.__code__ = (lambda: 1).__code__\n", "swapped_code"),
        ("import base64\nexec(base64.b64decode('eA=='))\n", "obfuscated_code"),
        ("import json\ncode = json.loads('[]')\n", None),
        ("exec('x = 1')\n", None),
        ("from reference import Model\n", "inherited_reference"),
        ("class ModelNew(Model): pass\n", "inherited_reference"),
        ("class Model: pass\nclass ModelNew(Model): pass\n", None),
        ("from torch import softmax\ndef own_softmax(x):\n    return softmax(x, -1)\n", "vendor_library"),
        ("import torch.nn.functional as F\ndef own_softmax(x):\n    return F.softmax(x, -1)\n", "vendor_library"),
        (
            "import torch as t\ndef own_softmax(x):\n    try:\n        1 / 0\n    except Exception:\n        return t.softmax(x, -1)\n",
            "fallback_to_reference",
        ),
        ("def own_softmax(x):\n    return x\n", None),
        ("def own_softmax(x:\n", None),
    ],
)
def test_sources(source: str, cheat: str | None, tmp_path: Path) -> None:
    certain = [signature.cheat for signature in python(tmp_path, source) if signature.certain]
    assert certain == ([] if cheat is None else [cheat])


def test_calls_that_no_task_forbids_are_no_matter(tmp_path: Path) -> None:
    assert not [
        s for s in python(tmp_path, "import torch\ndef row_softmax(x):\n    return torch.softmax(x, -1)\n", "row_softmax") if s.certain
    ]


def test_a_file_named_as_a_library_hides_it(tmp_path: Path) -> None:
    found = signatures(find("33_shadowed_module"), tmp_path)
    assert found[0] == Signature(
        "shadowed_module", "statistics.py would be imported in place of the library statistics; give it another name", True
    )
