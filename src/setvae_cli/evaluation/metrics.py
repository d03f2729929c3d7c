"""AUROC, AUPRC and accuracy, exact, with bootstrap intervals over subjects.

A metric that cannot be computed is absent and says why; it is never 0, 0.5 or 1 instead. Labels
that are missing take no part. With more than two classes, AUROC and AUPRC are the mean of one
class against the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from setvae_cli.evaluation.measures import Metric

_BLOCK = 4_000_000  # cells of a block of bootstrap weights: 32 MB of float64


def measure(
    logits: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    *,
    tasks: Sequence[str],
    classes: Sequence[int],
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
        resamples: Bootstrap samples of an interval; 0: no intervals.
        seed: Seed of the bootstrap.

    Returns:
        Three metrics a task: auroc, auprc, accuracy.
    """
    found: list[Metric] = []
    first = 0
    for number, (task, count) in enumerate(zip(tasks, classes, strict=True)):
        width = 1 if count == 2 else count
        real = mask[:, number]
        scores = logits[real, first : first + width].astype(np.float64)
        found += _measure_task(task, scores, labels[real, number], resamples, seed)
        first += width
    return tuple(found)


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


def mean_auroc(metrics: Sequence[Metric]) -> float | None:
    """Mean AUROC over the tasks that have one; None where none has."""
    values = [m.value for m in metrics if m.name == "auroc" and m.value is not None]
    return float(np.mean(values)) if values else None


def _measure_task(
    task: str, scores: np.ndarray, labels: np.ndarray, resamples: int, seed: int
) -> list[Metric]:
    count = len(labels)
    broken = _unusable(scores)
    one_class = broken or _lacks_a_class(labels, scores.shape[1])
    table = [("auroc", one_class), ("auprc", one_class), ("accuracy", broken)]
    if broken:
        return [Metric(name, task, None, None, None, count, why) for name, why in table]
    values = _values(scores, labels, None)[0]
    samples = _bootstrap(scores, labels, resamples, seed)
    return [
        Metric(name, task, None, None, None, count, why)
        if why
        else Metric(name, task, float(values[i]), *_interval(samples[:, i]), count)
        for i, (name, why) in enumerate(table)
    ]


def _unusable(scores: np.ndarray) -> str | None:
    if not len(scores):
        return "no labelled subjects"
    bad = int((~np.isfinite(scores).all(axis=1)).sum())
    return f"{bad} of {len(scores)} predictions are not finite" if bad else None


def _lacks_a_class(labels: np.ndarray, width: int) -> str | None:
    seen = np.unique(labels)
    if len(seen) < 2:
        return f"only class {int(seen[0])} is present"
    missing = sorted(set(range(width)) - set(seen.tolist())) if width > 1 else []
    return f"class {missing[0]} is not present" if missing else None


def _values(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Auroc, auprc and accuracy of each weighting: [samples, 3]."""
    if scores.shape[1] == 1:
        auroc, auprc = rank_metrics(scores[:, 0], labels == 1, weights)
        correct = (scores[:, 0] > 0) == (labels == 1)
    else:
        # Ranks of a class need its probability: logits of a class are only known up to a shift.
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        pairs = [rank_metrics(odds[:, c], labels == c, weights) for c in range(scores.shape[1])]
        auroc, auprc = (np.mean(part, axis=0) for part in zip(*pairs, strict=True))
        correct = scores.argmax(axis=1) == labels
    drawn = np.ones((1, len(labels))) if weights is None else weights
    return np.stack([auroc, auprc, drawn @ correct / len(labels)], axis=1)


def _bootstrap(scores: np.ndarray, labels: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    count = len(labels)
    block = max(1, _BLOCK // count)
    generator = np.random.default_rng(seed)
    parts = [np.empty((0, 3))]
    for first in range(0, resamples, block):
        size = min(block, resamples - first)
        weights = generator.multinomial(count, np.full(count, 1 / count), size=size)
        parts.append(_values(scores, labels, weights.astype(np.float64)))
    return np.concatenate(parts)


def _interval(samples: np.ndarray) -> tuple[float | None, float | None]:
    usable = samples[np.isfinite(samples)]
    if not len(usable):
        return None, None
    low, high = np.percentile(usable, [2.5, 97.5])
    return float(low), float(high)
