from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.errors import InputError
from mosaic.harness.definition import load_definition
from mosaic.harness.oracle import _order
from mosaic.harness.task import WrittenTask
from tests.harness.tasks import write_task

SYMBOLS = {"M": 4, "N": 6}


def task(folder: Path, **changes: Any) -> WrittenTask:
    definition = load_definition(write_task(folder, **changes))
    return WrittenTask(str(definition.root), _order(definition))


def test_inputs_are_drawn_and_bounded(tmp_path: Path) -> None:
    made = task(tmp_path)
    drawn = made.draw(SYMBOLS, "normal", "key", None)
    assert drawn.tensors is not None
    bounds = made.bounds(SYMBOLS, drawn)
    x, y = (drawn.tensors[name].double() for name in "xy")
    assert torch.equal(bounds["z"].value, 1.5 * x + y)
    assert bounds["z"].compare((1.5 * x + y).float()).passed
    assert not bounds["z"].compare((1.5 * x + y).float() + 1e-3).passed


def test_the_same_key_gives_the_same_inputs_and_another_others(tmp_path: Path) -> None:
    made = task(tmp_path)
    draws = [made.draw(SYMBOLS, "normal", key, 0).tensors for key in ("a", "a", "b")]
    assert all(one is not None for one in draws)
    first, again, other = (one["x"] for one in draws if one is not None)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_ranges_hold(tmp_path: Path) -> None:
    made = task(tmp_path, inputs={name: {"shape": ["M", "N"], "dtype": "float32", "range": [2, 3]} for name in "xy"})
    for exponent in (None, 0):
        drawn = made.draw(SYMBOLS, "normal", "key", exponent)
        assert drawn.tensors is not None
        assert all(bool(((t >= 2) & (t <= 3)).all()) for t in drawn.tensors.values())


def test_invariants_are_asked(tmp_path: Path) -> None:
    source = "def positive(inputs, outputs):\n    return None if bool((outputs['z'] > 0).all()) else 'z is not positive'\n"
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "invariants.py").write_text(source)
    made = task(tmp_path, invariants={"file": "invariants.py", "functions": ["positive"]})
    drawn = made.draw(SYMBOLS, "normal", "key", None)
    assert made.broken_invariants(drawn, {"z": torch.ones(4, 6)}) == []
    assert made.broken_invariants(drawn, {"z": -torch.ones(4, 6)}) == ["positive: z is not positive"]


def test_its_work_is_counted(tmp_path: Path) -> None:
    made = task(tmp_path)
    assert made.work(SYMBOLS, made.draw(SYMBOLS, "normal", "key", None))["how"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1", "has no function 'reference'"),
        ("raise ValueError('no')", "cannot be loaded: ValueError: no"),
        ("def f(:", "cannot be loaded"),
    ],
)
def test_a_reference_that_cannot_be_loaded_is_an_error_of_the_task(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        task(tmp_path, source=source)
