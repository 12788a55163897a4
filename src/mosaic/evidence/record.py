"""What every record of a packet shares: it is frozen and strict, and a figure never comes without its unit and its label.

A record's document is what was written, no more: a field left out is not there, and null stands for nothing (it is refused).
"""

from __future__ import annotations

import statistics
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from mosaic.errors import InputError
from mosaic.evidence.canonical import dotted

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in lower-case hexadecimal."""

Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
"""Not blank."""

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
"""One line, no blanks at its ends."""

Unit = Annotated[str, Field(pattern=r"^[A-Za-z0-9%][A-Za-z0-9%/*^.-]{0,31}$")]
"""SI symbols in ASCII: s, us, B, B/s, FLOP/s, J, W, Hz, degC, token/s; 1 for what has none."""

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]


def refusal(message: str) -> ValueError:
    """An error for a validator to raise; what follows is said of the record: "has ...", "is ..."."""
    return ValueError(message)


def _is_a_moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise refusal(f"is {text!r}, which is no date and time") from None
    return text


Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"), AfterValidator(_is_a_moment)]
"""UTC to the microsecond, always with six decimals, as 2026-11-05T09:30:00.000000Z: so order in time is order of text."""


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="after")
    def _null_is_nothing(self, info: ValidationInfo) -> Self:
        """Python: None means that the field isn't there. A document: null is refused, as it would be one more way to say that."""
        nulls = [name for name in type(self).model_fields if name in self.model_fields_set and getattr(self, name) is None]
        if nulls and info.mode == "json":
            raise refusal(f"has {nulls[0]} as null; leave out what there isn't")
        self.__pydantic_fields_set__.difference_update(nulls)
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What `model_copy` set to None isn't there either."""
        written: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        return {name: value for name, value in written.items() if value is not None or name not in fields}

    def document(self) -> dict[str, Any]:
        """The record as JSON values, tuples for arrays: the fields that were set, and no others."""
        return self.model_dump(mode="python", exclude_unset=True)


class Measured(Record):
    """A figure that was measured in the run of this packet."""

    label: Literal["measured"]
    value: float
    unit: Unit
    interval: tuple[float, float] | None = None
    """Low and high, in the same unit."""
    how: Text | None = None
    """With which instrument or method, and what the interval means."""

    @model_validator(mode="after")
    def _interval_is_ordered(self) -> Self:
        _check_order(self)
        return self


class Stated(Record):
    """A figure that was not measured here, and what it rests on."""

    label: Literal["derived", "proxy", "source-reported"]
    value: float
    unit: Unit
    interval: tuple[float, float] | None = None
    """Low and high, in the same unit."""
    how: Text
    """derived: from which other figures, by which formula; proxy: what it stands for; source-reported: who says so, where."""

    @model_validator(mode="after")
    def _interval_is_ordered(self) -> Self:
        _check_order(self)
        return self


def _check_order(figure: Measured | Stated) -> None:
    if figure.interval is not None and figure.interval[0] > figure.interval[1]:
        raise refusal(f"has the interval {figure.interval[0]:g} to {figure.interval[1]:g}; the low end comes first")


Figure = Annotated[Measured | Stated, Field(discriminator="label")]
"""A number with its unit, and whether it was measured, derived, is a proxy, or is what a source reports."""


def measured(value: float, unit: str, *, interval: tuple[float, float] | None = None, how: str | None = None) -> Measured:
    """A measured figure."""
    return Measured(label="measured", value=value, unit=unit, interval=interval, how=how)


def derived(value: float, unit: str, how: str, *, interval: tuple[float, float] | None = None) -> Stated:
    """A figure computed from others; `how` names them and the formula."""
    return Stated(label="derived", value=value, unit=unit, interval=interval, how=how)


class Samples(Record):
    """Every sample of a measurement, in the order in which they were taken."""

    label: Literal["measured"]
    unit: Unit
    values: Annotated[tuple[float, ...], Field(min_length=1)]

    def check_median(self, median: Measured | Stated) -> None:
        """Refuse a median that these samples don't have: same unit, equal to 1 part in a million."""
        if median.unit != self.unit:
            raise refusal(f"has samples in {self.unit} but a median in {median.unit}; use one unit")
        true = statistics.median(self.values)
        if abs(median.value - true) > 1e-6 * abs(true):
            raise refusal(f"has the median {median.value!r}, but that of its samples is {true!r}")


def explain(error: ValidationError, document: Any, what: str) -> InputError:
    """pydantic's first complaint as one sentence: what is malformed, at which place of the document, why."""
    first = error.errors(include_url=False)[0]
    path: list[str | int] = []
    place = document
    for part in first["loc"]:
        inside = place
        try:
            place = inside[part]
        except (KeyError, IndexError, TypeError):
            continue  # the tag of a union, which is no place
        path.append(part)
    kind, message = first["type"], first["msg"]
    if kind == "missing":
        path.append(first["loc"][-1])
        message = "it is missing"
    elif kind == "extra_forbidden":
        message = "there is no such field"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        context = first["ctx"]
        tag, known = str(context["discriminator"]).strip("'"), context.get("expected_tags")
        message = f"its {tag} is {context['tag']!r}, not one of {known}" if known else f"it has no {tag}"
    elif kind == "value_error":
        message = f"it {first['ctx']['error']}"
    else:
        message = message[0].lower() + message[1:]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InputError(f"{what} is malformed at {dotted(tuple(path))}: {message}{more}")
