"""What depends on a threshold: who is called positive, and how well that does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.labelled import Doubles


@dataclass(frozen=True)
class Threshold:
    """Above which probability a subject is called positive.

    Attributes:
        cut: The same as log odds, what scores are compared with.
        chosen: How it was chosen, as `given`, `validation`.
    """

    cut: float = 0.0
    chosen: str = "given"

    @staticmethod
    def at(probability: float) -> Threshold:
        """The threshold at a probability between 0 and 1."""
        return Threshold(math.log(probability) - math.log1p(-probability))

    @property
    def probability(self) -> float:
        """The probability."""
        grown = math.exp(-abs(self.cut))
        return 1 / (1 + grown) if self.cut >= 0 else grown / (1 + grown)


@dataclass(frozen=True)
class Above:
    """Who is called positive at each threshold, from the highest score down.

    Attributes:
        scores: [scores] distinct, falling.
        true, false: [samples, scores] positives and negatives whose score is at least that.
    """

    scores: Doubles
    true: Doubles
    false: Doubles

    @property
    def positives(self) -> Doubles:
        """[samples, 1] of all."""
        return self.true[:, -1:]

    @property
    def negatives(self) -> Doubles:
        """[samples, 1] of all."""
        return self.false[:, -1:]


def above(scores: Doubles, positive: NDArray[np.bool_], weights: Doubles | None = None) -> Above:
    """Count who lies above each distinct score, for many weightings.

    Args:
        scores: [subjects], finite, at least one.
        positive: [subjects].
        weights: [samples, subjects], how often each subject counts; None: once each.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, truth = scores[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    drawn = np.ones((1, len(scores))) if weights is None else weights[:, order]
    counts = [np.add.reduceat(drawn * part, starts, axis=1) for part in (truth, ~truth)]
    return Above(ranked[starts], *(count.cumsum(axis=1) for count in counts))


def event_score(
    scores: Doubles, positive: NDArray[np.bool_], weights: Doubles | None = None
) -> Doubles:
    """min(Se, P+): the largest smaller one of sensitivity and positive predictivity.

    Event 1 of the PhysioNet/Computing in Cardiology Challenge 2012 (Silva et al. 2012). There a
    threshold was fixed before the test; here it is the best one on these very subjects, so that
    the figure belongs to the ranking alone and is an upper bound of what a fixed one reaches.

    Returns:
        [samples], NaN where a sample has one class only.

    >>> event_score(np.array([.1, .4, .35, .8]), np.array([False, False, True, True]))
    array([0.66666667])
    """
    counted = above(scores, positive, weights)
    called = counted.true + counted.false
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = counted.true / counted.positives
        precision = counted.true / np.maximum(called, 1)
    best: Doubles = np.minimum(sensitivity, precision).max(axis=1)
    both = (counted.positives > 0) & (counted.negatives > 0)
    return np.where(both[:, 0], best, np.nan)


def f1(
    called: NDArray[np.bool_], positive: NDArray[np.bool_], weights: Doubles | None = None
) -> Doubles:
    """Harmonic mean of precision and sensitivity [samples]; NaN where nobody is positive."""
    drawn = np.ones((1, len(called))) if weights is None else weights
    true = drawn @ (called & positive)
    wrong = drawn @ (called ^ positive)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Doubles = 2 * true / (2 * true + wrong)
    return np.where(drawn @ positive > 0, found, np.nan)


def best_for_f1(scores: Doubles, positive: NDArray[np.bool_]) -> Threshold | None:
    """The threshold with the largest F1, half-way to the next lower score; the highest of equals.

    Returns:
        None where one class is not there.
    """
    if not 0 < positive.sum() < len(positive):
        return None
    counted = above(scores, positive)
    true, false = counted.true[0], counted.false[0]
    place = int(np.argmax(2 * true / (true + false + positive.sum())))
    nearby = counted.scores[place : place + 2]
    cut = float(nearby.mean()) if len(nearby) == 2 else float(nearby[0]) - 1.0
    return Threshold(cut, "validation")
