"""Numbers as people read them."""

from __future__ import annotations

import pytest

from mosaic.evidence.record import derived, measured
from mosaic.report.quantities import figure, quantity


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.25e-5, "s", "12.5 us"),
        (0.5, "s", "500 ms"),
        (3.0, "s", "3 s"),
        (5e-10, "s", "0.5 ns"),
        (0.0, "s", "0 s"),
        (-2e-3, "s", "-2 ms"),
        (150e9, "B", "150 GB"),
        (0.25, "B", "0.25 B"),
        (1.98e9, "Hz", "1.98 GHz"),
        (4.2e12, "FLOP/s", "4.2 TFLOP/s"),
        (41.5, "degC", "41.5 degC"),
        (0.8926, "1", "0.8926"),
        (1234567, "1", "1,234,567"),
        (1e-9, "1", "1.000e-09"),
        (1.5e20, "1", "1.500e+20"),
    ],
)
def test_quantities(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


def test_figures_have_their_interval_in_the_same_unit() -> None:
    assert figure(measured(1.25e-5, "s", interval=(9e-7, 2e-5))) == "12.5 (0.9 to 20) us"
    assert figure(derived(2.0, "1", "a / b")) == "2"
    assert figure(None) == ""
