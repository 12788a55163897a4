from __future__ import annotations

import os
import sys
import threading
import time
import types

import pytest
import torch

from mosaic.harness.tripwires import Tripwires


def own() -> types.ModuleType:
    module = types.ModuleType("own")
    exec("def work():\n    return 1\nclass Box:\n    def open(self):\n        return 2\n", vars(module))
    module.Box.__module__ = "own"
    return module


def test_nothing_is_said_of_what_did_not_change() -> None:
    assert Tripwires([own()]).changes() == []


@pytest.mark.parametrize(
    ("holder", "name", "cheat"),
    [
        (time, "perf_counter", "patched_clock"),
        (torch, "allclose", "overridden_comparison"),
        (torch.Tensor, "copy_", "overridden_comparison"),
        (torch, "manual_seed", "redefined_globals"),
        (torch.cuda, "synchronize", "patched_clock"),
        (torch.cuda.Event, "elapsed_time", "swapped_events"),
    ],
)
def test_a_replaced_function_is_named(monkeypatch: pytest.MonkeyPatch, holder: object, name: str, cheat: str) -> None:
    wires = Tripwires([own()])
    monkeypatch.setattr(holder, name, lambda *_, **__: 0)
    assert [item[0] for item in wires.changes()] == [cheat]


def test_swapped_code_is_seen_in_functions_and_methods() -> None:
    module = own()
    wires = Tripwires([module])
    module.work.__code__ = (lambda: 3).__code__
    module.Box.open.__code__ = (lambda self: 3).__code__
    assert [item[0] for item in wires.changes()] == ["swapped_code", "swapped_code"]


def test_threads_that_live_on_are_seen() -> None:
    wires = Tripwires([own()])
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left behind")
    thread.start()
    (found,) = wires.changes()
    end.set()
    thread.join()
    assert found[0] == "python_threads"
    assert "left behind" in found[1]


def test_the_search_path_and_modules_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    wires = Tripwires([own()])
    monkeypatch.setattr(sys, "path", ["/scratch", *sys.path])
    assert [item[0] for item in wires.changes()] == ["shadowed_module"]


def test_other_files_behind_the_pipes_are_seen() -> None:
    before = os.dup(0)
    wires = Tripwires([own()])
    read, write = os.pipe()
    os.dup2(read, 0)
    try:
        assert "interposed_pipes" in [item[0] for item in wires.changes()]
    finally:
        os.dup2(before, 0)
        for fd in (before, read, write):
            os.close(fd)
