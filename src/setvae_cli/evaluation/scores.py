"""All that is measured of a task's predictions, each figure with a bootstrap interval.

    auroc auprc min_se_ppv     how well subjects are ranked
    accuracy f1                what a threshold makes of it (argmax with several classes)
    brier ece log_loss         how far probabilities are from what happened
    slope intercept            of recalibration: 1 and 0 of a calibrated model

With more than two classes all but accuracy and log loss are the mean of one class against the
rest. What cannot be computed is absent and says why. Subjects of one group are drawn together; a
resample in which a figure is not defined is left out of its interval, and counted. Resampling makes
ECE larger, which is taken off its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from setvae_cli.evaluation import calibration
from setvae_cli.evaluation.bootstrap import Tick, centred_interval, interval, resampled
from setvae_cli.evaluation.labelled import Doubles, Labelled, sigmoid
from setvae_cli.evaluation.measures import Metric
from setvae_cli.evaluation.metrics import rank_metrics
from setvae_cli.evaluation.thresholds import Threshold, event_score, f1

NAMES = (
    "auroc",
    "auprc",
    "min_se_ppv",
    "accuracy",
    "f1",
    "brier",
    "ece",
    "log_loss",
    "slope",
    "intercept",
)
_OF_BOTH = ("auroc", "auprc", "min_se_ppv", "f1", "slope", "intercept")
_FITTED = ("slope", "intercept")
_DISTANCES = ("ece",)


@dataclass(frozen=True)
class Score(Metric):
    """A metric, with the resamples in which it was not defined.

    Attributes:
        left_out: How many, of those that were drawn.
    """

    left_out: int = 0


def score(
    of: Labelled,
    *,
    threshold: Threshold | None = None,
    resamples: int = 1000,
    seed: int = 0,
    tick: Tick | None = None,
) -> tuple[Score, ...]:
    """Measure a task.

    Args:
        of: Its labelled subjects.
        threshold: Of accuracy and F1, for a task of two classes; None: one half.
        resamples: Bootstrap samples of an interval; 0: no intervals.
        seed: Seed of the bootstrap.
        tick: Is told how far it is.

    Returns:
        A score for each of `NAMES`.
    """
    broken = of.unusable
    if broken:
        return tuple(_absent(name, of, broken) for name in NAMES)

    def scorer(subjects: Labelled, weights: Doubles) -> Doubles:
        return figures(subjects, weights, threshold or Threshold())

    values = scorer(of, np.ones((1, len(of))))[0]
    samples = resampled(of, scorer, len(NAMES), resamples=resamples, seed=seed, tick=tick)
    why = [_reason(name, of, value) for name, value in zip(NAMES, values, strict=True)]
    return tuple(
        _absent(name, of, reason)
        if reason
        else Score(
            name, of.task, float(values[i]), *_interval(name, float(values[i]), samples[:, i]),
            len(of), None, int((~np.isfinite(samples[:, i])).sum()),
        )
        for i, (name, reason) in enumerate(zip(NAMES, why, strict=True))
    )  # fmt: skip


def figures(of: Labelled, weights: Doubles, threshold: Threshold) -> Doubles:
    """Each of `NAMES` for every weighting [samples, figures]; NaN where it is not defined.

    Args:
        of: Subjects with finite logits.
        weights: [samples, subjects], how often each counts.
        threshold: Of accuracy and F1, for a task of two classes.
    """
    called = of.logits[:, 0] > threshold.cut if of.binary else None
    sides = [
        _of_side(
            scores,
            truth,
            weights,
            called if called is not None else of.predicted == number,
        )
        for number, (scores, truth) in enumerate(of.sides)
    ]
    found = {name: np.mean([side[name] for side in sides], axis=0) for name in sides[0]}
    right = (called == of.sides[0][1]) if called is not None else (of.predicted == of.labels)
    found["accuracy"] = weights @ right / weights.sum(axis=1)
    found["log_loss"] = calibration.log_loss(of.logits, of.labels, weights)
    return np.stack([found[name] for name in NAMES], axis=1)


def found(scores: Sequence[Score], name: str) -> Score:
    """The score of this name."""
    return next(one for one in scores if one.name == name)


def _of_side(
    scores: Doubles, truth: np.ndarray, weights: Doubles, called: np.ndarray
) -> dict[str, Doubles]:
    """Figures of one class against the rest, [samples] each."""
    predicted = sigmoid(scores)
    auroc, auprc = rank_metrics(scores, truth, weights)
    slope, intercept = calibration.recalibration(scores, truth, weights)
    return {
        "auroc": auroc,
        "auprc": auprc,
        "min_se_ppv": event_score(scores, truth, weights),
        "f1": f1(called, truth, weights),
        "brier": calibration.brier(predicted, truth, weights),
        "ece": calibration.expected_error(predicted, truth, weights),
        "slope": slope,
        "intercept": intercept,
    }


def _reason(name: str, of: Labelled, value: float) -> str | None:
    """Why a figure is absent."""
    if name in _OF_BOTH and of.lacks_a_class:
        return of.lacks_a_class
    if np.isfinite(value):
        return None
    if name not in _FITTED:
        return "not defined for these labels"
    equal = any(not np.ptp(scores) > 0 for scores, _ in of.sides)
    return "all predictions are equal" if equal else "no finite slope fits: classes are separated"


def _interval(name: str, value: float, samples: Doubles) -> tuple[float | None, float | None]:
    return centred_interval(value, samples) if name in _DISTANCES else interval(samples)


def _absent(name: str, of: Labelled, why: str) -> Score:
    return Score(name, of.task, None, None, None, len(of), why)
