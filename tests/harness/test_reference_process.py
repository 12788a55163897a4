from __future__ import annotations

from pathlib import Path

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
