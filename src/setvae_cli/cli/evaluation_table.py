"""What `setvae evaluate` says of predictions: figures, groups and answers, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setvae_cli import numbers
from setvae_cli.cli.output import HEAD_STYLE, WARN_STYLE, Line
from setvae_cli.cli.precompute import shown
from setvae_cli.cli.wrapped import wrapped

if TYPE_CHECKING:
    from setvae_cli.evaluation.findings import Findings, TaskFindings
    from setvae_cli.evaluation.subgroups import ByAttribute, Figure, Subgroup

KEY_WIDTH = 22
GROUP_HEAD = ("", "subjects", "positive", "AUROC", "AUPRC", "obs/exp")
CLASS_HEAD = ("class", "subjects", "observed", "predicted", "AUROC")
_WIDTH, _LETTERS, _MOST_CLASSES = 80, 24, 12


def table(findings: Findings, files: Sequence[Path]) -> list[Line]:
    """All figures of each task, its groups, the answers, and where it is drawn.

    Args:
        findings: What was found.
        files: What was written.
    """
    name = findings.source.run or findings.source.checkpoint
    lines: list[Line] = [[("Evaluation", HEAD_STYLE), (f"  {name}, {findings.split}", None)]]
    for number, task in enumerate(findings.tasks):
        lines += [""] * (number > 0)
        lines += _of_task(task, findings)
    page = next(path for path in files if path.suffix == ".html")
    return [*lines, *_told("report", f"{shown(page)} and {len(files) - 1} more files")]


def plain(findings: Findings, files: Sequence[Path]) -> dict[str, Any]:
    """The same for --json."""
    from setvae_cli.reports.evaluation.plain import as_plain

    return {**as_plain(findings), "files": [shown(path) for path in files]}


def _of_task(task: TaskFindings, findings: Findings) -> Iterator[Line]:
    from setvae_cli.reports.evaluation.answers import answers
    from setvae_cli.reports.evaluation.readings import counted, matched

    yield from _told("label", f"{task.task}: {counted(task)}")
    if findings.unmatched:
        yield from _told("matched", matched(findings))
    yield from _scores(task)
    yield from _classes(task)
    for groups in task.by:
        yield ""
        yield from _groups(groups)
    if task.by or task.each:
        yield ""
    for one in answers(task, findings):
        first, *rest = _told(one.question, f"{one.sign}: {one.words}")
        yield _marked(first, one.sign) if one.state == "found" else first
        yield from rest
        if one.mend:
            yield from _told("", f"-> {one.mend}")


def _scores(task: TaskFindings) -> Iterator[Line]:
    from setvae_cli.reports.evaluation.readings import CALLED, interval_of, reading, value_of

    rows = [(CALLED[one.name], value_of(one), interval_of(one), one) for one in task.scores]
    width = max(len(value) for _, value, _, _ in rows)
    wide = max(len(ends) for _, _, ends, _ in rows)
    for name, value, ends, one in rows:
        yield from _told(name, f"{value:>{width}} {ends:<{wide}}  {reading(one, task)}")


def _classes(task: TaskFindings) -> Iterator[Line]:
    """Each class of several against all others."""
    if not task.each:
        return
    rows = [
        (
            one.name[:_LETTERS],
            numbers.count(one.subjects),
            numbers.percent(one.subjects / task.subjects),
            numbers.percent(one.expected),
            _short(one.auroc),
        )
        for one in task.each[:_MOST_CLASSES]
    ]
    first, *lines = numbers.aligned([CLASS_HEAD, *rows])
    yield ""
    yield [(first, HEAD_STYLE)]
    yield from lines
    left = len(task.each) - len(rows)
    if left:
        yield f"{left} more classes stand in the report."


def _groups(groups: ByAttribute) -> Iterator[Line]:
    from setvae_cli.reports.evaluation.page import said_of_hidden

    head = (groups.name[:12], *GROUP_HEAD[1:])
    rows = [head, *(_group(one) for one in groups.groups)]
    if len(numbers.aligned(rows)[0]) > _WIDTH:
        rows = [head, *(_group(one, whole=False) for one in groups.groups)]
    if not groups.binary:  # there is no positive class
        rows = [(row[:2] + row[3:5]) for row in rows]
    first, *lines = numbers.aligned(rows)
    yield [(first, HEAD_STYLE)]
    for line, one in zip(lines, groups.groups, strict=True):
        yield [(line, WARN_STYLE if one.worse else None)]
    if groups.cut:
        yield from wrapped("", f"{groups.name} is {groups.cut}.")
    if groups.suppressed:
        yield from wrapped("", said_of_hidden(groups))


def _group(one: Subgroup, *, whole: bool = True) -> tuple[str, ...]:
    """Cells of a group; not the whole of them where 80 columns are too few for all intervals."""
    auprc = one.auprc if whole or one.auprc is None else replace(one.auprc, low=None)
    texts = [_short(each) for each in (one.auroc, auprc, one.observed_to_expected)]
    if not one.shown.figures:
        texts = ["not shown"] * len(texts)
    elif not one.shown.exact:
        texts[2] = "not shown"
    return (one.name[:12], one.shown.subjects, one.shown.positives, *texts)


def _short(one: Figure | None) -> str:
    if one is None or one.value is None:
        return "n/a"
    ends = "" if one.low is None else f" [{_two(one.low)}, {_two(one.high)}]"
    return f"{one.value:.2f}{ends}"


def _two(value: float | None) -> str:
    """Two digits without the zero before them, so that three intervals fit beside one another."""
    text = "" if value is None else f"{value:.2f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def _told(name: str, value: str) -> list[Line]:
    return wrapped(f"{name:<{KEY_WIDTH}}", value)


def _marked(line: Line, sign: str) -> Line:
    """The line with its sign in the colour of warnings."""
    assert not isinstance(line, str)
    head, (text, _) = line
    return [head, (sign, WARN_STYLE), (text.removeprefix(sign), None)]
