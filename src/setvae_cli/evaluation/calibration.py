"""Whether predicted probabilities are what happens: Brier, log loss, ECE, slope and intercept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setvae_cli.evaluation.bootstrap import block_sizes
from setvae_cli.evaluation.labelled import Doubles, Integers, sigmoid

BINS = 10
LEAST_OF_A_BIN = 10
_ROUNDS = 60
_LARGEST_STEP = 2.0  # of Newton, in units of standardised scores: it does not overshoot
_SEPARATED = 1e3  # a slope of standardised scores that has no end


@dataclass(frozen=True)
class Bins:
    """Subjects in bins of predicted probability.

    Attributes:
        place: [subjects], number of each subject's bin.
        count: How many bins there are.
    """

    place: Integers
    count: int

    def sums(self, values: Doubles) -> Doubles:
        """Sums over each bin: from [samples, subjects] to [samples, bins]."""
        order = np.argsort(self.place, kind="stable")
        starts = np.searchsorted(self.place[order], np.arange(self.count))
        return np.add.reduceat(values[:, order], starts, axis=1)


def equal_mass(predicted: Doubles, most: int = BINS) -> Bins:
    """Bins of as many subjects as can be had equal, equal predictions in one bin.

    Equal mass, as in Nixon et al. 2019 ("Measuring Calibration in Deep Learning"): bins of equal
    width leave most subjects of a rare outcome in one bin.

    Args:
        predicted: [subjects] probabilities.
        most: Bins; fewer where a bin would hold under ten subjects.
    """
    bins = max(1, min(most, len(predicted) // LEAST_OF_A_BIN))
    edges = np.quantile(predicted, np.arange(1, bins) / bins, method="inverted_cdf")
    place = np.searchsorted(np.unique(edges), predicted, side="left")
    numbers, place = np.unique(place, return_inverse=True)
    return Bins(place.reshape(-1).astype(np.int64), len(numbers))


def brier(predicted: Doubles, positive: NDArray[np.bool_], weights: Doubles) -> Doubles:
    """Mean squared error of a probability (Brier 1950, of one class) [samples]; 0 is perfect."""
    found: Doubles = weights @ (predicted - positive) ** 2 / weights.sum(axis=1)
    return found


def log_loss(logits: Doubles, labels: Integers, weights: Doubles) -> Doubles:
    """Mean negative log probability of the true class, nats [samples].

    Args:
        logits: [subjects, outputs]; one column for two classes.
        labels: [subjects] class numbers.
        weights: [samples, subjects].
    """
    if logits.shape[1] == 1:
        lost = np.logaddexp(0, np.where(labels == 1, -logits[:, 0], logits[:, 0]))
    else:
        most = logits.max(axis=1)
        total = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
        lost = total - logits[np.arange(len(labels)), labels]
    found: Doubles = weights @ lost / weights.sum(axis=1)
    return found


def expected_error(
    predicted: Doubles, positive: NDArray[np.bool_], weights: Doubles, bins: Bins | None = None
) -> Doubles:
    """Expected calibration error [samples]: mean distance of predicted and observed, over bins.

    Naeini et al. 2015 (there of bins of equal width); bins are `equal_mass` of these predictions.
    It is above 0 of a calibrated model too, see `error_by_chance`.

    Args:
        predicted: [subjects] probabilities.
        positive: [subjects].
        weights: [samples, subjects], how often each subject counts.
        bins: Of the subjects; None: equal mass.
    """
    cut = bins or equal_mass(predicted)
    apart = cut.sums(weights * (predicted - positive))
    found: Doubles = np.abs(apart).sum(axis=1) / weights.sum(axis=1)
    return found


def error_by_chance(predicted: Doubles, *, resamples: int, seed: int) -> float:
    """The mean expected calibration error if every probability were true.

    Labels are drawn from the probabilities (consistency resampling, Bröcker and Smith 2007).
    """
    cut, generator = equal_mass(predicted), np.random.default_rng([seed, 0xECE])
    found = []
    for size in block_sizes(len(predicted), max(resamples, 1)):
        drawn = generator.random((size, len(predicted))) < predicted
        apart = cut.sums(predicted - drawn)
        found.append(np.abs(apart).sum(axis=1) / len(predicted))
    return float(np.concatenate(found).mean())


def recalibration(
    scores: Doubles, positive: NDArray[np.bool_], weights: Doubles
) -> tuple[Doubles, Doubles]:
    """Calibration slope and intercept, for many weightings.

    Logistic regression of the label on the logit, logit P(label) = intercept + slope x logit (Cox
    1958, "Two further applications of a model for binary regression"), by Newton's method. A
    calibrated model has slope 1 and intercept 0; a slope under 1 says that predictions are too far
    apart.

    Args:
        scores: [subjects] log odds, finite.
        positive: [subjects].
        weights: [samples, subjects].

    Returns:
        Slope and intercept [samples]; NaN where there is none: of one class, of equal scores, of
        classes that a score tells apart without error.
    """
    middle, spread = scores.mean(), scores.std()
    if not spread > 0:
        nothing = np.full(len(weights), np.nan)
        return nothing, nothing.copy()
    x = (scores - middle) / spread
    near = _newton(x, positive, weights.mean(axis=0, keepdims=True), (np.nan, np.nan))
    intercept, slope = _newton(x, positive, weights, (near[0][0], near[1][0]))
    return slope / spread, intercept - slope * middle / spread


def _newton(
    x: Doubles, positive: NDArray[np.bool_], weights: Doubles, start: tuple[float, float]
) -> tuple[Doubles, Doubles]:
    """Intercept and slope of every weighting; NaN where Newton's method finds no end.

    It starts from the share of positives where `start` is NaN: near the end it takes half as long.
    """
    truth = positive.astype(np.float64)
    share = weights @ truth / weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = np.log(share) - np.log1p(-share), np.zeros(len(weights))
        open_ = np.isfinite(a)
        if np.isfinite(start).all():
            a[:], b[:] = start
        settled = np.zeros(len(weights), dtype=bool)
        for _ in range(_ROUNDS):
            here = np.flatnonzero(open_ & ~settled)
            if not len(here):
                break
            step_a, step_b = _step(x, truth, weights[here], a[here], b[here])
            a[here] += step_a
            b[here] += step_b
            settled[here] = np.maximum(np.abs(step_a), np.abs(step_b)) < 1e-10
            open_[here] &= np.isfinite(a[here]) & (np.abs(b[here]) < _SEPARATED)
    known = settled & open_
    return np.where(known, a, np.nan), np.where(known, b, np.nan)


def _step(
    x: Doubles, truth: Doubles, weights: Doubles, a: Doubles, b: Doubles
) -> tuple[Doubles, Doubles]:
    """One step of Newton's method, shortened where it is long."""
    p = sigmoid(a[:, None] + b[:, None] * x)
    off = weights * (truth - p)
    curved = weights * p * (1 - p)
    g0, g1 = off.sum(axis=1), off @ x
    h00, h01, h11 = curved.sum(axis=1), curved @ x, curved @ x**2
    determinant = h00 * h11 - h01**2
    step_a = (h11 * g0 - h01 * g1) / determinant
    step_b = (h00 * g1 - h01 * g0) / determinant
    shorter = np.minimum(1.0, _LARGEST_STEP / np.maximum(np.abs(step_a), np.abs(step_b)))
    return step_a * shorter, step_b * shorter
