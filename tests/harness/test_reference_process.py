from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mosaic.harness.definition import load_definition
from mosaic.harness.oracle import _order, packed
from mosaic.harness.reference_process import Answerer
from mosaic.harness.wire import place
from tests.harness.tasks import write_task

DRAW = {"kind": "draw", "symbols": {"M": 2, "N": 3}, "distribution": "normal", "key": "k"}


def opened(folder: Path) -> Answerer:
    definition = load_definition(write_task(folder))
    made = Answerer()
    reply, _ = made.answer({"kind": "open", "folder": str(definition.root), "published": False, "definition": _order(definition)}, None)
    assert reply == {}
    return made


def test_inputs_and_bounds_are_bytes_in_its_own_memory(tmp_path: Path) -> None:
    reply, segment = opened(tmp_path).answer({**DRAW, "bounds": True}, None)
    assert segment is not None
    assert reply["inputs"] == 2
    names = [place(item).name for item in reply["tensors"]]
    assert names == ["x", "y", "value:z", "error:z"]
    x, y, value = (segment.read(place(item)) for item in reply["tensors"][:3])
    wanted = (
        1.5 * torch.frombuffer(bytearray(x), dtype=torch.float32).double() + torch.frombuffer(bytearray(y), dtype=torch.float32).double()
    )
    assert torch.equal(torch.frombuffer(bytearray(value), dtype=torch.float64), wanted)


def test_only_inputs_if_only_they_are_asked_for(tmp_path: Path) -> None:
    reply, _ = opened(tmp_path).answer({**DRAW, "bounds": False}, None)
    assert [place(item).name for item in reply["tensors"]] == ["x", "y"]
    assert "bounds" not in reply


def test_given_inputs_are_bounded(tmp_path: Path) -> None:
    answerer = opened(tmp_path)
    reply, segment = answerer.answer({**DRAW, "bounds": True}, None)
    assert segment is not None
    places = [place(item) for item in reply["tensors"]]
    given, where = packed([(one.name, one, segment.read(one)) for one in places[:2]])
    message = {"kind": "bound", "symbols": DRAW["symbols"], "constants": [], "tensors": [one.document() for one in where]}
    again, made = answerer.answer(message, given)
    assert made is not None
    assert made.read(place(again["tensors"][0])) == segment.read(places[2])


def test_errors_are_sentences(tmp_path: Path) -> None:
    assert Answerer().answer(DRAW | {"bounds": True}, None)[0] == {"error": "no task is open"}
    reply, segment = opened(tmp_path).answer({**DRAW, "symbols": {"M": 2}, "bounds": True}, None)
    assert "error" in reply
    assert segment is None


@pytest.mark.parametrize(("processors", "imported"), [(2, False), (64, True)])
def test_what_is_slow_to_import_is_imported_where_a_processor_is_free(processors: int, imported: bool) -> None:
    program = f"import os, sys\nos.cpu_count = lambda: {processors}\nfrom mosaic.harness import reference_process\n"
    program += "reference_process.prepare()\nprint('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(imported)
