"""Several runs in one table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from setvae_cli import numbers
from setvae_cli.reports.watch.course import Course
from setvae_cli.reports.watch.lines import (
    HEAD,
    KEY,
    WARN,
    Line,
    Part,
    ago,
    clipped,
    printable,
    wrapped,
)
from setvae_cli.reports.watch.notices import TROUBLE
from setvae_cli.reports.watch.plot import figure
from setvae_cli.reports.watch.run import Look
from setvae_cli.reports.watch.state import ENDED

_LEAST_NAME = 12
_STYLES = {
    "running": HEAD, "measuring": HEAD, "silent": WARN, "error": WARN, "unclear": WARN,
    "stopped": WARN,
}  # fmt: skip
_SEVERITY = ("collapsed", "shrinking", "partial", "warming", "healthy")
COLUMNS = ("run", "state", "step", "epoch", "loss", "val AUC", "verdict", "last record")
_SHORT = {"val AUC": "AUC", "last record": "ago"}
_LEFT_OUT = ("epoch", "loss", "verdict")  # in this order where room is short


def listing(
    root: str,
    looks: Sequence[Look],
    columns: int,
    rows: int | None = None,
    *,
    notes: Sequence[str] = (),
) -> list[Line]:
    """One line a run, those that go on first where not all fit.

    Args:
        root: The folder, as it is shown.
        looks: Its runs.
        columns: Width; no line is longer.
        rows: Height; None for all runs.
        notes: Runs that could not be read.
    """
    told = [line for note in notes for line in wrapped(("note  ", WARN), note, columns)]
    shown = _chosen(looks, None if rows is None else max(rows - 3 - len(told), 1))
    common = _common([look.name for look in looks], root)
    count = f"{len(looks)} run{'s' * (len(looks) != 1)}"
    title: Line = [(count, HEAD), (f" below {common}", None)]
    table = _table([_cells(look, common) for look in shown], columns)
    lines = [title, *table]
    if len(shown) < len(looks):
        lines.append([(f"and {len(looks) - len(shown)} more", None)])
    return [clipped(printable(line), columns) for line in [*lines, *told][:rows]]


def verdict(course: Course) -> str:
    """The worst verdict of all levels; empty without one."""
    known = course.notices.verdicts
    states = {str(known[key].get("state")) for key in known if key[0] == "val"}
    return next((state for state in _SEVERITY if state in states), "")


def _chosen(looks: Sequence[Look], most: int | None) -> list[Look]:
    if most is None or len(looks) <= most:
        return list(looks)
    ranked = sorted(looks, key=lambda look: (look.state.word in ENDED, look.state.age or 0.0))
    kept = {id(look) for look in ranked[:most]}
    return [look for look in looks if id(look) in kept]


def _common(names: Sequence[str], root: str) -> str:
    """The folder that all runs lie in."""
    folders = [os.path.dirname(name) or "." for name in names]
    return (
        os.path.commonpath(folders) or "."
        if folders and len(set(map(os.path.isabs, folders))) == 1
        else root
    )


def _cells(look: Look, common: str) -> dict[str, Part]:
    course = look.course
    found = verdict(course)
    if found == "warming" and look.state.ended:
        found = "not judged"
    age = look.state.age
    planned = f" / {numbers.count(course.planned_steps)}" if course.planned_steps else ""
    return {
        "run": (os.path.relpath(look.name, common), None),
        "state": _state(look),
        "step": (numbers.count(course.step) + planned, None),
        "epoch": (str(course.epoch), None),
        "loss": (_figure(course, "train_loss_step"), None),
        "val AUC": (_figure(course, "val_auc"), None),
        "verdict": (found, WARN if found in TROUBLE else None),
        "last record": ("unknown" if age is None else ago(age), None),
    }


def _state(look: Look) -> Part:
    if look.reading is not None:
        return "reading", None
    return look.state.word, _STYLES.get(look.state.word)


def _figure(course: Course, tag: str) -> str:
    return figure(course.latest[tag]) if tag in course.latest else ""


def _table(rows: Sequence[Mapping[str, Part]], columns: int) -> list[Line]:
    """The table; it becomes tighter, then loses columns, then names are cut."""
    for narrowing in range(len(_LEFT_OUT) + 1):
        names = [name for name in COLUMNS if name not in _LEFT_OUT[:narrowing]]
        for gap, heads, joined in (("  ", {}, " / "), ("  ", _SHORT, " / "), (" ", _SHORT, "/")):
            cells = [{name: _closer(row[name], joined) for name in names} for row in rows]
            widths = _widths(cells, heads)
            spare = columns - sum(widths.values()) - len(gap) * (len(names) - 1)
            if spare >= 0:
                return _lines(cells, heads, widths, gap)
    widths["run"] = max(widths["run"] + spare, _LEAST_NAME)
    return _lines(cells, heads, widths, gap)


def _closer(cell: Part, joined: str) -> Part:
    return cell[0].replace(" / ", joined), cell[1]


def _widths(cells: Sequence[Mapping[str, Part]], heads: Mapping[str, str]) -> dict[str, int]:
    return {
        name: max(len(heads.get(name, name)), *(len(row[name][0]) for row in cells))
        for name in cells[0]
    }


def _lines(
    cells: Sequence[Mapping[str, Part]],
    heads: Mapping[str, str],
    widths: Mapping[str, int],
    gap: str,
) -> list[Line]:
    top = gap.join(_placed(name, heads.get(name, name), width) for name, width in widths.items())
    lines: list[Line] = [[(top, KEY)]]
    for row in cells:
        line: Line = []
        for name, width in widths.items():
            line += [(_placed(name, row[name][0], width), row[name][1]), (gap, None)]
        lines.append(line[:-1])
    return lines


def _placed(name: str, text: str, width: int) -> str:
    """Words to the left, a run's name by its end, numbers to the right."""
    if len(text) > width:
        text = "…" + text[len(text) + 1 - width :]
    return f"{text:<{width}}" if name in ("run", "state", "verdict") else f"{text:>{width}}"
