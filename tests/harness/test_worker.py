"""The worker's answers, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mosaic.harness import loaders
from mosaic.harness.wire import Segment, lay_out
from mosaic.harness.worker import Worker, failure_of
from tests.harness.tasks import HONEST

SYMBOLS = {"M": 2, "N": 3}


def worker(folder: Path, text: str = HONEST, **changes: Any) -> Worker:
    (folder / "a.py").write_text(text)
    made = Worker(str(folder), str(folder))
    order = {
        "language": "pytorch", "entries": ["scale_add"], "file": "a.py", "attributes": {"alpha": 1.5}, "symbols": ["M", "N"],
        "device": "cpu", **changes,
    }  # fmt: skip
    made.answer({"kind": "build", "order": order, "stateful": False}, None)
    return made


def fed(made: Worker, slots: int = 1, how: str = "new") -> Segment:
    """Load slots of x = 1, 2, ... (a slot more each) and y = 0."""
    import torch

    places, stride = lay_out([("x", "float32", (2, 3)), ("y", "float32", (2, 3))])
    segment = Segment.make(stride * slots)
    for slot in range(slots):
        start = slot * stride + places[0].offset
        segment.memory[start : start + 24] = torch.full((6,), float(slot + 1)).numpy().tobytes()
    message = {"kind": "load", "how": how, "count": slots, "stride": stride, "tensors": [where.document() for where in places]}
    assert "failure" not in made.answer(message, segment)
    return segment


def run(made: Worker) -> tuple[dict[str, Any], bytes, bytes]:
    (z, x, y), size = lay_out([(name, "float32", (2, 3)) for name in "zxy"])
    segment = Segment.make(size)
    message = {"kind": "run", "slot": 0, "symbols": SYMBOLS, "outputs": [z.document()], "echo": [x.document(), y.document()]}
    return made.answer(message, segment), segment.read(z), segment.read(x)


def values(data: bytes) -> list[float]:
    import struct

    return list(struct.unpack(f"{len(data) // 4}f", data))


def test_a_candidate_is_built_fed_and_run(tmp_path: Path) -> None:
    made = worker(tmp_path)
    fed(made)
    reply, output, echo = run(made)
    assert values(output) == [1.5] * 6
    assert values(echo) == [1.0] * 6
    assert reply["returned"] == [{"type": "Tensor", "dtype": "float32", "shape": [2, 3], "device": "cpu"}]
    assert reply["aliases"] == []


def test_aliases_of_inputs_and_of_earlier_outputs_are_told(tmp_path: Path) -> None:
    made = worker(tmp_path, "def scale_add(x, y):\n    return x\n")
    fed(made)
    assert [0, "input", 0] in run(made)[0]["aliases"]
    other = worker(tmp_path, "import torch\nheld = torch.zeros(2, 3)\ndef scale_add(x, y):\n    return held.copy_(x)\n")
    fed(other)
    run(other)
    assert [0, "earlier", 0] in run(other)[0]["aliases"]


def test_calls_are_armed_timed_and_collected(tmp_path: Path) -> None:
    made = worker(tmp_path)
    fed(made, 1, how="spare")
    fed(made, 3)
    (z,), stride = lay_out([("z", "float32", (2, 3))])
    segment = Segment.make(3 * stride)
    message = {"kind": "arm", "slots": [0, 1, 2], "stride": stride, "outputs": [z.document()], "symbols": SYMBOLS}
    assert "failure" not in made.answer(message, segment)
    clocks = made.answer({"kind": "time", "launch": "plain", "cache": "warm"}, None)
    assert clocks["inside"] > 0
    assert clocks["launch"] == "call"
    first = [values(bytes(segment.memory[slot * stride : slot * stride + 4]))[0] for slot in range(3)]
    assert first == [1.5, 3.0, 4.5]
    assert made.answer({"kind": "collect"}, None)["returned"][0][0]["shape"] == [2, 3]
    assert "failure" in made.answer({"kind": "time", "launch": "plain", "cache": "warm"}, None)


def test_an_output_of_another_form_is_not_copied(tmp_path: Path) -> None:
    made = worker(tmp_path, "def scale_add(x, y):\n    return x.double() + 1\n")
    fed(made)
    reply, output, _ = run(made)
    assert reply["returned"][0]["dtype"] == "float64"
    assert output == bytes(24)


def test_a_task_with_parameters_needs_a_class(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(HONEST)
    made = Worker(str(tmp_path), str(tmp_path))
    order = {"language": "pytorch", "entries": ["scale_add"], "file": "a.py", "attributes": {}, "symbols": [], "device": "cpu"}
    assert made.answer({"kind": "build", "order": order, "stateful": True}, None)["failure"] == "import_error"


@pytest.mark.parametrize(
    ("error", "phase", "kind"),
    [
        (MemoryError(), "run", "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried"), "run", "out_of_memory"),
        (OSError(28, "No space left on device"), "run", "resource_limit"),
        (BlockingIOError(11, "x"), "run", "resource_limit"),
        (RuntimeError("can't start new thread"), "run", "resource_limit"),
        (loaders.CompileError("x"), "build", "compile_error"),
        (loaders.LaunchError("x"), "run", "launch_error"),
        (RuntimeError("CUDA error: invalid configuration argument"), "run", "launch_error"),
        (ModuleNotFoundError("x"), "build", "import_error"),
        (ValueError("x"), "run", "crash"),
        (SystemExit(0), "run", "crash"),
    ],
)
def test_exceptions_have_failure_classes(error: BaseException, phase: str, kind: str) -> None:
    assert failure_of(error, phase) == kind
