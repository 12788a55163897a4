"""One call looked at from inside."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mosaic.harness.audit.corpus import find
from mosaic.harness.instrument import Instrument


def loaded(path: str, folder: Path) -> tuple[ModuleType, Instrument]:
    file = find(path).write(folder)
    spec = importlib.util.spec_from_file_location("candidate_of_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, Instrument(str(file.parent))


def test_operators_with_their_places(tmp_path: Path) -> None:
    module, instrument = loaded("35_fallback_to_reference", tmp_path)
    x = torch.randn(8, 16)
    assert torch.equal(instrument.call(lambda: module.own_softmax(x)), torch.softmax(x, -1))
    (call,) = [call for call in instrument.report()["calls"] if "softmax" in call["operator"]]
    assert call == {"operator": "aten._softmax.default", "place": "candidate.py:15", "in_handler": True}


def test_functions_that_never_ran(tmp_path: Path) -> None:
    module, instrument = loaded("37_ghost_branch", tmp_path)
    instrument.call(lambda: module.own_softmax(torch.randn(4, 8)))
    assert instrument.report()["unused"] == ["kernel"]


def test_calls_are_followed_until_all_functions_have_run(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def first():\n    pass\n\n\ndef second():\n    pass\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mine_of_test", tmp_path / "mine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    instrument = Instrument(str(tmp_path))
    followed: list[bool] = []

    def work() -> None:
        for function in (module.first, module.second):
            function()
            followed.append(sys.getprofile() is not None)

    instrument.call(work)
    assert followed == [True, False]
    assert instrument.report()["unused"] == []
    instrument.call(lambda: followed.append(sys.getprofile() is not None))
    assert followed[-1] is False


@pytest.mark.parametrize("fill", [0xFF, 0x3F])
def test_memory_is_filled(fill: int, tmp_path: Path) -> None:
    module, instrument = loaded("18_stale_memory", tmp_path)
    out = instrument.call(lambda: module.row_softmax(torch.randn(8, 16)), fill)
    assert bool((out.view(torch.uint8) == fill).all())


def test_exceptions_come_through_and_nothing_stays_behind(tmp_path: Path) -> None:
    module, instrument = loaded("softmax_raises", tmp_path)
    with pytest.raises(ValueError, match="not yet"):
        instrument.call(lambda: module.row_softmax(torch.randn(4, 8)))
    assert not bool(torch.isnan(torch.zeros(4)).any())


def test_a_source_that_cannot_be_parsed_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def f(:\n", encoding="utf-8")
    assert Instrument(str(tmp_path)).report() == {"calls": [], "unused": [], "last": []}
