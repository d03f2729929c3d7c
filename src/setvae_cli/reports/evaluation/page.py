"""report.html of an evaluation: the answers first, then figures, pictures and groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from setvae_cli.evaluation.by_class import OneClass
from setvae_cli.evaluation.curves import Curve
from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.subgroups import ByAttribute, Subgroup
from setvae_cli.numbers import count, percent
from setvae_cli.reports import html
from setvae_cli.reports.evaluation import draw_curves, draw_groups, draw_reliability
from setvae_cli.reports.evaluation.answers import Answer, answers, next_step
from setvae_cli.reports.evaluation.readings import (
    CALLED,
    GUIDE,
    counted,
    describe,
    interval_of,
    matched,
    reading,
    value_of,
)
from setvae_cli.reports.latents.picture import Picture

GROUP_HEAD = (
    "group",
    "subjects",
    "positive",
    "AUROC",
    "AUPRC",
    "observed / expected",
    "AUROC, less that of all others",
)
_OF_BINARY = ("positive", "observed / expected")
CLASS_HEAD = ("class", "subjects", "observed", "predicted", "AUROC against all others")
_NO_IDS = (
    "This page holds no id. Curves are drawn through at most 400 of their points."
    " predictions.parquet beside it holds a line a subject and is data of patients."
)


def as_page(findings: Findings, pictures: Sequence[Picture]) -> str:
    """The page, one file that needs nothing else.

    Args:
        findings: What was found.
        pictures: Of it.
    """
    name = findings.source.run or findings.source.checkpoint
    title = f"Evaluation of {name}, {findings.split}"
    return html.page(title, describe(findings), _sections(findings, pictures))


def _sections(findings: Findings, pictures: Sequence[Picture]) -> Iterator[str]:
    yield html.section("What was found", *_found(findings))
    yield html.section("In figures", *_figures(findings))
    beside = {
        draw_curves.NAME: _points,
        draw_reliability.NAME: _bins,
        draw_groups.NAME: _groups,
    }
    for picture in pictures:
        shown = html.picture(picture.wide, picture.narrow, picture.told)
        told = beside[picture.name](findings)
        yield html.section(picture.title, shown, *told, seen=False)
    drawn = {picture.name for picture in pictures}
    if draw_groups.NAME not in drawn and any(task.by for task in findings.tasks):
        yield html.section("Groups", *_groups(findings))
    yield html.section("How to read it", html.listed(GUIDE), html.paragraph(_NO_IDS, "small"))


def _found(findings: Findings) -> Iterator[str]:
    for note in findings.notes:
        yield html.paragraph(f"Note: {note}.")
    if findings.source.data != findings.source.trained_on:
        yield html.paragraph("Note: these are not the data that the model was trained on.")
    if findings.unmatched:
        yield html.paragraph(f"Note: the model knows {matched(findings)}.")
    for task in findings.tasks:
        yield from _headed(task, findings)
        yield html.paragraph(f"{task.task}: {counted(task)}.", "small")
        rows = [_answer(one) for one in answers(task, findings)]
        if task is findings.tasks[-1]:
            rows.append(_answer(next_step(findings)))
        yield html.table(("question", "answer", "figures"), rows)


def _answer(one: Answer) -> list[str]:
    question, words = html.cells([one.question, one.words])
    tried = html.advice(f"Try: {one.mend}.") if one.mend else ""
    sign = html.state(one.sign, one.state) if one.sign else ""
    return [question, sign, words + tried]


def _figures(findings: Findings) -> Iterator[str]:
    for task in findings.tasks:
        yield from _headed(task, findings)
        rows = [
            html.cells(
                [CALLED[one.name], f"{value_of(one)} {interval_of(one, 3)}", reading(one, task)]
            )
            for one in task.scores
        ]
        yield html.table(("figure", "value, 95 % interval", "beside it"), rows)
        if task.each:
            shown = [_class(one, task) for one in task.each]
            yield html.heading(f"Classes of {task.task}")
            yield html.table(CLASS_HEAD, shown, stack=False)


def _class(one: OneClass, task: TaskFindings) -> list[str]:
    observed, predicted = percent(one.subjects / task.subjects), percent(one.expected)
    auroc = f"{value_of(one.auroc)} {interval_of(one.auroc)}" if one.auroc else "n/a"
    return html.cells([one.name, count(one.subjects), observed, predicted, auroc])


def _points(findings: Findings) -> Iterator[str]:
    """Sensitivity and precision where readers look for them."""
    for task, curve in _curves(findings):
        yield html.heading(f"{task.task} {curve.name}".strip())
        rows = [
            html.cells([percent(rate), percent(float(np.interp(rate, *_roc(curve))))])
            for rate in (0.05, 0.1, 0.2, 0.5)
        ]
        yield html.table(("false positive rate", "sensitivity"), rows, stack=False)
        rows = [
            html.cells([percent(rate), percent(_precision_at(curve, rate))])
            for rate in (0.25, 0.5, 0.75, 0.9)
        ]
        yield html.table(("sensitivity", "precision"), rows, stack=False)


def _bins(findings: Findings) -> Iterator[str]:
    for task, curve in _curves(findings):
        yield html.heading(f"{task.task} {curve.name}".strip())
        one = curve.reliability
        rows = [
            html.cells([percent(p), percent(seen), f"{percent(low)} to {percent(high)}", count(n)])
            for p, seen, low, high, n in zip(
                one.predicted, one.observed, one.low, one.high, one.subjects, strict=True
            )
        ]
        head = ("predicted", "observed", "95 % interval", "subjects")
        yield html.table(head, rows, stack=False)


def _groups(findings: Findings) -> Iterator[str]:
    for task in findings.tasks:
        for table in task.by:
            several = len(findings.tasks) > 1
            yield html.heading(f"{table.name}, {task.task}" if several else table.name)
            if table.cut:
                yield html.paragraph(f"{table.name} is {table.cut}.", "small")
            head = [name for name in GROUP_HEAD if table.binary or name not in _OF_BINARY]
            yield html.table(head, [_group(one, table) for one in table.groups], stack=False)
            if table.suppressed:
                yield html.paragraph(said_of_hidden(table), "small")


def said_of_hidden(table: ByAttribute) -> str:
    """Why counts of a table are not exact."""
    if not table.binary:
        return "Figures of groups with under 10 subjects, of a class too, are not shown."
    told = "Counts of groups under 10 and their figures are not shown (<10)"
    coarse = any("+" in one.shown.subjects + one.shown.positives for one in table.groups)
    more = "; so that they cannot be worked out, counts with a + are rounded down" if coarse else ""
    figures = coarse and any(not one.shown.exact and one.shown.figures for one in table.groups)
    return f"{told}{more}{' and have no observed to expected' if figures else ''}."


def _group(one: Subgroup, table: ByAttribute) -> list[str]:
    shown = [one.auroc, one.auprc, one.observed_to_expected, one.gap]
    texts = ["" if each is None else f"{value_of(each)} {interval_of(each)}" for each in shown]
    if not one.shown.figures:
        texts = ["not shown"] * len(shown)
    elif not one.shown.exact:
        texts[2] = "not shown"
    row = html.cells([one.name, one.shown.subjects, one.shown.positives, *texts])
    if one.worse:
        row[-1] += " " + html.state("worse", "found")
    if one.off:
        row[-2] += " " + html.state("off", "found")
    cells = zip(GROUP_HEAD, row, strict=True)
    return [cell for name, cell in cells if table.binary or name not in _OF_BINARY]


def _curves(findings: Findings) -> Iterator[tuple[TaskFindings, Curve]]:
    for task in findings.tasks:
        for curve in task.curves:
            yield task, curve


def _headed(task: TaskFindings, findings: Findings) -> Iterator[str]:
    """The name of a task, where there are several."""
    if len(findings.tasks) > 1:
        yield html.heading(task.task)


def _roc(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    return curve.false_rate, curve.true_rate


def _precision_at(curve: Curve, recall: float) -> float:
    """Precision at the first threshold that reaches a recall."""
    place = min(int(np.searchsorted(curve.recall, recall)), len(curve.recall) - 1)
    return float(curve.precision[place])
