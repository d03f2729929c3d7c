"""Logistic regression whose penalty follows from its own training rows, as a linear map.

The penalty is chosen by cross-validation of the training rows, by log loss: a share of the labels
leaves too few in validation to choose by (on PhysioNet 2012 with 128 labels for training and 32 for
validation, AUROC .69 if validation chooses, .77 if cross-validation does).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # inverse: larger ones are weaker
FEWEST_PENALTY = 0.01  # where a class has a single subject, so that nothing can be held out
PARTS = 5
UNSEEN = float(np.log(1e-6))  # logit beside the others of a class that training did not see

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Logistic:
    """Logits that are linear in features.

    Attributes:
        weight: [outputs, features]; one output for two classes, else one a class.
        bias: [outputs]
    """

    weight: Float[np.ndarray, "outputs features"]
    bias: Float[np.ndarray, "outputs"]

    def logits(
        self, features: Float[np.ndarray, "subjects features"]
    ) -> Float[np.ndarray, "subjects outputs"]:
        """Log-odds of two classes; of more, unnormalised log-probabilities."""
        return np.asarray(features @ self.weight.T + self.bias)


def fit_logistic(
    features: Float[np.ndarray, "subjects features"],
    labels: Int64[np.ndarray, "subjects"],
    classes: int,
    class_weights: tuple[float, ...] | None = None,
) -> Logistic:
    """Logistic regression with an L2 penalty, several classes at once.

    Args:
        features: Standardised, finite.
        labels: Class numbers; two classes at least are there.
        classes: Of the label.
        class_weights: How much a subject of each class counts; None: all the same.
    """
    weights = None if class_weights is None else np.asarray(class_weights)[labels]
    penalty = _penalty(features, labels, weights)
    return _fitted(features, labels, penalty, weights, classes)


def log_loss(logits: Doubles, labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy, nats.

    Args:
        logits: [subjects, outputs]; one output for two classes.
        labels: [subjects] class numbers.
    """
    return float(np.mean(_losses(logits, labels)))


def _losses(logits: Doubles, labels: NDArray[np.int64]) -> Doubles:
    both = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
    total = np.logaddexp.reduce(both, axis=1)
    return np.asarray(total - both[np.arange(len(labels)), labels])


def _penalty(features: Doubles, labels: NDArray[np.int64], weights: Doubles | None) -> float:
    """What cross-validation prefers, on parts that each class is spread over."""
    from sklearn.model_selection import StratifiedKFold

    seen, numbers, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if sizes.min() < 2:
        return FEWEST_PENALTY
    parts = StratifiedKFold(min(PARTS, int(sizes.min())), shuffle=True, random_state=0)
    each = np.ones(len(labels)) if weights is None else weights
    total = dict.fromkeys(PENALTIES, 0.0)
    for kept, out in parts.split(features, numbers):
        for penalty in PENALTIES:
            part = None if weights is None else weights[kept]
            fitted = _fitted(features[kept], numbers[kept], penalty, part, len(seen))
            losses = _losses(fitted.logits(features[out]), numbers[out])
            total[penalty] += float(losses @ each[out])
    return min(PENALTIES, key=lambda penalty: total[penalty])


def _fitted(
    features: Doubles,
    labels: NDArray[np.int64],
    penalty: float,
    weights: Doubles | None,
    classes: int,
) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=penalty, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a weak penalty that does not converge is not preferred
        model.fit(features, labels, sample_weight=weights)
    return _complete(model.coef_, model.intercept_, model.classes_.astype(np.int64), classes)


def _complete(
    coefficients: Doubles, bias: Doubles, seen: NDArray[np.int64], classes: int
) -> Logistic:
    """What scikit-learn found for the classes that it saw, for all of them."""
    if classes == 2:
        return Logistic(coefficients, bias)
    if len(seen) == 2:
        coefficients, bias = (np.concatenate([-of / 2, of / 2]) for of in (coefficients, bias))
    weight, level = np.zeros((classes, coefficients.shape[1])), np.full(classes, UNSEEN)
    weight[seen], level[seen] = coefficients, bias
    return Logistic(weight, level)
