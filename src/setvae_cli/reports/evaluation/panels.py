"""What pictures of curves share: a row of panels a task, a pen a class, one legend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from setvae_cli.evaluation.curves import Curve
from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.scores import found
from setvae_cli.reports import figures
from setvae_cli.reports.evaluation.readings import describe
from setvae_cli.reports.figures import FAINT, MOST_LINES, PENS, Key, Pen
from setvae_cli.reports.latents.picture import Paint, Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.6, 4.1)
GUESS = Pen(FAINT, (0, (1, 2)), "")
_LETTERS = 24  # of a class's name, in the legend

Pens = Mapping[str, Pen]
Panel = Callable[["Axes", TaskFindings, Pens], None]


def by_task(
    findings: Findings,
    panels: Mapping[str, Panel],
    *,
    name: str,
    title: str,
    beside: str,
    told: Callable[[TaskFindings], str],
    foot: str = "",
) -> Picture:
    """A picture with the same panels for each task.

    Args:
        findings: Whose curves.
        panels: How each is drawn, by its name.
        name: Of the file.
        title: Of the picture.
        beside: What the dotted line is.
        told: What a reader who does not see it is told of a task.
        foot: What the footer ends with.
    """
    pens = _pens(findings)
    paints = [
        _painted(panel, called, task, pens)
        for task in findings.tasks
        for called, panel in panels.items()
    ]
    below = " · ".join(filter(None, (describe(findings), foot)))
    lines = [Key(_short(one), pen) for one, pen in pens.items()]
    legend = (*lines, Key(beside, GUESS)) if lines else ()
    wide, narrow = (render(paints, columns, title, below, legend, SIZE) for columns in (2, 1))
    texts = ", ".join(map(told, findings.tasks))
    return Picture(name, title, f"{title}. {texts}.", wide, narrow)


def drawn(task: TaskFindings, pens: Pens) -> Iterator[tuple[Curve, Pen]]:
    """The curves of a task that have a pen."""
    return ((curve, pens[curve.name]) for curve in task.curves if curve.name in pens)


def _pens(findings: Findings) -> Pens:
    """A pen for each name of a curve, as many as can be told apart."""
    names = dict.fromkeys(curve.name for task in findings.tasks for curve in task.curves)
    return dict(zip(names, PENS[:MOST_LINES], strict=False))


def _short(name: str) -> str:
    if len(name) > _LETTERS:
        return name[: _LETTERS - 1] + "…"
    return name or "model"


def _painted(panel: Panel, called: str, task: TaskFindings, pens: Pens) -> Paint:
    """A panel under its title; without curves it says why it is empty."""
    title = f"{called}, {task.task}"

    def paint(axes: Axes) -> None:
        if not task.curves:
            why = found(task.scores, "auroc").reason or "under ten subjects"
            figures.absent(axes, title, why)
            return
        panel(axes, task, pens)
        axes.set_title(title, parse_math=False)

    return paint
