from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from mosaic.harness.bound import Bound
from mosaic.harness.comparing import SHARED_OUTPUT, Where, compared, judged
from mosaic.harness.oracle import Inputs, Question
from mosaic.harness.player import UNWRITTEN, Returned
from mosaic.harness.wire import Place

WHERE = Where("case", "normal", 0)
PLACE = Place("y", "float32", (3,), 0)
VALUE = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
BOUND = Bound(VALUE, torch.full((3,), 1e-3, dtype=torch.float64), "float32")
INPUT = (Place("x", "float32", (3,), 0), b"abcdefghijkl")
QUESTION = Question(Inputs({}, "normal", "k", (INPUT,)), {"y": BOUND})
SPECS = [("y", "float32", (3,))]
RIGHT: Mapping[str, Any] = {"type": "Tensor", "dtype": "float32", "shape": [3]}


def bytes_of(*values: float) -> bytes:
    return torch.tensor(values, dtype=torch.float32).numpy().tobytes()


def returned(data: bytes = b"", *, described: tuple[Mapping[str, Any], ...] = (RIGHT,), **more: Any) -> Returned:
    content = data or bytes_of(1.0, 2.0, 3.0)
    return Returned({"y": (PLACE, content)}, described, more.get("aliases", ()), more.get("echo", (INPUT[1],)))


def test_what_is_within_the_bound_is_right() -> None:
    (finding,) = judged(WHERE, QUESTION, returned(bytes_of(1.0005, 2.0, 3.0)), SPECS)
    assert finding.kind is None
    assert finding.conclusive
    assert finding.ratio == pytest.approx(0.5, rel=1e-3)
    assert finding.low == pytest.approx(1.0005)
    assert finding.high == 3.0


@pytest.mark.parametrize(
    ("values", "kind", "says"),
    [
        ((1.0, 2.01, 3.0), "mismatch", r"y\[1\] is 2.00999999, but must be 2 ± 0.001; 1 of 3"),
        ((1.0, 2.0, float("nan")), "nan", r"y\[2\]"),
        ((float("-inf"), 2.0, 3.0), "infinity", r"y\[0\]"),
    ],
)
def test_what_is_beyond_it_is_named_by_its_worst_element(values: tuple[float, ...], kind: str, says: str) -> None:
    import re

    (finding,) = judged(WHERE, QUESTION, returned(bytes_of(*values)), SPECS)
    assert finding.kind == kind
    assert re.match(says, finding.message)


def test_an_output_that_was_not_written_is_missing() -> None:
    (finding,) = judged(WHERE, QUESTION, returned(bytes([UNWRITTEN]) * 12), SPECS)
    assert finding.kind == "missing_output"


@pytest.mark.parametrize(
    ("described", "kind"),
    [
        ((), "missing_output"),
        (({"type": "str"},), "wrong_type"),
        (({**RIGHT, "shape": [1]},), "wrong_shape"),
        (({**RIGHT, "dtype": "float64"},), "wrong_dtype"),
        (({**RIGHT, "type": "Lazy", "subclass": True},), "cheat.lazy_tensor"),
        ((RIGHT, RIGHT), "wrong_type"),
    ],
)
def test_the_form_is_looked_at_before_the_values(described: tuple[Mapping[str, Any], ...], kind: str) -> None:
    (finding,) = judged(WHERE, QUESTION, returned(described=described), SPECS)
    assert finding.kind == kind
    assert finding.message


def test_inputs_must_be_as_they_were() -> None:
    (finding,) = judged(WHERE, QUESTION, returned(echo=(b"abcdefghijkL",)), SPECS)
    assert finding.kind == "input_mutated"
    assert "'x'" in finding.message


def test_outputs_have_memory_of_their_own() -> None:
    (one,) = judged(WHERE, QUESTION, returned(aliases=((0, "input", 0),)), SPECS)
    (other,) = judged(WHERE, QUESTION, returned(aliases=((0, "earlier", 0),)), SPECS)
    assert (one.kind, other.kind) == ("cheat.input_returned", SHARED_OUTPUT)


def test_a_loose_bound_says_nothing() -> None:
    loose = Bound(VALUE, torch.full((3,), 10.0, dtype=torch.float64), "float32")
    finding = compared(WHERE, "y", loose, PLACE, bytes_of(0.0, 0.0, 0.0))
    assert finding.kind is None
    assert not finding.conclusive
    assert "might not show" in finding.message


def test_an_empty_output_is_right() -> None:
    empty = torch.empty(0, dtype=torch.float64)
    assert compared(WHERE, "y", Bound(empty, empty, "float32"), Place("y", "float32", (0,), 0), b"").kind is None
