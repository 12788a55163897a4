from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mosaic.errors import InputError
from mosaic.harness.definition import load_definition
from mosaic.harness.oracle import Oracle, Question, packed, tensor_of
from mosaic.harness.wire import Place
from tests.harness.tasks import PUBLISHED, write_task

SYMBOLS = {"M": 4, "N": 6}


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[Oracle]:
    with Oracle(load_definition(write_task(tmp_path))) as made:
        yield made


def test_questions_come_with_bounds(oracle: Oracle) -> None:
    question = oracle.question(SYMBOLS, "normal", "key")
    assert isinstance(question, Question)
    x, y = (tensor_of(where.dtype, where.shape, data).double() for where, data in question.inputs.tensors)
    assert torch.equal(question.bounds["z"].value, 1.5 * x + y)
    assert question.explanations["z"]
    again = oracle.draw(SYMBOLS, "normal", "key")
    assert again is not None
    assert again.tensors == question.inputs.tensors
    assert question.inputs.bytes == 2 * 4 * 6 * 4


def test_inputs_of_ones_own_are_bounded(oracle: Oracle) -> None:
    drawn = oracle.draw(SYMBOLS, "integers", "key")
    assert drawn is not None
    bounds = oracle.bounds(drawn)
    question = oracle.question(SYMBOLS, "integers", "key")
    assert isinstance(question, Question)
    assert torch.equal(bounds["z"].value, question.bounds["z"].value)


def test_shapes(oracle: Oracle) -> None:
    assert oracle.inputs(SYMBOLS) == [("x", "float32", (4, 6)), ("y", "float32", (4, 6))]
    assert oracle.outputs(SYMBOLS) == [("z", "float32", (4, 6))]
    assert oracle.initialise("key").tensors == ()
    assert not oracle.initialise("key").stateful


def test_work_is_counted(oracle: Oracle) -> None:
    drawn = oracle.draw(SYMBOLS, "normal", "key")
    assert drawn is not None
    assert "how" in oracle.work(drawn)


def test_the_published_form(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PUBLISHED)
    with Oracle(load_definition(tmp_path / "net.py")) as oracle:
        initial = oracle.initialise("ab" * 32)
        assert initial.stateful
        assert initial.arguments == (16, 4)
        assert [where.name for where, _ in initial.tensors] == ["parameter:linear.weight", "parameter:linear.bias"]
        assert oracle.outputs({}) == [("output0", "float32", (8, 4))]
        assert isinstance(oracle.question({}, "published", "cd" * 32), Question)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("def reference(x, y, *, alpha):\n    raise ValueError('late')\n", "ValueError: late"),
        ("def reference(x, y, *, alpha):\n    return x[:1]\n", "follows from its registration"),
        ("import os\ndef reference(x, y, *, alpha):\n    os._exit(3)\n", "could not be run"),
    ],
)
def test_the_tasks_own_faults_are_errors_of_the_task(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(InputError, match=says), Oracle(load_definition(write_task(tmp_path, source=source))) as oracle:
        oracle.question(SYMBOLS, "normal", "key")


def test_tensors_are_packed() -> None:
    where = Place("x", "int16", (3,), 0)
    segment, places = packed([("x", where, b"abcdef"), ("y", where, b"ghijkl")])
    assert [segment.read(one) for one in places] == [b"abcdef", b"ghijkl"]
    assert tensor_of("float32", (0, 3), b"").shape == (0, 3)


def test_what_is_answered_ahead_is_the_same(oracle: Oracle) -> None:
    oracle.ahead(SYMBOLS, "normal", "one")
    oracle.ahead(SYMBOLS, "normal", "two")  # one at a time: this is not asked ahead
    first = oracle.question(SYMBOLS, "normal", "one")
    oracle.ahead(SYMBOLS, "normal", "three")
    other = oracle.question(SYMBOLS, "integers", "one")  # something else comes in between
    second = oracle.question(SYMBOLS, "normal", "three")
    assert isinstance(first, Question)
    assert isinstance(other, Question)
    assert isinstance(second, Question)
    for question in (first, second):
        again = oracle.question(SYMBOLS, "normal", question.inputs.key)
        assert isinstance(again, Question)
        assert again.inputs.tensors == question.inputs.tensors
        assert torch.equal(again.bounds["z"].error, question.bounds["z"].error)
    assert first.inputs.tensors != second.inputs.tensors
    assert not oracle.question(SYMBOLS, "normal", "one", explain=False).explanations["z"]  # type: ignore[union-attr]


@pytest.mark.parametrize("cores", [1, 8])
def test_several_bounds_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    """By this process's own oracle, or by two at the same time; whoever has seen enough may stop."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    (tmp_path / "net.py").write_text(PUBLISHED)
    with Oracle(load_definition(tmp_path / "net.py")) as oracle:
        oracle.initialise("ab" * 32)
        many = [oracle.draw({}, "published", f"{index}f" * 32) for index in range(5)]
        inputs = [one for one in many if one is not None]
        found = list(oracle.bounds_of(inputs))
        assert len(found) == 5
        for one, bounds in zip(inputs, found, strict=True):
            assert torch.equal(bounds["output0"].value, oracle.bounds(one)["output0"].value)
        some = oracle.bounds_of(inputs)
        next(some)
        some.close()
        assert list(oracle.bounds_of([])) == []
