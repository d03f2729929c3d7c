"""reconstruction_errors.png: by variable and its kind, by size of a set, by hours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from setvae_cli.evaluation.latents import Latents, VariableErrors
from setvae_cli.numbers import count
from setvae_cli.reports import figures
from setvae_cli.reports.figures import FAINT, INK, PENS, Pen
from setvae_cli.reports.latents.binned import Bins, Doubles, binned
from setvae_cli.reports.latents.describe import footer
from setvae_cli.reports.latents.picture import Paint, Picture, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

WORST = 20
_ALWAYS_THE_MEAN = 0.80  # sqrt(2 / pi): of a normal variable whose mean is always told
_SIZE = (4.6, 4.6)
_BINS = 24
_LONGEST_NAME = 18  # letters that fit beside a panel
_LEAST_ROWS = 8  # that few bars do not drift apart


def draw_errors(latents: Latents) -> Picture:
    """Two panels of the worst variables for numbers and for classes, then sizes and hours."""
    sets, unit = latents.sets, f"{latents.recon_unit} an element"
    subject = np.searchsorted(latents.subjects.row, sets.row)
    each = sets.recon / np.maximum(sets.size, 1)
    size = binned(sets.size, each, subject, size_edges(int(sets.size.max(initial=1))))
    hours = binned(sets.hours, each, subject, hour_edges(sets.hours))
    paints: list[Paint] = [
        *_variables(latents.errors),
        lambda axes: _curve(axes, size, "By size of a set", "elements", unit, log=True),
        lambda axes: _curve(axes, hours, "By time", "hours since the first set", unit),
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


def of_kind(errors: VariableErrors, *, numeric: bool) -> VariableErrors:
    """Those whose errors are in one unit; codes of unknown kind are numbers."""
    kinds = errors.kind or ["numeric"] * len(errors.code)
    kept = [place for place, kind in enumerate(kinds) if (kind == "numeric") == numeric]
    return replace(
        errors,
        code=[errors.code[place] for place in kept],
        count=errors.count[kept],
        error=errors.error[kept],
        nats=errors.nats[kept],
        kind=[kinds[place] for place in kept],
    )


def worst(values: Doubles) -> np.ndarray:
    """Places of the largest values, largest first, unknown ones last."""
    found: np.ndarray = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    return found


def _variables(errors: VariableErrors) -> Iterator[Paint]:
    """Numbers, and classes where there are any: their errors have different units."""
    numbers, classes = (of_kind(errors, numeric=numeric) for numeric in (True, False))
    if numbers.code or not classes.code:
        deviations = f"standard deviations; {_ALWAYS_THE_MEAN:.2f}: always the mean"
        yield _by_variable(numbers, numbers.error, "Numbers, error", deviations)
        yield _by_variable(numbers, numbers.nats, "Numbers, in nats", "nats: negative log density")
    if classes.code:
        share = "probability given to what was not the case"
        yield _by_variable(classes, classes.error, "Classes, error", share)
        yield _by_variable(
            classes, classes.nats, "Classes, in nats", "nats: negative log probability"
        )


def _by_variable(errors: VariableErrors, values: Doubles, title: str, unit: str) -> Paint:
    """Bars of the worst, and one for the mean of all others; each panel has its own worst."""

    def paint(axes: Axes) -> None:
        if not errors.code:
            figures.absent(axes, title, errors.reason or "no values are predicted")
            return
        places, others = np.split(worst(values), [WORST])
        y = np.arange(len(places))[::-1] + (len(others) > 0)
        axes.hlines(y, 0, values[places], color=PENS[0].colour, linewidth=4)
        names = [_named(errors.code[place], count(errors.count[place])) for place in places]
        if len(others):
            axes.hlines([0], 0, np.nanmean(values[others]), color=FAINT, linewidth=4)
            y, names = np.append(y, 0), [*names, f"mean of {len(others)} others"]
        _bar_names(axes, y, names)
        if unit.startswith("standard"):
            axes.axvline(_ALWAYS_THE_MEAN, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
        more = f" of {len(errors.code)}" if len(others) else ""
        axes.set_title(f"{title}, worst {len(places)}{more}", fontsize=9.5)
        axes.set_xlabel(f"{unit}\nnumber beside a name: its values", fontsize=8.5)

    return paint


def _bar_names(axes: Axes, y: np.ndarray, names: Sequence[str]) -> None:
    """Names of bars, which take more room than numbers do."""
    axes.axvline(0, color=FAINT, linewidth=0.9)
    axes.set_yticks(y, names, fontsize=7.5, parse_math=False)
    axes.set_ylim(min(0, len(y) - _LEAST_ROWS) - 0.8, len(y) - 0.2)
    axes.grid(visible=False, axis="y")
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left + 0.12 * width, bottom, 0.88 * width, height))


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


def _named(code: str, values: str) -> str:
    """A code and how many values it has, cut to what fits."""
    room = _LONGEST_NAME - len(values) - 2
    return f"{code if len(code) <= room else code[: room - 1] + '…'}  {values}"
