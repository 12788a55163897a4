"""The categories hold no number that does not say what it is."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any

import pytest
from pydantic import ValidationError

from mosaic.evidence import categories, optional, packet
from mosaic.evidence.categories import FAILURES, Failed, GoodCheck, Seed
from mosaic.evidence.record import Record
from tests.evidence import samples

RECORDS = {
    record
    for module in (categories, optional, packet)
    for _, record in inspect.getmembers(module, inspect.isclass)
    if issubclass(record, Record) and record.__module__ == module.__name__
}


def types_in(annotation: Any) -> set[Any]:
    """Every type in an annotation, at any depth."""
    if typing.get_origin(annotation) is None and not isinstance(annotation, types.UnionType):
        return {annotation}
    return {found for part in typing.get_args(annotation) for found in types_in(part)}


def test_every_figure_is_labelled() -> None:
    assert len(RECORDS) > 30
    bare = [
        (record.__name__, name) for record in RECORDS for name, field in record.model_fields.items() if float in types_in(field.annotation)
    ]
    assert bare == []


def test_bare_numbers_would_be_seen() -> None:
    assert float in types_in(dict[str, tuple[float, ...] | None])


def test_failure_classes_are_described() -> None:
    assert all(name.isidentifier() and text for name, text in FAILURES.items())
    assert len(set(FAILURES.values())) == len(FAILURES)


def test_a_failed_validation_has_a_failed_check() -> None:
    with pytest.raises(ValidationError, match="no check that failed"):
        Failed(outcome="fail", method="float64 reference", checks=(samples.good_check(),))


def test_a_seed_keeps_its_commitment() -> None:
    with pytest.raises(ValidationError, match="is not the commitment"):
        Seed(commitment="0" * 64, revealed="x")


@pytest.mark.parametrize("update", [{"trial": -1}, {"case": ""}, {"case": "two\nlines"}, {"nans": 2**53}, {"trial": 1.5}, {"error": 0.25}])
def test_fields_are_checked(update: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GoodCheck(**{**samples.good_check().document(), **update})
