"""The process that times: what it fills tensors with, how it samples, and what it answers."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import pytest
import torch

from mosaic.stitch.library import Library
from mosaic.targets.target import find
from mosaic.tiles.transport import dump
from mosaic.tune.clock import SAMPLES, Argument, Job, Reply, fill, serve, time_cpu
from mosaic.tune.workers import arguments_of
from tests.stitch.graphs import linear

CPU = find("cpu")


def test_tensors_are_filled_alike_each_time() -> None:
    for argument in (Argument((3, 4), "float16"), Argument((50,), "int32", 2, 5)):
        assert torch.equal(fill(argument, "cpu"), fill(argument, "cpu"))
    assert set(fill(Argument((200,), "int32", 2, 5), "cpu").tolist()) == {2, 3, 4, 5}
    assert fill(Argument((5,), "int64"), "cpu").tolist() == [0] * 5


def test_the_first_call_is_not_counted() -> None:
    calls: list[int] = []
    assert len(time_cpu(lambda: calls.append(1))) == SAMPLES
    assert len(calls) == SAMPLES + 1


@pytest.fixture
def served() -> tuple[Connection, threading.Thread]:
    mine, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(theirs,), daemon=True)
    thread.start()
    return mine, thread


def ask(channel: Connection, what: object) -> Reply:
    channel.send(what)
    reply = channel.recv()
    assert isinstance(reply, Reply)
    return reply


def test_jobs_are_compiled_then_timed_then_forgotten(served: tuple[Connection, threading.Thread], tmp_path: Path) -> None:
    channel, thread = served
    graph = linear(32, 64)
    node = graph.node("product")
    assert node.kernel is not None
    program = Library(graph).program(node, node.kernel.default_tunables())
    arguments = arguments_of(program, {})
    assert ask(channel, Job(7, dump(program.func), arguments, CPU, str(tmp_path))) == Reply(None)
    samples = ask(channel, 7).value
    assert isinstance(samples, list)
    assert all(sample > 0 for sample in samples)
    wrong = ask(channel, Job(8, dump(program.func), (Argument((1, 1), "float16"), *arguments[1:]), CPU, str(tmp_path)))
    assert wrong == Reply(None)
    assert "x" in str(ask(channel, 8).value)
    channel.close()
    thread.join(10.0)
    assert not thread.is_alive()


def test_a_device_that_may_be_lost_ends_the_process(served: tuple[Connection, threading.Thread], monkeypatch: pytest.MonkeyPatch) -> None:
    from mosaic.tune import clock

    def fails(job: Job) -> None:
        raise RuntimeError("an illegal memory access\nwas encountered")

    monkeypatch.setattr(clock, "_compile", fails)
    channel, thread = served
    reply = ask(channel, Job(1, b"", (), CPU))
    assert reply == Reply("RuntimeError: an illegal memory access was encountered", lost=True)
    thread.join(10.0)
    assert not thread.is_alive()
