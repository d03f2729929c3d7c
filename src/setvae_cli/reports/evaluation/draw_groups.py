"""subgroups.png: AUROC, AUPRC and calibration of each group of an attribute, a row a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.scores import found
from setvae_cli.evaluation.subgroups import ByAttribute, Figure
from setvae_cli.reports import figures
from setvae_cli.reports.evaluation.readings import describe
from setvae_cli.reports.figures import FAINT, PENS, Key, Pen
from setvae_cli.reports.latents.picture import Paint, Picture, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "subgroups"
_SIZE = (4.6, 2.7)
_KEYS = (
    Key("group", PENS[0], True),
    Key("worse, or off, beyond chance", PENS[1], True),
)
_LETTERS = 16  # of a group's name, that fit beside a panel
_LEAST_ROWS = 4


def draw_groups(findings: Findings) -> Picture | None:
    """Groups as points with their intervals; None where none were asked for, or may be shown."""
    tables = [(task, table) for task in findings.tasks for table in task.by]
    limits = {name: _limits(tables, name) for name in ("auroc", "auprc", "observed_to_expected")}
    if not any(limits.values()):
        return None
    paints: list[Paint] = []
    for task, table in tables:
        title = f"{table.name}, {table.task}" if len(findings.tasks) > 1 else table.name
        names = [one.name for one in table.groups]
        aurocs = [(one.auroc, one.worse) for one in table.groups]
        line = found(task.scores, "auroc").value
        paints.append(
            _panel(title, "AUROC", names=names, shown=aurocs, line=line, limits=limits["auroc"])
        )
        unit, name, line = "observed / expected", "observed_to_expected", 1.0
        if not task.binary:
            unit, name, line = "AUPRC", "auprc", found(task.scores, "auprc").value
        others = [(getattr(one, name), one.off) for one in table.groups]
        paints.append(
            _panel(title, unit, names=names, shown=others, line=line, limits=limits[name])
        )
    title, foot = "Groups", f"{describe(findings)} · bars: 95 % bootstrap"
    foot += " · line: all subjects, and 1 of a calibrated model"
    wide, narrow = (render(paints, columns, title, foot, _KEYS, _SIZE) for columns in (2, 1))
    listed = ", ".join(dict.fromkeys(table.name for _, table in tables))
    told = f"AUROC and calibration of groups by {listed}, with 95 % intervals."
    return Picture(NAME, title, told, wide, narrow)


def _limits(
    tables: Sequence[tuple[TaskFindings, ByAttribute]], name: str
) -> tuple[float, float] | None:
    """The same axis for all tables, so that they can be compared; None where nothing is shown."""
    found = [getattr(one, name) for _, table in tables for one in table.groups]
    ends = [
        end for one in found if one for end in (one.value, one.low, one.high) if end is not None
    ]
    if not ends:
        return None
    room = 0.05 * (max(ends) - min(ends)) + 0.01
    return min(ends) - room, max(ends) + room


def _panel(
    title: str,
    unit: str,
    *,
    names: Sequence[str],
    shown: Sequence[tuple[Figure | None, bool]],
    line: float | None,
    limits: tuple[float, float] | None,
) -> Paint:
    """Groups below one another; those that are called worse have another mark."""

    def paint(axes: Axes) -> None:
        if limits is None or not any(one for one, _ in shown):
            figures.absent(axes, title, "no group has figures that may be shown")
            return
        if line is not None:
            axes.axvline(line, color=FAINT, linewidth=1.2, linestyle=(0, (1, 2)))
        for place, (one, worse) in enumerate(shown):
            _draw(axes, len(shown) - 1 - place, one, PENS[1] if worse else PENS[0])
        axes.set_xlim(*limits)
        _names(axes, names)
        axes.set_title(title, parse_math=False)
        axes.set_xlabel(unit)

    return paint


def _draw(axes: Axes, y: int, one: Figure | None, pen: Pen) -> None:
    if one is None or one.value is None:
        axes.text(0.02, y, "not shown", va="center", color=FAINT, fontsize=8.5,
                  transform=axes.get_yaxis_transform())  # fmt: skip
        return
    if one.low is not None and one.high is not None:
        axes.plot([one.low, one.high], [y, y], color=pen.colour, linewidth=1.7)
    axes.plot([one.value], [y], pen.mark, color=pen.colour, markersize=6)


def _names(axes: Axes, names: Sequence[str]) -> None:
    """Names of groups, which take more room than numbers do."""
    short = [one if len(one) <= _LETTERS else one[: _LETTERS - 1] + "…" for one in names]
    rows = len(names)
    axes.set_yticks(range(rows - 1, -1, -1), short, fontsize=8.5, parse_math=False)
    axes.set_ylim(min(0, rows - _LEAST_ROWS) - 0.6, rows - 0.4)
    axes.grid(visible=False, axis="y")
    left, bottom, width, height = axes.get_position().bounds
    axes.set_position((left + 0.1 * width, bottom, 0.9 * width, height))
