"""Curves as text: two by four dots a character, with the range and the steps at the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from setvae_cli import numbers
from setvae_cli.reports.watch.lines import Line, Part
from setvae_cli.reports.watch.series import Series, steps_of

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK = 0x2800
LABEL = 8


@dataclass(frozen=True)
class Curve:
    """A series and how it is drawn.

    Attributes:
        name: In the legend.
        series: Its values.
        style: Its colour.
    """

    name: str
    series: Series
    style: str | None


def figure(value: float) -> str:
    """A number with about four digits.

    >>> figure(12345.6), figure(12.3456), figure(0.84213), figure(0.0000123), figure(0)
    ('12 346', '12.35', '0.842', '1.2e-05', '0')
    """
    size = abs(value)
    if size >= 1e7 or 0 < size < 5e-4:
        return f"{value:.1e}"
    if value == round(value) or size >= 1000:
        return numbers.count(value)
    return f"{value:.1f}" if size >= 100 else f"{value:.2f}" if size >= 10 else f"{value:.3f}"


def chart(
    curves: Sequence[Curve],
    columns: int,
    rows: int,
    *,
    steps: tuple[float, float],
    bounds: tuple[float, float] | None = None,
) -> list[Line]:
    """Curves over steps, `rows` high, with an axis line below.

    Args:
        curves: What is drawn; later ones stand in front.
        columns: Width, labels included.
        rows: Height without the axis, at least 2.
        steps: First and last step.
        bounds: Lowest and highest value; None: those of the curves.
    """
    low, high = bounds or _bounds(curves)
    body = dots(curves, columns - LABEL - 2, rows, steps=steps, bounds=(low, high))
    labels = {0: figure(high), rows - 1: figure(low)} if high > low else {rows // 2: figure(low)}
    lines: list[Line] = [
        [(f"{labels.get(row, '')[:LABEL]:>{LABEL}} ", None), ("│", None), *line]
        for row, line in enumerate(body)
    ]
    first, last = (numbers.count(step) for step in steps)
    room = columns - LABEL - 1 - len(last)
    axis = f"{'step':>{LABEL}} {first:<{max(room, len(first) + 1)}}{last}"
    return [*lines, [(axis, None)]]


def dots(
    curves: Sequence[Curve],
    columns: int,
    rows: int,
    *,
    steps: tuple[float, float],
    bounds: tuple[float, float] | None = None,
) -> list[Line]:
    """The curves alone."""
    columns = max(columns, 1)
    low, high = bounds or _bounds(curves)
    cells: dict[tuple[int, int], tuple[int, str | None]] = {}
    for curve in curves:
        for x, bottom, top in _spans(curve.series, 2 * columns, 4 * rows, steps, (low, high)):
            for y in range(bottom, top + 1):
                place = (rows - 1 - y // 4, x // 2)
                held = cells.get(place, (0, None))[0]
                cells[place] = held | _DOTS[x % 2][3 - y % 4], curve.style
    return [_merged([cells.get((row, column)) for column in range(columns)]) for row in range(rows)]


def _bounds(curves: Sequence[Curve]) -> tuple[float, float]:
    buckets = [bucket for curve in curves for bucket in curve.series.buckets]
    if not buckets:
        return 0.0, 0.0
    return min(each.low for each in buckets), max(each.high for each in buckets)


def _spans(
    series: Series, width: int, height: int, steps: tuple[float, float], bounds: tuple[float, float]
) -> list[tuple[int, int, int]]:
    """Columns with their lowest and highest dot, from the first value to the last, without gaps."""
    begin, reach = steps[0], steps[1] - steps[0]

    def column(step: float) -> int:
        share = (step - begin) / reach if reach > 0 else 1.0
        return min(max(int(share * (width - 1) + 0.5), 0), width - 1)

    def row(value: float) -> int:
        if bounds[1] <= bounds[0]:
            return (height - 1) // 2
        share = (value - bounds[0]) / (bounds[1] - bounds[0])
        return min(max(int(share * (height - 1) + 0.5), 0), height - 1)

    found: list[tuple[int, int, int]] = []
    before: tuple[int, int] | None = None
    for bucket in series.buckets:
        x, bottom, top = column(bucket.first_step), row(bucket.low), row(bucket.high)
        if before is not None:
            found += _joined(before, (x, row(bucket.first)))
        found.append((x, bottom, top))
        before = column(bucket.last_step), row(bucket.last)
    return found


def _joined(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int, int]]:
    """The dots of a straight line between two others."""
    (left, from_row), (right, to_row) = start, end
    if right <= left:
        return [(right, min(from_row, to_row), max(from_row, to_row))]
    slope = (to_row - from_row) / (right - left)
    found, previous = [], from_row
    for x in range(left + 1, right + 1):
        y = math.floor(from_row + slope * (x - left) + 0.5)
        found.append((x, min(previous, y), max(previous, y)))
        previous = y
    return found


def _merged(cells: Sequence[tuple[int, str | None] | None]) -> list[Part]:
    """Cells as text, neighbours of one style together."""
    parts: list[Part] = []
    for cell in cells:
        pattern, style = cell or (0, parts[-1][1] if parts else None)
        text = chr(_BLANK + pattern) if pattern else " "
        if parts and parts[-1][1] == style:
            parts[-1] = parts[-1][0] + text, style
        else:
            parts.append((text, style))
    return parts


def range_of(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """First and last step of curves; None without a value."""
    return steps_of([curve.series for curve in curves])
