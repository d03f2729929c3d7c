"""How figures of an evaluation are called, written and read."""

from __future__ import annotations

import math
from collections.abc import Callable

from setvae_cli import numbers
from setvae_cli.evaluation.findings import Findings, TaskFindings
from setvae_cli.evaluation.scores import Score
from setvae_cli.evaluation.subgroups import Figure
from setvae_cli.numbers import count, percent
from setvae_cli.reports.curves.readings import of_auc

CALLED = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "min_se_ppv": "min(Se, P+)",
    "accuracy": "accuracy",
    "f1": "F1",
    "brier": "Brier score",
    "ece": "ECE",
    "log_loss": "log loss, nats",
    "slope": "calibration slope",
    "intercept": "calibration intercept",
}
GUIDE = (
    "AUROC 0.5 is guessing, 0.7 to 0.8 good, above 0.9 excellent. AUPRC (average precision) is the"
    " one to read on rare outcomes: guessing gives the share of positives.",
    "Brackets hold 95 % of bootstrap samples over subjects; stays of one patient are drawn"
    " together. Two intervals that overlap may still differ.",
    "min(Se, P+) is the largest smaller one of sensitivity and positive predictivity over all"
    " thresholds on these very subjects: an upper bound of what a threshold fixed before reaches.",
    "Accuracy and F1 hold at one threshold only. Of a rare outcome, always saying no has a high"
    " accuracy.",
    "Calibration slope and intercept are those of a logistic regression of the label on the logit."
    " Slope 1 and intercept 0 are calibrated; a slope under 1: predictions are too far apart.",
    "ECE is the mean distance of predicted and observed over ten bins of equal mass. Chance alone"
    " makes it larger than 0: read it beside what a calibrated model would have by chance."
    " Resampling makes it larger still, which is taken off its interval.",
    "Brier score and log loss punish both poor ranking and poor calibration; lower is better, and"
    " beside them stands what always telling the share of positives would reach.",
    "In tables of groups, observed to expected is the number of positives over the sum of"
    " predicted probabilities: above 1, risk is told too low. AUROC inside a group also falls"
    " where its subjects are alike in risk, so that it says less of the model than of them.",
    "A group is called worse where its AUROC less that of all others is below 0, and off where its"
    " observed to expected is not that of all subjects, by intervals that allow for all groups of"
    " the table.",
    "Of groups, counts under ten are not shown, nor counts that would give them away.",
)


def value_of(score: Score | Figure, digits: int = 3) -> str:
    """A value, or n/a."""
    return "n/a" if score.value is None else f"{score.value:.{digits}f}"


def interval_of(score: Score | Figure, digits: int = 2) -> str:
    """Its interval in brackets; empty without one."""
    if score.low is None or score.high is None:
        return ""
    return f"[{score.low:.{digits}f}, {score.high:.{digits}f}]"


def reading(score: Score, task: TaskFindings) -> str:
    """What a figure is to be read beside; why it is absent where it is."""
    if score.value is None:
        return score.reason or ""
    words = _BESIDE[score.name](score, task)
    return "; ".join(filter(None, (words, _left_out(score))))


def describe(findings: Findings) -> str:
    """Whose predictions of what, one clause a part, parts divided by ` · `."""
    source = findings.source
    begun = f", begun {source.begun}" if source.begun else ""
    parts = [
        f"{source.run}{begun}" if source.run else "",
        f"{source.checkpoint}, step {count(source.step)}",
        f"{findings.split}: {count(findings.subjects)} subjects",
    ]
    return " · ".join(filter(None, parts))


def counted(task: TaskFindings) -> str:
    """How many subjects have which label."""
    if task.prevalence is None:
        return f"{count(task.subjects)} labelled, {len(task.counts)} classes"
    name = f"{task.names[1]}, " if task.names else ""
    positive = f"{count(task.counts[1])} positive ({name}{percent(task.prevalence)})"
    return f"{count(task.subjects)} labelled, {positive}"


def matched(findings: Findings) -> str:
    """How much of other data the model knows; empty where it is all."""
    if not findings.unmatched:
        return ""
    return f"{percent(1 - findings.unmatched)} of the events, by the names of their codes"


def _guessing(task: TaskFindings) -> str:
    share = 1 / len(task.counts) if task.prevalence is None else task.prevalence
    return f"guessing: {share:.3f}"


def _at(task: TaskFindings) -> str:
    if task.threshold is None:
        return "most probable class"
    return f"above {task.threshold.probability:.3g}"


def _chosen(task: TaskFindings) -> str:
    chosen = task.threshold is not None and task.threshold.chosen == "validation"
    return ", chosen on validation" if chosen else ""


def _largest_share(task: TaskFindings) -> float:
    return max(task.counts) / task.subjects


def _without_model(value: float) -> str:
    return f"always the shares: {value:.3f}"


def _brier_of_shares(task: TaskFindings) -> float:
    shares = [one / task.subjects for one in task.counts]
    return sum(share * (1 - share) for share in shares) / len(shares)


def _entropy(task: TaskFindings) -> float:
    shares = [one / task.subjects for one in task.counts if one]
    return -sum(share * math.log(share) for share in shares)


def _by_chance(task: TaskFindings) -> str:
    return "" if task.ece_by_chance is None else f"calibrated, by chance: {task.ece_by_chance:.3f}"


def _left_out(score: Score) -> str:
    return f"{numbers.counted(score.left_out, 'resample')} undefined" if score.left_out else ""


_BESIDE: dict[str, Callable[[Score, TaskFindings], str]] = {
    "auroc": lambda score, task: of_auc(score.value or 0.0),
    "auprc": lambda score, task: _guessing(task),
    "min_se_ppv": lambda score, task: "at the best threshold here",
    "accuracy": lambda score, task: f"{_at(task)}; one class: {_largest_share(task):.3f}",
    "f1": lambda score, task: _at(task) + _chosen(task),
    "brier": lambda score, task: _without_model(_brier_of_shares(task)),
    "log_loss": lambda score, task: _without_model(_entropy(task)),
    "ece": lambda score, task: _by_chance(task),
    "slope": lambda score, task: "1: calibrated",
    "intercept": lambda score, task: "0: calibrated",
}
