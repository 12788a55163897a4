"""Numbers with their units as people read them: `12.5 us`, `1.98 GHz`, `150 GB`, `1.31 (1.28 to 1.35)`."""

from __future__ import annotations

from typing import Final

from mosaic.evidence.record import Measured, Stated

_PREFIXES: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))
_SCALED: Final = frozenset(("s", "B", "B/s", "FLOP/s", "OP/s", "Hz", "J", "W"))


def scale(value: float, unit: str) -> tuple[float, str]:
    """The factor and the unit in which a value of this size is best written: 1e-5 s gives (1e-6, "us")."""
    if unit not in _SCALED or value == 0:
        return 1.0, unit
    fitting = (item for item in _PREFIXES if abs(value) >= item[0] and (unit != "B" or item[0] >= 1))
    factor, prefix = next(fitting, (1.0 if unit == "B" else 1e-9, "" if unit == "B" else "n"))
    return factor, prefix + unit


def digits(value: float) -> str:
    """Four digits that count; whole numbers whole, with commas."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.3e}"


def quantity(value: float, unit: str) -> str:
    """A value with its unit; 1 stands for none."""
    factor, name = scale(value, unit)
    return digits(value / factor) if name == "1" else f"{digits(value / factor)} {name}"


def figure(found: Measured | Stated | None) -> str:
    """A figure with its interval, in one unit; its label where it was not measured. Nothing for None."""
    if found is None:
        return ""
    factor, name = scale(found.value, found.unit)
    text = digits(found.value / factor)
    if found.interval is not None:
        low, high = (digits(end / factor) for end in found.interval)
        text += f" ({low} to {high})"
    return text if name == "1" else f"{text} {name}"
