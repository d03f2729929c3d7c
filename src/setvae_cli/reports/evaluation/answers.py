"""The questions that a page answers first: is it good, is it calibrated, for whom is it worse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from setvae_cli.evaluation.curves import wilson
from setvae_cli.evaluation.disclosure import LEAST
from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.scores import found
from setvae_cli.evaluation.subgroups import ByAttribute
from setvae_cli.numbers import percent
from setvae_cli.reports.curves.readings import of_auc
from setvae_cli.reports.evaluation.readings import interval_of, value_of

_VAGUE = 2.0  # width of a slope's interval beyond which it holds nearly any
_FEW = f"under {LEAST} subjects of a class are too few to judge"

_STRONGER = {
    "train": "train longer, raise --pred-weight, or give more subjects",
    "finetune": "fine-tune longer, raise --lr or --encoder-lr-ratio, or give more subjects",
}

State = Literal["found", "clear", "unknown"]


@dataclass(frozen=True)
class Answer:
    """An answer.

    Attributes:
        question: What is asked, in a word or two.
        sign: The answer in a word or two; empty where there is nothing to judge.
        state: `found` where something is wrong.
        words: The answer with its figures, one clause without a full stop.
        mend: What to try; empty where nothing has to be.
    """

    question: str
    sign: str
    state: State
    words: str
    mend: str = ""


def answers(task: TaskFindings, findings: Findings) -> tuple[Answer, ...]:
    """The answers for one task."""
    return (_good(task, findings), _calibrated(task), _for_whom(task, findings))


def _good(task: TaskFindings, findings: Findings) -> Answer:
    question = "Is it good?"
    auroc, auprc = found(task.scores, "auroc"), found(task.scores, "auprc")
    if auroc.value is None:
        return Answer(question, "not known", "unknown", auroc.reason or "")
    words = f"AUROC {value_of(auroc)} {interval_of(auroc)}".rstrip()
    words += f", AUPRC {value_of(auprc)} {interval_of(auprc)}".rstrip()
    if task.prevalence is not None:
        words += f" where guessing has {task.prevalence:.3f}"
    if min(task.counts) < LEAST:
        return Answer(question, "not known", "unknown", f"{words}; {_FEW}")
    if auroc.high is not None and auroc.high < 0.5:
        words += "; it ranks the wrong way round, beyond chance"
        mend = "check which class of the label is which, and whether these data are like its own"
        return Answer(question, "worse than guessing", "found", words, mend)
    if auroc.low is not None and auroc.low <= 0.5:
        mend = _STRONGER.get(findings.source.command, _STRONGER["train"])
        words += "; its interval holds 0.5, what guessing has"
        return Answer(question, "not shown", "found", words, mend)
    if findings.flattered:
        words += "; it was trained on subjects that it is measured on here"
        return Answer(question, "not known", "unknown", words)
    return Answer(question, of_auc(auroc.value), "clear", words)


def _calibrated(task: TaskFindings) -> Answer:
    question = "Is it calibrated?"
    slope = found(task.scores, "slope")
    if slope.value is not None and min(task.counts) < LEAST:
        return Answer(question, "not known", "unknown", _FEW)
    faults = list(_faults(task))
    if faults:
        mend = "compare risks and do not read them as shares; recalibrate on other subjects first"
        return Answer(question, "no", "found", "; ".join(faults), mend)
    if slope.value is None or slope.low is None:
        why = slope.reason or "no intervals were asked for"
        return Answer(question, "not known", "unknown", why)
    words = f"slope {value_of(slope, 2)} {interval_of(slope)} holds 1"
    if slope.high is not None and slope.high - slope.low > _VAGUE:
        return Answer(question, "not known", "unknown", f"{words}, and is too wide to say more")
    if task.prevalence is not None:
        words += f", {percent(task.expected[1])} predicted on the whole and "
        words += f"{percent(task.prevalence)} observed"
    return Answer(question, "no fault seen", "clear", words)


def _faults(task: TaskFindings) -> Iterator[str]:
    slope = found(task.scores, "slope")
    told = f"slope {value_of(slope, 2)} {interval_of(slope)}"
    if slope.high is not None and slope.high < 0:
        yield f"risks run the wrong way, {told} is under 0"
    elif slope.high is not None and slope.high < 1:
        yield f"predictions are too far apart, {told} is under 1"
    if slope.low is not None and slope.low > 1:
        yield f"predictions are too close together, {told} is above 1"
    if task.prevalence is None or not task.expected:
        return
    low, high = wilson(np.array([task.prevalence]), np.array([task.subjects]))
    if not low[0] <= task.expected[1] <= high[0]:
        way = "high" if task.expected[1] > task.prevalence else "low"
        yield (
            f"risk is too {way} on the whole, {percent(task.expected[1])} predicted and "
            f"{percent(task.prevalence)} observed"
        )


def _for_whom(task: TaskFindings, findings: Findings) -> Answer:
    question = "For whom is it worse?"
    if not task.by:
        known = ", ".join(findings.attributes)
        words = f"subjects can be told apart by {known}" if known else "subjects have no attributes"
        mend = f"--by {findings.attributes[0]}" if known else ""
        return Answer(question, "not asked", "unknown", words, mend)
    compared = [one for table in task.by for one in table.groups if one.gap is not None]
    names = ", ".join(table.name for table in task.by)
    worse = [words for table in task.by for words in _worse(table, _ratio(task))]
    if worse:
        mend = "see how many training subjects are of these groups; within a group that is off, "
        mend += "read risks as ranks"
        return Answer(question, "some groups", "found", "; ".join(worse), mend)
    if not compared:
        words = f"no group of {names} has {LEAST} subjects of every class"
        return Answer(question, "not known", "unknown", words)
    words = f"beyond chance, none of {len(compared)} groups ({names}) is ranked worse than all "
    return Answer(question, "none seen", "clear", f"{words}others or off in its risks")


def _ratio(task: TaskFindings) -> float:
    """Observed to expected of all subjects."""
    if task.prevalence is None or not task.expected:
        return math.nan
    return task.prevalence / task.expected[1]


def _worse(table: ByAttribute, whole: float) -> Iterator[str]:
    for one in table.groups:
        name = f"{table.name} {one.name}"
        if one.worse and one.gap is not None and one.auroc is not None:
            gap = f"{one.gap.value:+.2f} {interval_of(one.gap)}"
            yield f"{name} is ranked worse, AUROC {value_of(one.auroc, 2)}, {gap} to all others"
        ratio = one.observed_to_expected
        if one.off and ratio is not None and ratio.value is not None:
            way = "lower" if ratio.value > whole else "higher"
            told = f"observed to expected {value_of(ratio, 2)} {interval_of(ratio)}"
            yield f"risk of {name} is told {way} than of others, {told} where all have {whole:.2f}"


def next_step(findings: Findings) -> Answer:
    """What to do with it."""
    question = "What next?"
    if not any(task.subjects for task in findings.tasks):
        words = "labels make figures of these predictions: setvae precompute --labels FILE"
    elif findings.split == "validation":
        words = "once nothing is left to choose, read the test split once: --split test"
    elif not any(task.by for task in findings.tasks) and findings.attributes:
        words = f"see for whom it is worse: setvae evaluate RUN --by {findings.attributes[0]}"
    else:
        words = "see what the latents hold: setvae visualize RUN"
    return Answer(question, "", "unknown", words)
