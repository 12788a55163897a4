"""Figures never come without unit and label, and what is not there is not written."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mosaic.evidence.record import Figure, Measured, Moment, Name, Record, Samples, Unit, derived, explain, measured

FIGURES: TypeAdapter[Any] = TypeAdapter(Figure)


class Inner(Record):
    name: Name
    count: int | None = None


class Outer(Record):
    inner: Inner
    many: tuple[Inner, ...] | None = None
    figure: Figure | None = None


OUTER = TypeAdapter(Outer)


def complaint(text: str, document: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        OUTER.validate_json(text)
    return str(explain(caught.value, document, "the thing"))


def test_figures() -> None:
    assert FIGURES.validate_json('{"label":"measured","value":3,"unit":"us"}') == measured(3.0, "us")
    text = '{"label":"derived","value":2,"unit":"1","how":"a / b"}'
    assert FIGURES.validate_json(text) == derived(2, "1", "a / b")


@pytest.mark.parametrize(
    "text",
    [
        '{"value":3,"unit":"us"}',
        '{"label":"guessed","value":3,"unit":"us"}',
        '{"label":"measured","value":3}',
        '{"label":"measured","value":"3","unit":"us"}',
        '{"label":"measured","value":true,"unit":"us"}',
        '{"label":"measured","value":3,"unit":""}',
        '{"label":"measured","value":3,"unit":"per second"}',
        '{"label":"measured","value":3,"unit":"us","interval":[2,1]}',
        '{"label":"measured","value":3,"unit":"us","interval":[1]}',
        '{"label":"proxy","value":3,"unit":"J"}',
        '{"label":"source-reported","value":3,"unit":"J","how":" "}',
        '{"label":"measured","value":NaN,"unit":"us"}',
    ],
)
def test_figures_that_tell_too_little(text: str) -> None:
    with pytest.raises(ValidationError):
        FIGURES.validate_json(text)


def test_none_is_not_written_and_null_is_refused() -> None:
    assert Inner(name="a", count=None).document() == {"name": "a"} == Inner(name="a").document()
    assert Inner(name="a", count=None) == Inner(name="a")
    assert OUTER.validate_json('{"inner":{"name":"a","count":1}}').document() == {"inner": {"name": "a", "count": 1}}
    document = {"inner": {"name": "a", "count": None}}
    assert complaint('{"inner":{"name":"a","count":null}}', document) == (
        "the thing is malformed at inner: it has count as null; leave out what there isn't"
    )


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        measured(1, "s").value = 2


@pytest.mark.parametrize(
    ("text", "document", "message"),
    [
        ('{"inner":{}}', {"inner": {}}, "the thing is malformed at inner.name: it is missing"),
        ("{}", {}, "the thing is malformed at inner: it is missing"),
        ('{"inner":{"name":"a","size":1}}', {"inner": {"name": "a", "size": 1}}, "at inner.size: there is no such field"),
        ('{"inner":{"name":7}}', {"inner": {"name": 7}}, "at inner.name: input should be a valid string"),
        (
            '{"inner":{"name":"a"},"many":[{"name":"b"},{"name":""}]}',
            {"inner": {"name": "a"}, "many": [{"name": "b"}, {"name": ""}]},
            "at many[1].name: string should have at least 1 character",
        ),
        (
            '{"inner":{"name":"a"},"figure":{"label":"guess"}}',
            {"inner": {"name": "a"}, "figure": {"label": "guess"}},
            "at figure: its label is 'guess', not one of 'measured', 'derived', 'proxy', 'source-reported'",
        ),
        ('{"inner":{"name":"a"},"figure":{}}', {"inner": {"name": "a"}, "figure": {}}, "at figure: it has no label"),
        (
            '{"inner":{"name":"a"},"figure":{"label":"measured","value":1}}',
            {"inner": {"name": "a"}, "figure": {"label": "measured", "value": 1}},
            "at figure.unit: it is missing",
        ),
        ('{"inner":{},"size":1}', {"inner": {}, "size": 1}, "(and 1 more)"),
    ],
)
def test_complaints_are_sentences_that_name_the_place(text: str, document: Any, message: str) -> None:
    assert message in complaint(text, document)


def test_medians_are_those_of_the_samples() -> None:
    samples = Samples(label="measured", unit="us", values=(3.0, 1.0, 2.0, 10.0))
    samples.check_median(measured(2.5, "us"))
    with pytest.raises(ValueError, match=r"has the median 2.0, but that of its samples is 2.5"):
        samples.check_median(measured(2, "us"))
    with pytest.raises(ValueError, match="use one unit"):
        samples.check_median(measured(2.5, "s"))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2026-11-05T09:30:00.000000Z", True),
        ("2026-11-05T09:30:00Z", False),
        ("2026-11-05T09:30:00.000000+01:00", False),
        ("2026-13-05T09:30:00.000000Z", False),
        ("2026-02-30T09:30:00.000000Z", False),
        ("2026-11-05T09:30:00.000000Z\n", False),
        ("٢026-11-05T09:30:00.000000Z", False),
    ],
)
def test_moments(text: str, right: bool) -> None:
    moments: TypeAdapter[str] = TypeAdapter(Moment)
    if right:
        assert moments.validate_python(text) == text
    else:
        with pytest.raises(ValidationError):
            moments.validate_python(text)


@pytest.mark.parametrize("unit", ["s", "us", "B/s", "1", "%", "FLOP/s", "kWh", "m^2", "degC"])
def test_units(unit: str) -> None:
    assert TypeAdapter(Unit).validate_python(unit) == unit


def test_a_record_takes_what_it_says_and_nothing_else() -> None:
    with pytest.raises(ValidationError):
        Measured(label="measured", value="1", unit="s")  # type: ignore[arg-type]
