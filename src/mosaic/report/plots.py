"""Samples as pictures: how they are distributed, and each in the order in which it was taken. SVG, in colours that the page sets.

    plot([("fused", samples, (low, high)), ("unfused", others, None)], unit="s", noise=0.01)

Above, for each program, the share of samples up to a time. Below, a strip for each: every sample as a dot, the first at the top, so that
drift shows; the median as a line, its interval as a band, and around it, hatched, the noise floor.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Final

from mosaic.report.markup import Markup, join, tag
from mosaic.report.quantities import digits, quantity, scale

Series = tuple[str, Sequence[float], tuple[float, float] | None]
"""A program's name, its samples in order, and the interval of their median (in the same unit), if it is known."""

_Place = Callable[[float], float]

WIDTH: Final = 1100
LEFT: Final = 240
RIGHT: Final = 24
ECDF: Final = 170
STRIP: Final = 74
REACH: Final = 4.0
"""How many widths of the middle half beyond it are drawn to scale; samples further out are marked at the edge."""


def plot(series: Sequence[Series], unit: str, noise: float | None = None) -> Markup:
    """The picture. noise: the noise floor relative to a median. There must be a program, and each must have a sample."""
    low, high = limits([values for _, values, _ in series])
    top = 26
    axis = top + ECDF + 12
    height = axis + 50 + STRIP * len(series)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (min(max(value, low), high) - low) / (high - low)

    factor, name = scale(high, unit)
    drawn: list[Markup | list[Markup]] = [
        _grid(low, high, factor, x, top, height),
        tag("text", f"time in {name}" if unit == "s" else name, x=WIDTH - RIGHT, y=height - 4, class_="right dim"),
        tag("text", "share of samples", x=LEFT - 8, y=top - 10, class_="right dim"),
        [tag("text", f"{share} %", x=LEFT - 8, y=top + ECDF * (1 - share / 100) + 4, class_="right dim") for share in (0, 50, 100)],
        [_steps(values, x, top, index) for index, (_, values, _) in enumerate(series)],
        [_strip(each, x, axis + 24 + STRIP * index, index, unit, noise, (low, high)) for index, each in enumerate(series)],
    ]
    label = "; ".join(f"{name}: median {quantity(statistics.median(values), unit)}" for name, values, _ in series)
    return tag("svg", *drawn, class_="plot", viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)


def limits(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """From where to where the axis goes: all samples, but for those far beyond the middle half of their program's."""
    ends: list[float] = []
    for values in samples:
        ordered = sorted(values)
        first, third = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4 if len(ordered) > 1 else 0]
        reach = REACH * max(third - first, 0.005 * abs(statistics.median(ordered)))
        ends += [value for value in ordered if first - reach <= value <= third + reach]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends, three to seven of them."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _grid(low: float, high: float, factor: float, x: _Place, top: float, height: float) -> Markup:
    drawn: list[Markup] = []
    for value in ticks(low / factor, high / factor):
        place = x(value * factor)
        drawn.append(tag("line", x1=place, x2=place, y1=top, y2=height - 38, class_="grid"))
        drawn.append(tag("text", digits(float(f"{value:.6g}")), x=place, y=height - 24, class_="dim"))
    return join(drawn)


def _steps(values: Sequence[float], x: _Place, top: float, index: int) -> Markup:
    ordered = sorted(values)
    path = [f"M{x(ordered[0]):.1f},{top + ECDF:.1f}"]
    for position, value in enumerate(ordered, start=1):
        path.append(f"H{x(value):.1f}V{top + ECDF * (1 - position / len(ordered)):.1f}")
    return tag("path", d="".join(path), class_="steps", style=_hue(index))


def _strip(series: Series, x: _Place, top: float, index: int, unit: str, noise: float | None, ends: tuple[float, float]) -> Markup:
    name, values, interval = series
    median = statistics.median(values)
    inside, bottom = STRIP - 14, top + STRIP - 14
    parts: list[Markup] = []
    if noise is not None:
        a, b = x(median * (1 - noise)), x(median * (1 + noise))
        parts.append(tag("rect", tag("title", f"noise floor: {100 * noise:.2g} %"), x=a, y=top, width=b - a, height=inside, class_="noise"))
    if interval is not None:
        a, b = x(interval[0]), x(interval[1])
        text = f"interval of the median: {quantity(interval[0], unit)} to {quantity(interval[1], unit)}"
        parts.append(tag("rect", tag("title", text), x=a, y=top, width=max(b - a, 1.0), height=inside, class_="interval"))
    for position, value in enumerate(values):
        y = top + inside * (position + 0.5) / len(values)
        parts.append(_dot(x(value), y, f"sample {position + 1}: {quantity(value, unit)}", (value > ends[1]) - (value < ends[0])))
    parts.append(tag("line", x1=x(median), x2=x(median), y1=top - 3, y2=bottom + 3, class_="median"))
    low, high = [value for value in values if value < ends[0]], [value for value in values if value > ends[1]]
    farthest = " and ".join(quantity(value, unit) for value in (*sorted(low)[:1], *sorted(high)[-1:]))
    return tag(
        "g",
        parts,
        tag("text", _cut(name), x=LEFT - 8, y=top + 16, class_="right"),
        tag("text", f"median {quantity(median, unit)}", x=LEFT - 8, y=top + 32, class_="right dim"),
        tag("text", f"{len(low + high)} beyond, to {farthest}", x=LEFT - 8, y=top + 48, class_="right dim") if farthest else None,
        style=_hue(index),
    )


def _dot(x: float, y: float, text: str, side: int) -> Markup:
    """A sample; a triangle at the edge if it is beyond the axis: before it (-1) or after it (1)."""
    title = tag("title", text)
    if side:
        path = f"M{x - 4 * side:.1f},{y - 3.5:.1f}L{x + 3 * side:.1f},{y:.1f}L{x - 4 * side:.1f},{y + 3.5:.1f}Z"
        return tag("path", title, d=path, class_="beyond")
    return tag("circle", title, cx=x, cy=y, r=2.4, class_="dot")


def _cut(name: str) -> str:
    return name if len(name) <= 34 else f"{name[:33]}…"


def _hue(index: int) -> str:
    return f"--h:{(215, 25, 150, 285, 340, 55)[index % 6]}"
