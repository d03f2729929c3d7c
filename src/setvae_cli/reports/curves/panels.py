"""What panels of curves have in common: their axis of steps, scales, guides and marked steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from setvae_cli.reports.curves.marks import Mark
from setvae_cli.reports.curves.series import Series
from setvae_cli.reports.figures import FAINT, INK, PENS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Paint = Callable[["Axes"], None]
"""Fills one panel."""

STEP = "optimizer step"
_LOG_RATIO, _LEAST_SPAN = 200.0, 0.05
_CROWDED = 0.035  # of the width of a panel
_OVER_LETTERS = 12.5  # points


def scale(axes: Axes, known: Sequence[Series]) -> None:
    """A logarithmic axis for more than two powers of ten, and room around what does not move."""
    least = min(float(series.values.min()) for series in known)
    most = max(float(series.values.max()) for series in known)
    if most - least < _LEAST_SPAN * abs(most):
        axes.set_ylim(least - _LEAST_SPAN * abs(most), most + _LEAST_SPAN * abs(most))
    if least > 0 and most > _LOG_RATIO * least:
        axes.set_yscale("log")


def guide(axes: Axes, value: float, word: str, *, under: bool = False) -> None:
    """A faint line at a value, named above it, or under it where it is asked for or has to be."""
    axes.axhline(value, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    low, high = axes.get_ylim()
    below = under or value > high - 0.08 * (high - low)
    axes.annotate(
        word,
        (1.0, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, -4 if under else -2 if below else 2),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        fontsize=8,
        color=FAINT,
    )


def mark_steps(axes: Axes, marks: Sequence[Mark]) -> None:
    """A thin line at each marked step, with its letter above; letters that would meet share one."""
    low, high = axes.get_xlim()
    letters: list[tuple[int, str]] = []
    for mark in sorted(marks, key=lambda mark: mark.step):
        colour = INK if mark.run is None else PENS[mark.run].colour
        axes.axvline(mark.step, color=colour, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1.5)
        if letters and mark.step - letters[-1][0] < _CROWDED * (high - low):
            first, before = letters.pop()
            letters.append((first, before + mark.letter))
        else:
            letters.append((mark.step, mark.letter))
    for step, letter in letters:
        axes.annotate(
            letter, (step, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2.5),
            textcoords="offset points", ha="center", va="baseline", fontsize=7.5,
            fontweight="bold", color=INK,
        )  # fmt: skip
    axes.set_xlim(low, high)
    if marks:
        axes.set_title(axes.get_title(loc="left"), loc="left", pad=_OVER_LETTERS)
