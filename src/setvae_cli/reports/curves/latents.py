"""Panels on the use of latents: the monitor's figures a level, and the original's own numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from setvae_cli.monitor.legacy import CAVEATS
from setvae_cli.numbers import count
from setvae_cli.reports import figures
from setvae_cli.reports.curves.levels import figure, levels_of
from setvae_cli.reports.curves.panels import STEP, Paint, guide
from setvae_cli.reports.curves.readings import significant
from setvae_cli.reports.curves.series import Curves, Series
from setvae_cli.reports.curves.tags import RATIO
from setvae_cli.reports.figures import FAINT, PAPER, PENS, Key, Pen

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = ("latent_use", "Use of the latents")
_MOST_RATIOS = 3
_LEAST_SPAN = 0.1  # nats: less is nothing to the monitor, and must not fill a panel


@dataclass(frozen=True)
class Course:
    """One line of a panel: a level of a run."""

    run: Curves
    level: int
    pen: Pen

    def get(self, name: str, split: str = "") -> Series | None:
        """A figure of this level."""
        return figure(self.run, name, self.level, split)


def latent_panels(runs: Sequence[Curves]) -> list[Paint]:
    """Panels of what the logs hold; none where they hold nothing of the kind."""
    return [*_level_panels(runs), *_legacy_panels(runs)]


def latent_keys(run: Curves) -> list[Key]:
    """What the lines of a run by itself are called."""
    levels = list(zip(levels_of(run), PENS, strict=False))
    thin = any(figure(run, "kl", level, "train") for level, _ in levels)
    suffix = " (thin: window over training)" if thin else ""
    return [Key(f"level {level}{suffix}", pen, True) for level, pen in levels]


def _level_panels(runs: Sequence[Curves]) -> list[Paint]:
    """Four panels in which levels of one run meet, or for each level those of compared runs."""
    levels = sorted({level for run in runs for level in levels_of(run)})
    if len(runs) == 1:
        groups = [("", [Course(runs[0], *each) for each in zip(levels, PENS, strict=False)])]
    else:
        pens = list(zip(runs, PENS, strict=False))
        groups = [
            (
                f", level {level}" if len(levels) > 1 else "",
                [Course(run, level, pen) for run, pen in pens if level in levels_of(run)],
            )
            for level in levels
        ]
    makers = (_kl_panel, _active_panel, _information_panel, _gap_panel)
    return [maker(courses, suffix) for suffix, courses in groups if courses for maker in makers]


def _draw(axes: Axes, courses: Sequence[Course], name: str) -> bool:
    """Lines of a figure, of validation marked; whether any course has it."""
    drawn = False
    for course in courses:
        val, train = course.get(name, "val"), course.get(name, "train")
        if val is not None and train is not None:
            x, y = figures.thinned(train.steps, train.values)
            axes.plot(x, y, color=course.pen.colour, alpha=0.4, linewidth=0.9)
        main = val if val is not None else train
        if main is not None:
            figures.line(axes, main.steps, main.values, course.pen, marked=val is not None)
            drawn = True
    return drawn


def _kl_panel(courses: Sequence[Course], suffix: str) -> Paint:
    title = f"KL beside its floor{suffix}"

    def paint(axes: Axes) -> None:
        if not _draw(axes, courses, "kl"):
            figures.absent(axes, title, "not in this log")
            return
        figures.label(axes, title, STEP, "nats a set")
        _from_zero(axes, max(axes.get_ylim()[1], _LEAST_SPAN))
        _draw_floor(axes, courses)

    return paint


def _draw_floor(axes: Axes, courses: Sequence[Course]) -> None:
    """The floor: one line where it is one, steps where free bits were changed on the way."""
    found = [(course.pen, course.get("floor")) for course in courses]
    floors = [(pen, floor) for pen, floor in found if floor is not None]
    if not floors:
        return
    largest = max(float(floor.values.max()) for _, floor in floors)
    if largest == 0:
        _note(axes, "no free bits: the floor is 0")
        return
    axes.set_ylim(top=max(axes.get_ylim()[1], 1.2 * largest))
    if len({float(value) for _, floor in floors for value in floor.values}) == 1:
        guide(axes, largest, f"floor of free bits, {significant(largest)}")
        return
    for pen, floor in floors:
        x, y = figures.thinned(floor.steps, floor.values)
        axes.step(x, y, where="post", color=pen.colour, linewidth=0.9, linestyle=(0, (2, 2)))
    _note(axes, "finely dashed: floor of free bits")


def _active_panel(courses: Sequence[Course], suffix: str) -> Paint:
    title = f"Active units{suffix}"

    def paint(axes: Axes) -> None:
        if not _draw(axes, courses, "active_units"):
            figures.absent(axes, title, "not in this log")
            return
        figures.label(axes, title, STEP, "dimensions")
        sizes = [course.get("latent") for course in courses]
        most = {int(size.values[-1]) for size in sizes if size is not None}
        _from_zero(axes, 1.12 * max(most) if most else max(axes.get_ylim()[1], 1.0))
        for size in most:
            guide(axes, size, f"of {count(size)}")

    return paint


def _information_panel(courses: Sequence[Course], suffix: str) -> Paint:
    """The upper bound with its upper end, over the bracket of minibatches."""
    title = f"Information in the latents{suffix}"

    def paint(axes: Axes) -> None:
        drawn = _draw(axes, courses, "information")
        for course in courses:
            _band(axes, course, "information", "information_high", alpha=0.30)
            drawn |= _band(axes, course, "bracket_low", "bracket_high", alpha=0.14)
        if not drawn:
            figures.absent(axes, title, "not measured: too few subjects")
            return
        figures.label(axes, title, STEP, "nats a set")
        _from_zero(axes, 1.3 * max(axes.get_ylim()[1], _LEAST_SPAN))
        _note(axes, "line: upper bound, to its upper end; band: minibatch bracket, which saturates")

    return paint


def _gap_panel(courses: Sequence[Course], suffix: str) -> Paint:
    title = f"Decoder gap{suffix}"

    def paint(axes: Axes) -> None:
        drawn = _draw(axes, courses, "decoder_gap")
        for course in courses:
            drawn |= _band(axes, course, "decoder_gap_low", "decoder_gap_high", alpha=0.25)
        if not drawn:
            figures.absent(axes, title, "not measured")
            return
        figures.label(axes, title, STEP, "nats a set")
        low, high = axes.get_ylim()
        high = max(high, _LEAST_SPAN)
        room = 0.1 * (high - min(low, 0))
        axes.set_ylim(min(low, 0) - room, high + 3 * room)
        guide(axes, 0, "0: the decoder does without", under=True)
        _note(axes, "what another subject's latents cost, with its interval")

    return paint


def _from_zero(axes: Axes, top: float) -> None:
    """An axis from 0 with room for a line that lies there."""
    axes.set_ylim(-0.03 * top, top)


def _band(axes: Axes, course: Course, low: str, high: str, *, alpha: float) -> bool:
    """Fill between two figures of a level; whether both were logged."""
    below, above = course.get(low), course.get(high)
    if below is None or above is None:
        return False
    steps, left, right = np.intersect1d(below.steps, above.steps, return_indices=True)
    every = max(1, len(steps) // 500)
    ends = below.values[left][::every], above.values[right][::every]
    axes.fill_between(steps[::every], *ends, color=course.pen.colour, alpha=alpha, linewidth=0)
    if len(steps) == 1:
        axes.vlines(steps, *ends, color=course.pen.colour, linewidth=2, alpha=0.6)
    return bool(len(steps))


def _legacy_panels(runs: Sequence[Curves]) -> list[Paint]:
    """The original's own numbers where one of its logs holds them, with what is wrong with them."""
    old = [run for run in runs if run.legacy]
    ratios = sorted({tag for run in old for tag in run.series if tag.startswith(RATIO)})
    named = [
        (
            "Variance (legacy)",
            "mean posterior variance",
            "variance",
            (*_tags("variance"), "legacy/val_variance"),
        ),
        ("Active units (legacy)", "as logged", "active_units", _tags("active_units")),
        *(
            (
                f"Active, variance > {tag.removeprefix(RATIO)} (legacy)",
                "share",
                "active_units",
                (tag,),
            )
            for tag in ratios[:_MOST_RATIOS]
        ),
    ]
    return [
        _legacy_panel(runs, title, unit, CAVEATS[word], tags)
        for title, unit, word, tags in named
        if any(run.get(*tags) for run in old)
    ]


def _tags(word: str) -> tuple[str, ...]:
    return (f"val_{word}", f"train_{word}_epoch", f"train_{word}_step")


def _legacy_panel(
    runs: Sequence[Curves], title: str, unit: str, caveat: str, tags: tuple[str, ...]
) -> Paint:
    def paint(axes: Axes) -> None:
        for run, pen in zip(runs, PENS, strict=False):
            series = run.get(*tags)
            if series is not None:
                figures.line(axes, series.steps, series.values, pen, marked=True)
        figures.label(axes, title, STEP, unit)
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, low), high + 0.35 * (high - min(0.0, low)))
        _note(axes, caveat)

    return paint


def _note(axes: Axes, text: str) -> None:
    """A remark in the upper left corner of a panel."""
    axes.text(
        0.015, 0.985, textwrap.fill(text, 56), transform=axes.transAxes, ha="left", va="top",
        fontsize=8, color=FAINT, zorder=5,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )  # fmt: skip
