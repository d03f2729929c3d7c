"""AUROC, AUPRC and accuracy, exact, with bootstrap intervals over subjects.

A metric that cannot be computed is absent and says why; it is never 0, 0.5 or 1 instead. Labels
that are missing take no part. With more than two classes, AUROC and AUPRC are the mean of one
class against the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from setvae_cli.evaluation.bootstrap import interval, resampled
from setvae_cli.evaluation.labelled import Doubles, Integers, Labelled, labelled_tasks
from setvae_cli.evaluation.measures import Metric


def measure(
    logits: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    *,
    tasks: Sequence[str],
    classes: Sequence[int],
    groups: Integers | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Metric, ...]:
    """Measure every task of a split.

    Args:
        logits: [subjects, outputs]; one column for a task of two classes, else one a class.
        labels: [subjects, tasks] class numbers.
        mask: [subjects, tasks], True where there is a label.
        tasks: Names of the tasks.
        classes: Classes of each task.
        groups: [subjects] numbers of what an interval draws together; None: each by itself.
        resamples: Bootstrap samples of an interval; 0: no intervals.
        seed: Seed of the bootstrap.

    Returns:
        Three metrics a task: auroc, auprc, accuracy.
    """
    each = labelled_tasks(logits, labels, mask, tasks=tasks, classes=classes, groups=groups)
    return tuple(metric for of in each for metric in _of_task(of, resamples, seed))


def rank_metrics(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Area under the ROC curve (ties count half) and average precision, for many weightings.

    Args:
        scores: [subjects], finite.
        positive: [subjects] bool.
        weights: [samples, subjects], how often each subject counts; None: once each.

    Returns:
        AUROC and average precision, each [samples], NaN where a sample has one class only.
        Average precision steps over distinct scores and does not interpolate.

    >>> rank_metrics(np.array([.1, .4, .35, .8]), np.array([False, False, True, True]))
    (array([0.75]), array([0.83333333]))
    """
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    drawn = np.ones((1, len(scores))) if weights is None else weights[:, order]
    positives = np.add.reduceat(drawn * truth, starts, axis=1)
    negatives = np.add.reduceat(drawn * ~truth, starts, axis=1)
    above, false_above = positives.cumsum(axis=1), negatives.cumsum(axis=1)
    p, n = above[:, -1], false_above[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (negatives * (above - positives / 2)).sum(axis=1) / (p * n)
        precision = above / np.maximum(above + false_above, 1)
        average = (positives * precision).sum(axis=1) / p
    return auroc, np.where(n > 0, average, np.nan)


def mean_of(metrics: Sequence[Metric], name: str) -> float | None:
    """Mean of a metric over the tasks that have it; None where none has."""
    values = [m.value for m in metrics if m.name == name and m.value is not None]
    return float(np.mean(values)) if values else None


def _of_task(of: Labelled, resamples: int, seed: int) -> list[Metric]:
    broken = of.unusable
    one_class = broken or of.lacks_a_class
    table = [("auroc", one_class), ("auprc", one_class), ("accuracy", broken)]
    if broken:
        return [Metric(name, of.task, None, None, None, len(of), why) for name, why in table]
    values = _values(of, np.ones((1, len(of))))[0]
    samples = resampled(of, _values, len(table), resamples=resamples, seed=seed)
    return [
        Metric(name, of.task, None, None, None, len(of), why)
        if why
        else Metric(name, of.task, float(values[i]), *interval(samples[:, i]), len(of))
        for i, (name, why) in enumerate(table)
    ]


def _values(of: Labelled, weights: Doubles) -> Doubles:
    """AUROC, AUPRC and accuracy of each weighting [samples, 3]."""
    sides = [rank_metrics(*side, weights) for side in of.sides]
    auroc, auprc = np.mean(sides, axis=0)
    accuracy = weights @ (of.predicted == of.labels) / weights.sum(axis=1)
    return np.stack([auroc, auprc, accuracy], axis=1)
