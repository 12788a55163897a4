from __future__ import annotations

import math

import pytest
import torch

from mosaic.harness.wire import ALIGNMENT, Segment, lay_out
from mosaic.harness.worker_memory import Memory, RawMemory, TorchMemory, memory_for


@pytest.fixture(params=["raw", "torch"])
def memory(request: pytest.FixtureRequest) -> Memory:
    return RawMemory() if request.param == "raw" else TorchMemory("cpu")


def test_bytes_go_in_and_out(memory: Memory) -> None:
    (x, y), size = lay_out([("x", "float32", (2, 3)), ("y", "float32", (2, 3))])
    segment = Segment.make(size)
    segment.write(x, bytes(range(24)))
    tensor = memory.load(segment, x)
    assert memory.describe(tensor)["type"] == "Tensor"
    assert memory.describe(tensor)["shape"] == [2, 3]
    memory.store(tensor, segment, y)
    assert segment.read(y) == bytes(range(24))
    before = memory.extent(tensor)
    segment.write(x, bytes(24))
    memory.refill(tensor, segment, x)
    memory.store(tensor, segment, y)
    assert segment.read(y) == bytes(24)
    assert memory.extent(tensor) == before
    assert before[1] - before[0] >= 24
    memory.wait()


def test_new_memory_is_poisoned(memory: Memory) -> None:
    (x,), size = lay_out([("x", "float16", (5,))])
    segment = Segment.make(size)
    memory.store(memory.poisoned(x), segment, x)
    assert segment.read(x) == b"\xff" * 10
    assert math.isnan(float(torch.frombuffer(bytearray(segment.read(x)), dtype=torch.float16)[0]))


def test_a_view_is_the_segment(memory: Memory) -> None:
    (x, y), size = lay_out([("x", "int32", (4,)), ("y", "int32", (4,))])
    segment = Segment.make(size)
    segment.write(x, bytes(range(16)))
    memory.put(memory.load(segment, x), memory.view(segment, y))
    assert segment.read(y) == bytes(range(16))


def test_what_is_no_plain_tensor_is_said() -> None:
    class Lazy(torch.Tensor):
        pass

    memory = TorchMemory("cpu")
    assert memory.describe("text") == {"type": "str"}
    assert memory.describe(torch.ones(2).as_subclass(Lazy))["subclass"] is True
    assert memory.describe(torch.ones(2).to_sparse())["type"] == "torch.sparse_coo"


def test_put_refuses_what_would_broadcast_or_convert() -> None:
    memory = TorchMemory("cpu")
    view = torch.zeros(2, 2)
    memory.put(torch.ones(1), view)
    memory.put(torch.ones(2, 2, dtype=torch.float64), view)
    assert not view.any()


def test_c_needs_no_pytorch() -> None:
    assert isinstance(memory_for("c", "cpu"), RawMemory)
    assert isinstance(memory_for("pytorch", "cpu"), TorchMemory)
    (x,), size = lay_out([("x", "int8", (3,))])
    assert RawMemory().load(Segment.make(size), x).address % ALIGNMENT == 0
