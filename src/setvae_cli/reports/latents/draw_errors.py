"""reconstruction_errors.png: by variable, by size of a set, by hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from setvae_cli.evaluation.latents import Latents, VariableErrors
from setvae_cli.numbers import count
from setvae_cli.reports import figures
from setvae_cli.reports.figures import FAINT, PENS, Pen
from setvae_cli.reports.latents.binned import Bins, Doubles, binned
from setvae_cli.reports.latents.describe import footer
from setvae_cli.reports.latents.picture import Paint, Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORST = 20
_SIZE = (4.6, 4.6)
_BINS = 24
_LONGEST_NAME = 14


def draw_errors(latents: Latents) -> Picture:
    """Four panels: errors and densities of the worst variables, then sizes and hours."""
    sets, unit = latents.sets, latents.recon_unit
    subject = np.searchsorted(latents.subjects.row, sets.row)
    size = binned(sets.size, sets.recon, subject, size_edges(int(sets.size.max(initial=1))))
    each = sets.recon / np.maximum(sets.size, 1)
    hours = binned(sets.hours, each, subject, hour_edges(sets.hours))
    errors = latents.errors
    paints: list[Paint] = [
        lambda axes: _by_variable(axes, errors, errors.error, "Error", "standard deviations"),
        lambda axes: _by_variable(axes, errors, errors.nats, "Negative log density", "nats"),
        lambda axes: _curve(axes, size, "By size of a set", "elements", f"{unit} a set", log=True),
        lambda axes: _curve(
            axes, hours, "By time", "hours since the first set", f"{unit} an element"
        ),
    ]
    title = "Reconstruction errors"
    told = f"{title} by variable, by size of a set and by hours since the first set."
    foot = footer(latents, "bands: 95 % over subjects", "bins under 10 subjects left out")
    wide, narrow = (render(paints, columns, title, foot, size=_SIZE) for columns in (2, 1))
    return Picture("reconstruction_errors", title, told, wide, narrow)


def size_edges(largest: int) -> Doubles:
    """Edges of sizes: 1, 2, 3, 4, 6, 8, 12, 16, ... up to above the largest."""
    powers = 2.0 ** np.arange(0, np.ceil(np.log2(max(largest, 2))) + 1)
    edges: Doubles = np.unique(np.concatenate([powers, 1.5 * powers[1:]]))
    return np.append(edges[edges <= largest], largest + 1.0)


def hour_edges(hours: np.ndarray) -> Doubles:
    """Edges of hours, equal in width, up to where 99 % of sets lie."""
    known = hours[np.isfinite(hours)]
    last = float(np.quantile(known, 0.99)) if len(known) else 0.0
    edges = np.linspace(0, max(last, 1e-3), _BINS + 1)
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return edges


def worst(errors: VariableErrors) -> np.ndarray:
    """Places of the worst variables by error, worst first."""
    ranked = np.argsort(-np.nan_to_num(errors.error, nan=-np.inf), kind="stable")
    found: np.ndarray = ranked[:WORST]
    return found


def _by_variable(
    axes: Axes, errors: VariableErrors, values: Doubles, title: str, unit: str
) -> None:
    if not errors.code:
        figures.absent(axes, title, errors.reason or "no values are predicted")
        return
    places = worst(errors)
    y = np.arange(len(places))[::-1]
    axes.hlines(y, 0, values[places], color=PENS[0].colour, linewidth=4)
    axes.axvline(0, color=FAINT, linewidth=0.9)
    names = [f"{_short(errors.code[place])}  {count(errors.count[place])}" for place in places]
    axes.set_yticks(y, names, fontsize=7.5, parse_math=False)
    axes.set_ylim(-0.8, len(places) - 0.2)
    axes.grid(visible=False, axis="y")
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left + 0.12 * width, bottom, 0.88 * width, height))
    more = f" of {len(errors.code)}" if len(errors.code) > len(places) else ""
    axes.set_title(f"{title}, worst {len(places)}{more}")
    axes.set_xlabel(f"{unit}; number: values")


def _curve(
    axes: Axes, bins: Bins, title: str, x: str, y: str, *, log: bool = False, pen: Pen = PENS[0]
) -> None:
    if len(bins.x) == 0:
        figures.absent(axes, title, "too few subjects, or no time")
        return
    axes.fill_between(bins.x, bins.low, bins.high, color=pen.colour, alpha=0.2, linewidth=0)
    axes.plot(bins.x, bins.mean, pen.mark, linestyle="-", color=pen.colour)
    axes.set_title(title)
    if log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: count(value))
    axes.set_xlabel(f"{x}, {count(bins.sets.sum())} sets")
    axes.set_ylabel(y)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
