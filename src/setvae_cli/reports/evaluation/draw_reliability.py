"""reliability.png: observed over predicted, and how predictions are spread, a row a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from setvae_cli.evaluation.curves import BARS, Reliability
from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.scores import found
from setvae_cli.numbers import count
from setvae_cli.reports.evaluation.panels import GUESS, Pens, by_task, drawn
from setvae_cli.reports.evaluation.readings import interval_of, value_of
from setvae_cli.reports.figures import PAPER
from setvae_cli.reports.latents.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "reliability"
_LEAST_RANGE = 0.2  # of both axes, so that noise does not look like a trend


def draw_reliability(findings: Findings) -> Picture:
    """The reliability diagram of each task, beside a histogram of its predictions."""
    return by_task(
        findings,
        {"Reliability": _diagram, "Predictions": _histogram},
        name=NAME,
        title="Reliability",
        beside="calibrated",
        told=_told,
        foot="bars: 95 % (Wilson)",
    )


def _told(task: TaskFindings) -> str:
    slope, error = found(task.scores, "slope"), found(task.scores, "ece")
    return f"{task.task}: calibration slope {value_of(slope)}, ECE {value_of(error)}"


def _diagram(axes: Axes, task: TaskFindings, pens: Pens) -> None:
    limit = _limit([curve.reliability for curve in task.curves])
    axes.plot([0, 1], [0, 1], color=GUESS.colour, linestyle=GUESS.dash, linewidth=1.2)
    for curve, pen in drawn(task, pens):
        one = curve.reliability
        axes.vlines(one.predicted, one.low, one.high, color=pen.colour, linewidth=1.2)
        axes.plot(
            one.predicted,
            one.observed,
            color=pen.colour,
            linestyle=pen.dash,
            marker=pen.mark,
            linewidth=1,
        )
    slope, intercept = found(task.scores, "slope"), found(task.scores, "intercept")
    note = f"slope {value_of(slope, 2)} {interval_of(slope)}\n"
    note += f"intercept {value_of(intercept, 2)} {interval_of(intercept)}"
    paper = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    axes.text(0.04, 0.96, note, transform=axes.transAxes, va="top", fontsize=9.5, bbox=paper)
    axes.set_xlim(-0.02 * limit, limit)
    axes.set_ylim(-0.02 * limit, limit)
    axes.set_xlabel(f"predicted probability, {_sizes(task)}")
    axes.set_ylabel("observed share")


def _sizes(task: TaskFindings) -> str:
    """How many subjects a point stands for."""
    sizes = np.concatenate([curve.reliability.subjects for curve in task.curves])
    least, most = count(sizes.min()), count(sizes.max())
    return f"{least} subjects a point" if least == most else f"{least} to {most} subjects a point"


def _limit(shown: list[Reliability]) -> float:
    """Where both axes end: what is rare needs no room up to 1."""
    most = max(max(one.high.max(), one.predicted.max()) for one in shown)
    return float(min(1.02, max(_LEAST_RANGE, 1.05 * most)))


def _histogram(axes: Axes, task: TaskFindings, pens: Pens) -> None:
    edges = np.linspace(0, 1, BARS + 1)
    alone = len(task.curves) == 1
    for curve, pen in drawn(task, pens):
        bars = curve.reliability.histogram
        if alone:
            axes.bar(edges[:-1], bars, width=1 / BARS, align="edge", color=pen.colour, alpha=0.75,
                     edgecolor="white")  # fmt: skip
        else:
            axes.stairs(bars, edges, color=pen.colour, linestyle=pen.dash)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: count(value))
    axes.yaxis.set_minor_formatter(lambda value, _: "")
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0.7)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("subjects, logarithmic")
