"""roc_and_precision.png: who is found at the cost of how many false alarms, a row a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from setvae_cli.evaluation.curves import Curve
from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.scores import found
from setvae_cli.reports import figures
from setvae_cli.reports.evaluation.readings import counted, describe, interval_of, value_of
from setvae_cli.reports.figures import FAINT, MOST_LINES, PAPER, PENS, Key, Pen
from setvae_cli.reports.latents.picture import Paint, Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "roc_and_precision"
SIZE = (4.6, 4.1)
GUESS = Pen(FAINT, (0, (1, 2)), "")


def draw_curves(findings: Findings) -> Picture:
    """The ROC, and precision over recall, of each task."""
    pens = pens_of(findings)
    paints = [paint for task in findings.tasks for paint in _panels(task, pens)]
    title, foot = "ROC, and precision over recall", describe(findings)
    legend = keys(findings, "guessing")
    wide, narrow = (render(paints, columns, title, foot, legend, SIZE) for columns in (2, 1))
    told = ", ".join(_told(task) for task in findings.tasks)
    return Picture(NAME, title, f"{title}. {told}.", wide, narrow)


def pens_of(findings: Findings) -> Mapping[str, Pen]:
    """A pen for each name of a curve, as many as can be told apart."""
    names = dict.fromkeys(curve.name for task in findings.tasks for curve in task.curves)
    return dict(zip(names, PENS[:MOST_LINES], strict=False))


def keys(findings: Findings, beside: str) -> tuple[Key, ...]:
    """What lines are called."""
    lines = [Key(name or "model", pen) for name, pen in pens_of(findings).items()]
    return (*lines, Key(beside, GUESS)) if lines else ()


def drawn(task: TaskFindings, pens: Mapping[str, Pen]) -> Iterator[tuple[Curve, Pen]]:
    """The curves of a task that have a pen."""
    return ((curve, pens[curve.name]) for curve in task.curves if curve.name in pens)


def titled(task: TaskFindings, name: str) -> str:
    """Title of a panel of a task."""
    return f"{name}, {task.task}"


def no_curves(task: TaskFindings, name: str) -> Paint:
    """A panel that says why it is empty."""
    why = found(task.scores, "auroc").reason or "under ten subjects"
    return lambda axes: figures.absent(axes, titled(task, name), why)


def _told(task: TaskFindings) -> str:
    auroc, auprc = found(task.scores, "auroc"), found(task.scores, "auprc")
    return f"{task.task}: AUROC {value_of(auroc)}, AUPRC {value_of(auprc)}, {counted(task)}"


def _panels(task: TaskFindings, pens: Mapping[str, Pen]) -> list[Paint]:
    if not task.curves:
        return [no_curves(task, "ROC"), no_curves(task, "Precision")]
    return [lambda axes: _roc(axes, task, pens), lambda axes: _precision(axes, task, pens)]


def _roc(axes: Axes, task: TaskFindings, pens: Mapping[str, Pen]) -> None:
    axes.plot([0, 1], [0, 1], color=GUESS.colour, linestyle=GUESS.dash, linewidth=1.2)
    for curve, pen in drawn(task, pens):
        axes.plot(curve.false_rate, curve.true_rate, color=pen.colour, linestyle=pen.dash)
    score = found(task.scores, "auroc")
    _note(axes, f"AUROC {value_of(score)} {interval_of(score)}", 0.06)
    axes.set_xlabel("false positive rate (1 - specificity)")
    axes.set_ylabel("sensitivity")
    _unit(axes, titled(task, "ROC"))


def _precision(axes: Axes, task: TaskFindings, pens: Mapping[str, Pen]) -> None:
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
    _note(axes, note, 0.94)
    axes.set_xlabel("recall (sensitivity)")
    axes.set_ylabel("precision (positive predictivity)")
    _unit(axes, titled(task, "Precision"))


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


def _unit(axes: Axes, title: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_title(title, parse_math=False)
