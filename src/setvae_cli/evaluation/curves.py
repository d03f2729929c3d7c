"""ROC, precision over recall, and reliability of a task, as few points as a picture needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.calibration import BINS, equal_mass
from setvae_cli.evaluation.disclosure import LEAST
from setvae_cli.evaluation.labelled import Doubles, Integers, Labelled, sigmoid
from setvae_cli.evaluation.thresholds import above

MOST_POINTS = 400
BARS = 20
_SURE = 1.959963984540054  # of a normal distribution, 95 % two-sided


@dataclass(frozen=True)
class Reliability:
    """Predicted and observed, a bin of equal mass an entry.

    Attributes:
        predicted: Mean probability.
        observed: Share of positives.
        low, high: Of the share, 95 % (Wilson 1927).
        subjects: How many.
        histogram: Subjects in each of twenty bins of equal width from 0 to 1.
    """

    predicted: Doubles
    observed: Doubles
    low: Doubles
    high: Doubles
    subjects: Integers
    histogram: Integers


@dataclass(frozen=True)
class Curve:
    """One class against the rest.

    Attributes:
        name: Of the class; empty where there are two.
        false_rate, true_rate: Of the ROC, rising from (0, 0) to (1, 1).
        recall, precision: Recall rising from 0; a step holds its precision to the left.
        prevalence: Share of positives, what guessing reaches as precision.
        reliability: Of its probability.
    """

    name: str
    false_rate: Doubles
    true_rate: Doubles
    recall: Doubles
    precision: Doubles
    prevalence: float
    reliability: Reliability


def curves_of(of: Labelled) -> tuple[Curve, ...]:
    """The curves of a task; none where it lacks a class or has no finite predictions.

    There are none of under ten subjects either: their points would tell of single ones.
    """
    if len(of) < LEAST or of.unusable or of.lacks_a_class:
        return ()
    names = ("",) if of.binary else tuple(map(of.named, range(of.classes)))
    return tuple(_curve(name, *side) for name, side in zip(names, of.sides, strict=True))


def reliability(predicted: Doubles, positive: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Predicted and observed shares over bins of equal mass.

    Args:
        predicted: [subjects] probabilities.
        positive: [subjects].
        bins: How many at most.
    """
    cut = equal_mass(predicted, bins)
    total = np.bincount(cut.place, minlength=cut.count)
    share = np.bincount(cut.place, weights=positive, minlength=cut.count) / total
    low, high = wilson(share, total)
    return Reliability(
        predicted=np.bincount(cut.place, weights=predicted, minlength=cut.count) / total,
        observed=share,
        low=low,
        high=high,
        subjects=total.astype(np.int64),
        histogram=np.histogram(predicted, bins=BARS, range=(0, 1))[0].astype(np.int64),
    )


def wilson(share: Doubles, total: Integers) -> tuple[Doubles, Doubles]:
    """The 95 % score interval of a share (Wilson 1927).

    >>> low, high = wilson(np.array([0.1]), np.array([50]))
    >>> round(float(low[0]), 4), round(float(high[0]), 4)
    (0.0435, 0.2136)
    """
    squared = _SURE**2
    middle = (share + squared / (2 * total)) / (1 + squared / total)
    half = _SURE * np.sqrt(share * (1 - share) / total + squared / (4 * total**2))
    half /= 1 + squared / total
    return middle - half, middle + half


def thinned(x: Doubles, y: Doubles, most: int = MOST_POINTS) -> tuple[Doubles, Doubles]:
    """A curve of at most so many of its points, its ends among them, evenly along its length."""
    if len(x) <= most:
        return x, y
    length = np.cumsum(np.r_[0.0, np.hypot(np.diff(x), np.diff(y))])
    wanted = np.linspace(0, length[-1], most)
    kept = np.unique(np.searchsorted(length, wanted).clip(0, len(x) - 1))
    return x[kept], y[kept]


def _curve(name: str, scores: Doubles, positive: NDArray[np.bool_]) -> Curve:
    counted = above(scores, positive)
    true, false = counted.true[0], counted.false[0]
    recall = true / true[-1]
    rates = thinned(np.r_[0.0, false / false[-1]], np.r_[0.0, recall])
    precision = true / (true + false)
    precise = thinned(np.r_[0.0, recall], np.r_[precision[0], precision])
    prevalence = float(positive.mean())
    return Curve(name, *rates, *precise, prevalence, reliability(sigmoid(scores), positive))
