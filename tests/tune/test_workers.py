"""Programs timed in other processes: samples of what runs, a sentence for what does not; the next is timed all the same."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mosaic.stitch.library import Library
from mosaic.targets.cache import Cache
from mosaic.targets.target import find
from mosaic.tiles.program import TileProgram
from mosaic.tune import workers as module
from mosaic.tune.workers import Worker, Workers, arguments_of
from tests.stitch.graphs import linear

CPU = find("cpu")


def product(**tunables: int) -> TileProgram:
    graph = linear(64, 64)
    node = graph.node("product")
    assert node.kernel is not None
    return Library(graph).program(node, {**node.kernel.default_tunables(), **tunables})


def test_arguments_are_what_the_program_takes() -> None:
    found = arguments_of(product(), {"x": (2, 5)})
    assert [argument.shape for argument in found] == [(64, 64)] * 3
    assert {argument.dtype for argument in found} == {"float16"}
    assert (found[0].low, found[0].high) == (2, 5)


def test_each_is_compiled_and_timed_and_what_fails_is_told(tmp_path: Path) -> None:
    broken = replace(product(), func=product().func.with_attr("tir.noalias", False))
    object.__setattr__(broken, "params", (replace(broken.params[0], shape=(3, 3)), *broken.params[1:]))
    told: list[str] = []
    with Workers(CPU, Cache(tmp_path), 2) as workers:
        first, wrong, second = workers.time([product(), broken, product(block_M=32)], {}, told.append)
        (again,) = workers.time([product()], {})
    assert isinstance(first, tuple)
    assert isinstance(second, tuple)
    assert isinstance(again, tuple)
    assert all(0 < sample < 5 for sample in (*first, *second, *again))
    assert isinstance(wrong, str)
    assert "x" in wrong
    assert told[-1] == "compiled 3 of 3"


def test_a_lost_process_costs_its_own_program_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workers(CPU, Cache(tmp_path), 1) as workers:
        (worker,) = workers._workers
        workers.time([product()], {})
        process = worker._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.2)
        lost, fine = workers.time([product(), product(block_M=32)], {})
        assert isinstance(lost, str)
        assert "SIGKILL" in lost
        assert isinstance(fine, tuple)
        monkeypatch.setattr(module, "RUN_SECONDS", 0.0)
        (slow,) = workers.time([product()], {})
        assert isinstance(slow, str)
        assert "within 0 s" in slow


def test_stopping_what_never_began_is_nothing() -> None:
    assert Worker().stop() == ""
