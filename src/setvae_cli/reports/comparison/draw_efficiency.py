"""label_efficiency.png: what pre-training is worth, by how many labels could be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from setvae_cli.evaluation.decision import TITLES, Decision, Shares
from setvae_cli.evaluation.paired import Interval
from setvae_cli.numbers import count
from setvae_cli.reports.figures import PENS, Key, Pen, as_png, label, line, panels, style
from setvae_cli.reports.latents.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "label_efficiency"
TITLE = "Label efficiency"
METHODS = ("finetuned", "scratch", "summary_trees")
BAND = 0.14  # opacity


def draw_efficiency(shares: Shares) -> Picture | None:
    """AUROC and AUPRC over the number of labels; None where all labels were read only."""
    if len(shares.decisions) < 2:
        return None
    with style():
        wide, narrow = (_drawn(shares, columns) for columns in (2, 1))
    return Picture(NAME, TITLE, _told(shares), wide, narrow)


def _drawn(shares: Shares, columns: int) -> bytes:
    drawn = [name for name in METHODS if shares.decisions[0].row(name)]
    pens = dict(zip(METHODS, PENS, strict=False))
    keys = [Key(TITLES[name], pens[name], marked=True) for name in drawn]
    figure, axes = panels(2, columns, TITLE, footer(shares), keys)
    for one, name in zip(axes, ("AUROC", "AUPRC"), strict=True):
        for method in drawn:
            _curve(one, shares.decisions, method, name.lower(), pens[method])
        _label(one, name, shares.decisions)
    return as_png(figure)


def _curve(axes: Axes, decisions: Sequence[Decision], method: str, measure: str, pen: Pen) -> None:
    rows = [(one.labelled, one.row(method)) for one in decisions]
    found: list[tuple[int, Interval]] = [(n, getattr(r, measure)) for n, r in rows if r]
    x = np.array([number for number, _ in found], dtype=np.float64)
    y = np.array([[one.value, one.low, one.high] for _, one in found])
    axes.fill_between(x, y[:, 1], y[:, 2], color=pen.colour, alpha=BAND, linewidth=0)
    line(axes, x, y[:, 0], pen, marked=True)


def _label(axes: Axes, name: str, decisions: Sequence[Decision]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    label(axes, name, "labelled training subjects", f"test {name}")
    axes.set_xscale("log")
    at = [one.labelled for one in decisions]
    axes.set_xlim(at[0] / 1.25, at[-1] * 1.25)
    axes.xaxis.set_major_locator(FixedLocator(at))
    axes.xaxis.set_minor_locator(NullLocator())
    shown: Any = FuncFormatter(lambda value, _: count(round(value)))
    axes.xaxis.set_major_formatter(shown)


def footer(shares: Shares) -> str:
    """What was measured, for the foot of a picture."""
    folds = f"{shares.folds} folds" if shares.folds else "one split"
    times = f", {shares.repeats} times" if shares.repeats > 1 else ""
    seeds = f"mean of {shares.seeds} seeds" if shares.seeds > 1 else "one seed"
    return f"{shares.label} · {folds}{times} · {seeds} · bands: 95 % over subjects"


def _told(shares: Shares) -> str:
    """The picture in words."""
    parts = []
    for one in shares.decisions:
        rows = [(TITLES[name], one.row(name)) for name in METHODS]
        values = [f"{title} {row.auroc.value:.3f}" for title, row in rows if row]
        parts.append(f"with {count(one.labelled)} labels {', '.join(values)}")
    return f"AUROC by labels: {'; '.join(parts)}."
