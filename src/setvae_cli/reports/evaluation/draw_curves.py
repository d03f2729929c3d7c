"""roc_and_precision.png: who is found at the cost of how many false alarms, a row a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.scores import found
from setvae_cli.reports.evaluation.panels import GUESS, Pens, by_task, drawn
from setvae_cli.reports.evaluation.readings import counted, interval_of, value_of
from setvae_cli.reports.figures import PAPER
from setvae_cli.reports.latents.picture import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "roc_and_precision"


def draw_curves(findings: Findings) -> Picture:
    """The ROC, and precision over recall, of each task."""
    panels = {"ROC": _roc, "Precision": _precision}
    title = "ROC, and precision over recall"
    return by_task(findings, panels, name=NAME, title=title, beside="guessing", told=_told)


def _told(task: TaskFindings) -> str:
    auroc, auprc = found(task.scores, "auroc"), found(task.scores, "auprc")
    return f"{task.task}: AUROC {value_of(auroc)}, AUPRC {value_of(auprc)}, {counted(task)}"


def _roc(axes: Axes, task: TaskFindings, pens: Pens) -> None:
    axes.plot([0, 1], [0, 1], color=GUESS.colour, linestyle=GUESS.dash, linewidth=1.2)
    for curve, pen in drawn(task, pens):
        axes.plot(curve.false_rate, curve.true_rate, color=pen.colour, linestyle=pen.dash)
    score = found(task.scores, "auroc")
    _note(axes, f"AUROC {value_of(score)} {interval_of(score)}", 0.06)
    axes.set_xlabel("false positive rate (1 - specificity)")
    axes.set_ylabel("sensitivity")
    _unit(axes)


def _precision(axes: Axes, task: TaskFindings, pens: Pens) -> None:
    for curve, pen in drawn(task, pens):
        level = [curve.prevalence, curve.prevalence]
        axes.plot([0, 1], level, color=GUESS.colour, linestyle=GUESS.dash, linewidth=1.2)
        axes.plot(
            curve.recall,
            curve.precision,
            color=pen.colour,
            linestyle=pen.dash,
            drawstyle="steps-pre",
        )
    score = found(task.scores, "auprc")
    note = f"AUPRC {value_of(score)} {interval_of(score)}"
    if task.prevalence is not None:
        note += f"\nguessing {task.prevalence:.3f}"
    _note(axes, note, 0.94 if task.binary else 0.99)
    axes.set_xlabel("recall (sensitivity)")
    axes.set_ylabel("precision (positive predictivity)")
    _unit(axes)
    if not task.binary:  # a frequent class has its curve in all corners
        axes.set_ylim(-0.02, 1.12)
        axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])


def _note(axes: Axes, text: str, height: float) -> None:
    """Figures in a free corner: below a ROC, above a curve of precision."""
    place = "bottom" if height < 0.5 else "top"
    axes.text(
        0.96,
        height,
        text.strip(),
        transform=axes.transAxes,
        ha="right",
        va=place,
        fontsize=9.5,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
    )


def _unit(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
