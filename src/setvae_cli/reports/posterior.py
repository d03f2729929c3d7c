"""The posterior of each level in one figure: what each dimension carries, and what is made of it.

Drawn by `setvae visualize`, and while a model trains; so it is made of few artists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from setvae_cli.monitor import level as limits
from setvae_cli.monitor.measures import LevelMeasures, Measures
from setvae_cli.monitor.rules import State
from setvae_cli.monitor.verdict import Verdict
from setvae_cli.numbers import count
from setvae_cli.reports import figures
from setvae_cli.reports.figures import FAINT, INK, PENS, Key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MEANS, INSIDE = PENS[0], PENS[1]
SEQUENTIAL = "cividis"
_WORST_FIRST: tuple[State, ...] = ("collapsed", "shrinking", "partial", "warming", "healthy")
_TROUBLE: tuple[State, ...] = _WORST_FIRST[:3]
_LEAST_KL, _LEAST_VARIANCE = 1e-4, 1e-6
_TOLD_EDGES = (1e-3, limits.EPSILON, limits.USED_KL, 1.0, 10.0)
_KEYS = (
    Key("variance over sets of the posterior mean", MEANS, True),
    Key("posterior variance, mean over sets", INSIDE, True),
)

Row = tuple[str, float, float, float]
"""A figure's name, its value and the ends of its interval."""


def posterior_figure(
    measures: Measures,
    *,
    title: str,
    footer: str,
    verdicts: Sequence[Verdict] = (),
    columns: int = 4,
) -> bytes:
    """Draw all levels beneath one another.

    Args:
        measures: Of one check.
        title: What the figure shows.
        footer: Counts, step and date, parts divided by ` · `.
        verdicts: On these levels; they stand in the titles of their panels.
        columns: Panels beside one another: 4, 2, or 1 for narrow screens.

    Returns:
        A PNG.
    """
    said = {verdict.level: verdict.state for verdict in verdicts}
    painters = (_draw_kl, _draw_variance, _draw_histogram, _draw_nats)
    number = len(painters) * len(measures.levels)
    with figures.style():
        figure, axes = figures.panels(number, columns, title, footer, _KEYS)
        _sign(figure, verdicts)
        places = iter(axes)
        for level in measures.levels:
            for paint in painters:
                paint(next(places), level, measures, said.get(level.level, ""))
        return figures.as_png(figure, compression=1)


def _sign(figure: Figure, verdicts: Sequence[Verdict]) -> None:
    """The worst verdict in the corner, where it is seen before anything is read."""
    if not verdicts:
        return
    worst = min(verdicts, key=lambda verdict: _WORST_FIRST.index(verdict.state))
    level = f"level {worst.level} " if len(verdicts) > 1 and worst.state != "healthy" else ""
    bad = worst.state in _TROUBLE
    paper = {"facecolor": INSIDE.colour if bad else figures.PAPER, "pad": 4, "edgecolor": INK}
    look: Any = {"bbox": paper | {"linewidth": 0.8}, "ha": "right", "va": "top", "fontsize": 12}
    colour, weight = (figures.PAPER, "bold") if bad else (INK, "normal")
    width, height = figure.get_size_inches()
    x, y = 1 - 0.2 / width, 1 - 0.16 / height
    figure.text(x, y, f"{level}{worst.state}", color=colour, fontweight=weight, **look)


def nats_of(level: LevelMeasures, measures: Measures) -> list[Row]:
    """The figures of a level that are counted in nats a set; those not measured are left out.

    A bracket is two bounds and has no value of its own: NaN.
    """
    rows: list[Row] = [("KL, raw", level.kl, level.kl, level.kl)]
    if level.floor > 0:
        rows.append(("floor of free bits", level.floor, level.floor, level.floor))
    for name, bound in (
        ("information, at most", level.information),
        ("aggregate from the prior", level.gaussian_kl),
    ):
        if bound is not None:
            rows.append((name, bound.value, bound.low, bound.high))
    if level.bracket is not None:
        low, high = level.bracket.low, level.bracket.high
        rows.append((f"bracket, {level.bracket.sets} sets", math.nan, low, high))
    if level.decoder_gap is not None:
        cost = level.decoder_gap.cost
        rows.append(("decoder gap", cost.value, cost.low, cost.high))
    if measures.history is not None and measures.history.gap is not None:
        cost = measures.history.gap.cost
        rows.append(("history gap", cost.value, cost.low, cost.high))
    return rows


def _draw_kl(axes: Axes, level: LevelMeasures, measures: Measures, verdict: str) -> None:
    """Raw KL of each dimension, largest first."""
    look: Any = {"color": MEANS.colour, "alpha": 0.55, "linewidth": 0}
    kl = np.sort(_drawable(level.dimensions.kl, _LEAST_KL))[::-1]
    axes.stairs(kl, np.arange(len(kl) + 1), baseline=_LEAST_KL / 2, fill=True, **look)
    _logarithmic(axes, _LEAST_KL / 2, _most(1.0, 3 * kl))
    guides = {limits.EPSILON: "0.01: collapsed below", limits.USED_KL: "0.1: used above"}
    _guides(axes, guides)
    if level.floor > 0:
        _guides(axes, {level.floor / level.latent: "free bits"}, at=0.6)
    used = sum(level.dimensions.used)
    head = f"Level {level.level}" + (f", {verdict}" if verdict else "")
    _name(axes, f"{head}: {used} / {level.latent} above 0.1 nat", "KL, nats a set")
    _count_dimensions(axes, "dimension, by KL")
    axes.set_xlim(0, len(kl))


def _draw_variance(axes: Axes, level: LevelMeasures, measures: Measures, verdict: str) -> None:
    """How much means move between sets, and how wide posteriors are, in the order of KL."""
    order = np.argsort(level.dimensions.kl)[::-1]
    means = _drawable(level.dimensions.mean_variance, _LEAST_VARIANCE)[order]
    inside = _drawable(level.dimensions.variance, _LEAST_VARIANCE)[order]
    x = np.arange(len(order)) + 0.5
    for values, pen in ((inside, INSIDE), (means, MEANS)):
        face = pen.colour if pen is MEANS else "none"
        look: Any = {"markerfacecolor": face, "markersize": 3.4, "markeredgewidth": 0.9}
        axes.plot(x, values, pen.mark, color=pen.colour, **look)
    both = np.concatenate([means, inside])
    _logarithmic(axes, -_most(-1e-3, -both) / 2, _most(3.0, 3 * both))
    _guides(axes, {limits.ACTIVE_VARIANCE: "0.01: mean active above", 1.0: "1: the prior"})
    _name(axes, f"{level.active} / {level.latent} active", "variance, 1 is the prior's")
    _count_dimensions(axes, "dimension, by KL")
    axes.set_xlim(0, len(order))


def _draw_histogram(axes: Axes, level: LevelMeasures, measures: Measures, verdict: str) -> None:
    """Share of sets by their KL, a column for each dimension."""
    order = np.argsort(level.dimensions.kl)[::-1]
    held = np.array(level.dimensions.histogram, np.float64)[order]
    share = held / np.maximum(held.sum(1, keepdims=True), 1)
    extent = (0, len(order), 0, share.shape[1])
    look: Any = {"cmap": SEQUENTIAL, "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    axes.imshow(share.T, origin="lower", aspect="auto", extent=extent, **look)
    axes.grid(visible=False)
    edges = [limits.EDGES.index(edge) + 1 for edge in _TOLD_EDGES]
    axes.set_yticks(edges, [f"{edge:g}" for edge in _TOLD_EDGES])
    collapsed = sum(level.dimensions.collapsed)
    _name(axes, f"{collapsed} under 0.01 for 99 % of sets", "KL of a set, nats")
    _count_dimensions(axes, "dimension, by KL; dark: no set, bright: all")


def _draw_nats(axes: Axes, level: LevelMeasures, measures: Measures, verdict: str) -> None:
    """What is counted in nats beside one another, with intervals."""
    rows = nats_of(level, measures)
    y = np.arange(len(rows))[::-1]
    value, low, high = (np.array([row[place] for row in rows]) for place in (1, 2, 3))
    axes.hlines(y - 0.18, low, high, color=MEANS.colour, linewidth=3, alpha=0.5)
    axes.plot(value, y - 0.18, "o", color=MEANS.colour)
    known = np.concatenate([[0.0, 0.1], low[np.isfinite(low)], high[np.isfinite(high)]])
    lowest, highest = float(known.min()), float(known.max())
    room = 0.06 * (highest - lowest)
    axes.set_xlim(lowest - room, highest + room)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_yticks([])
    for place, row in zip(y, rows, strict=True):
        axes.text(lowest, place + 0.12, _told(row), fontsize=8.5, color=INK, va="bottom")
    axes.axvline(0, color=FAINT, linewidth=0.9)
    explained = None if measures.history is None else measures.history.explained
    title = "In nats" if explained is None else f"In nats; R² of h by z: {max(explained, 0):.2f}"
    _name(axes, title, "")
    axes.set_xlabel(f"nats a set, {count(level.sets)} sets, {count(level.subjects)} subjects")


def _drawable(values: Sequence[float], least: float) -> NDArray[np.float64]:
    """What a logarithmic axis can show: small numbers at its foot, a gap for those not finite."""
    held = np.asarray(values, np.float64)
    return np.where(np.isfinite(held), np.maximum(held, least), np.nan)


def _most(otherwise: float, values: NDArray[np.float64]) -> float:
    """The largest known value, and at least `otherwise`."""
    return float(np.nanmax(values, initial=otherwise))


def _told(row: Row) -> str:
    """A figure in words.

    >>> _told(("decoder gap", 2.0, 1.5, 2.5))
    'decoder gap 2.0 [1.5, 2.5]'
    """
    name, value, low, high = row
    if name.startswith("bracket"):
        return f"{name}: {low:.1f} to {high:.1f}"
    ends = f" [{_short(low)}, {_short(high)}]" if high > low else ""
    return f"{name} {_short(value)}{ends}"


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}"


def _name(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_ylabel(unit)


def _count_dimensions(axes: Axes, words: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.set_xlabel(words)


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    """A logarithmic axis with a tick a power of ten and none between: they cost most of a panel."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("log")
    axes.set_ylim(low, high)
    first, last = int(np.ceil(np.log10(low))), int(np.floor(np.log10(high)))
    every = -(-(last - first + 1) // 5)
    powers = [10.0**power for power in range(first, last + 1, every)]
    axes.yaxis.set_major_locator(FixedLocator(powers))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _guides(axes: Axes, guides: dict[float, str], at: float = 0.995) -> None:
    """Lines at limits, each with its word, which ends at a share of the width."""
    for value, word in guides.items():
        line: Any = {"color": INK, "linewidth": 0.9, "linestyle": (0, (2, 2)), "zorder": 3}
        axes.plot([0, 1], [value, value], transform=axes.get_yaxis_transform(), **line)
        paper = {"facecolor": figures.PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
        look: Any = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
        axes.text(at, value * 1.12, word, fontsize=7.5, color=INK, bbox=paper, **look)
