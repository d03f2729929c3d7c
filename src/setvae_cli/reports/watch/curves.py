"""The curves of a run: charts where there is room, else a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from setvae_cli.reports.watch.course import Course
from setvae_cli.reports.watch.lines import (
    GAP,
    TRAIN,
    VALIDATION,
    Line,
    beside,
    clipped,
    width,
)
from setvae_cli.reports.watch.plot import Curve, chart, dots, figure, range_of

LEAST, BEST, MOST = 3, 6, 9  # rows of a chart without its title and its axis
AROUND = 2  # the title and the axis
BEGINNING, FLATTENED = 0.1, 3.0  # share of the steps; times that it is larger than all later
NARROWEST = 8  # columns of a curve one line high
_SHORT = {"train": "train", "validation": "val"}


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: What it shows, with its unit.
        curves: Those that hold values.
        bounds: Lowest and highest value; None: those of the curves.
    """

    title: str
    curves: tuple[Curve, ...]
    bounds: tuple[float, float] | None = None


def curves_block(course: Course, columns: int, rows: int | None, *, wide: bool) -> list[Line]:
    """As many charts as fit, and the other curves as one line each.

    Args:
        course: What was logged.
        columns: Width.
        rows: Height; None for charts of all.
        wide: Whether two stand side by side.
    """
    panels = panels_of(course)
    steps = range_of([curve for panel in panels for curve in panel.curves])
    if not panels or steps is None:
        return []
    abreast = 2 if wide else 1
    charts, height = _fitted(len(panels), abreast, rows)
    each = (columns - GAP) // 2 if wide else columns
    big = [_chart(panel, each, height, steps) for panel in panels[: charts * abreast]]
    small = _sparks(panels[charts * abreast :], each, steps)
    lines: list[Line] = []
    for block in (big, [[line] for line in small]):
        for place in range(0, len(block), abreast):
            pair = block[place : place + abreast]
            lines += beside(pair[0], pair[1], columns) if len(pair) == 2 else pair[0]
            lines += [[]] * (rows is None and block is big)
    return lines[:-1] if rows is None else lines[: max(rows, 0)]


def panels_of(course: Course) -> tuple[Panel, ...]:
    """Charts that have something to show, what matters first."""
    several = len(course.levels) > 1
    panels = [
        _panel(course, "loss", "train_loss_step", "val_loss"),
        _panel(course, "KL, nats a set", "train_kl_step", "val_kl"),
    ]
    for level in course.levels:
        at = f", level {level}" if several else ""
        latent = course.latest.get(f"val_latent_level_{level}")
        panels.append(_of_level(course, f"active units{at}", "active_units", level, latent))
    panels += [_panel(course, "AUC", "", "val_auc"), _panel(course, "beta", "train_beta_step", "")]
    for level in course.levels:
        at = f", level {level}" if several else ""
        panels.append(_of_level(course, f"decoder gap, nats{at}", "decoder_gap", level))
        panels.append(_of_level(course, f"information, nats{at}", "information", level))
    return tuple(panel for panel in panels if panel.curves)


def _of_level(
    course: Course, title: str, name: str, level: int, most: float | None = None
) -> Panel:
    train, validation = (f"{split}_{name}_level_{level}" for split in ("train", "val"))
    return _panel(course, title, train, validation, None if most is None else (0.0, most))


def _panel(
    course: Course,
    title: str,
    train: str,
    validation: str,
    bounds: tuple[float, float] | None = None,
) -> Panel:
    named = (("train", train, TRAIN), ("validation", validation, VALIDATION))
    curves = tuple(
        Curve(name, course.series[tag], style) for name, tag, style in named if tag in course.series
    )
    return Panel(title, curves, bounds)


def _fitted(panels: int, abreast: int, rows: int | None) -> tuple[int, int]:
    """How many rows of charts there are, and how high a chart is."""
    blocks = -(-panels // abreast)
    if rows is None:
        return blocks, BEST
    for charts in range(blocks, 0, -1):
        rest = max(0, panels - charts * abreast)
        room = rows - -(-rest // abreast)
        if room >= charts * (LEAST + AROUND):
            return charts, min(MOST, room // charts - AROUND)
    return (1, LEAST) if rows >= LEAST + AROUND else (0, 0)


def _chart(panel: Panel, columns: int, rows: int, steps: tuple[float, float]) -> list[Line]:
    title: Line = [(panel.title, None)]
    for curve in panel.curves:
        last = curve.series.last
        assert last is not None
        title.append((f"   {curve.name} {figure(last)}", curve.style))
    bounds = panel.bounds or _later_bounds(panel.curves, steps)
    if bounds is not None and bounds != panel.bounds:
        title.append((f"   from {figure(panel.curves[0].series.buckets[0].first)}", None))
    drawn = chart(panel.curves, columns, rows, steps=steps, bounds=bounds)
    return [clipped(title, columns), *drawn]


def _later_bounds(
    curves: Sequence[Curve], steps: tuple[float, float]
) -> tuple[float, float] | None:
    """The range behind the first tenth, where the beginning would flatten it; else None."""
    whole = [bucket for curve in curves for bucket in curve.series.buckets]
    start = steps[0] + BEGINNING * (steps[1] - steps[0])
    later = [bucket for bucket in whole if bucket.first_step >= start]
    if not later:
        return None
    low, high = min(each.low for each in later), max(each.high for each in later)
    reach = max(each.high for each in whole) - min(each.low for each in whole)
    return (low, high) if 0 < FLATTENED * (high - low) < reach else None


def _sparks(panels: Sequence[Panel], columns: int, steps: tuple[float, float]) -> list[Line]:
    """A line a panel: its title, newest value, range, and its curve one line high."""
    told = [_told(panel) for panel in panels]
    title, value, span = (max((len(row[place]) for row in told), default=0) for place in range(3))
    lines: list[Line] = []
    for panel, row in zip(panels, told, strict=True):
        curve = panel.curves[-1]
        line: Line = [(f"{row[0]:<{title}}  ", None), (f"{row[1]:>{value}}", curve.style)]
        line.append((f"   {row[2]:<{span}}  ", None))
        room = columns - width(line)
        if room >= NARROWEST:
            line += dots([curve], room, 1, steps=steps, bounds=panel.bounds)[0]
        lines.append(clipped(line, columns))
    return lines


def _told(panel: Panel) -> tuple[str, str, str]:
    curve = panel.curves[-1]
    last, low, high = curve.series.last, curve.series.lowest, curve.series.highest
    assert last is not None
    assert low is not None
    assert high is not None
    value = f"{_SHORT[curve.name]} {figure(last):>6}"
    return panel.title, value, f"{figure(low[0])} to {figure(high[0])}"
