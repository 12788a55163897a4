"""What the worker looks at beside running: here without a watch, which could not be taken away again."""

from __future__ import annotations

from pathlib import Path

import torch

from mosaic.harness.observer import Observer
from mosaic.harness.wire import Place
from mosaic.harness.worker_memory import TorchMemory

PLACES = (Place("y", "float32", (4, 8), 0), Place("n", "int64", (4,), 0))


def observer(tmp_path: Path, *, traced: bool) -> Observer:
    (tmp_path / "candidate").mkdir()
    (tmp_path / "scratch").mkdir()
    return Observer(str(tmp_path / "candidate"), str(tmp_path / "scratch"), traced=traced)


def test_a_call_is_run_once_with_memory_filled(tmp_path: Path) -> None:
    made = observer(tmp_path, traced=True)
    calls: list[int] = []

    def call() -> torch.Tensor:
        calls.append(1)
        return torch.empty(4, 8)

    out = made.run(call, PLACES, TorchMemory("cpu"))
    assert calls == [1]
    assert bool(torch.isnan(out).all())
    assert made.observed() == []
    assert [call["operator"] for call in made.trace()["calls"]] == ["aten.empty.memory_format"]


def test_native_candidates_are_only_run(tmp_path: Path) -> None:
    made = observer(tmp_path, traced=False)
    assert made.run(lambda: 7, PLACES, TorchMemory("cpu")) == 7
    assert made.trace() == {}


def test_what_is_kept_is_what_it_is_now(tmp_path: Path) -> None:
    made = observer(tmp_path, traced=False)
    tensor = torch.zeros(3)
    made.hold([tensor])
    tensor.fill_(1)
    assert bool((made.held[0] == 1).all())


def test_decoys_that_are_handed_back(tmp_path: Path) -> None:
    """As who walks frames would: the decoy lies in the caller's frame."""
    import sys

    made = observer(tmp_path, traced=True)

    def call() -> object:
        frame = sys._getframe()
        while frame.f_back is not None and "expected" not in frame.f_locals:
            frame = frame.f_back
        return frame.f_locals["expected"]

    made.run(call, PLACES[:1], TorchMemory("cpu"))
    assert [cheat for cheat, _ in made.observed()] == ["memory_scan"]
