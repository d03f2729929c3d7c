"""Two methods that every network has to beat: logistic regression and gradient-boosted trees.

Both are fitted on training rows alone; what they leave open is chosen on validation by log loss,
which small splits measure with less noise than ranks. Linear: features clipped to their 0.5 % and
99.5 % quantiles, missing ones at the median, standardised; the penalty is chosen from `PENALTIES`.
Trees: histograms (Ke et al. 2017, LightGBM; scikit-learn's) of 8 leaves, learning rate 0.03, a
tenth of the features a split; how many trees is chosen.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PENALTIES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # inverse: larger ones are weaker
MOST_TREES = 600
UNSEEN = float(np.log(1e-6))  # logit beside the others of a class that training did not see
_OUTER = (0.005, 0.995)

Doubles = NDArray[np.float64]
Predictor = Callable[[NDArray[Any]], Doubles]
"""Logits [subjects, outputs] of features [subjects, features]; one output for two classes."""


@dataclass(frozen=True)
class Told:
    """Features of some subjects and what became of them.

    Attributes:
        features: [subjects, features]; NaN: not known.
        labels: Class numbers [subjects].
    """

    features: NDArray[Any]
    labels: NDArray[np.int64]


def fit_linear(train: Told, validation: Told, classes: int) -> Predictor:
    """Logistic regression, several classes at once, with the penalty that validation prefers.

    Args:
        train: What it is fitted on; two classes at least.
        validation: What the penalty is chosen by.
        classes: Of the label.
    """
    from sklearn.linear_model import LogisticRegression

    scaled = _scaler(train.features)
    x, look = scaled(train.features), scaled(validation.features)

    def fitted() -> Iterator[tuple[float, Any]]:
        for penalty in PENALTIES:
            model = LogisticRegression(C=penalty, max_iter=1000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a penalty that does not converge is not chosen
                model.fit(x, train.labels)
            said = _complete(model.decision_function(look), model.classes_, classes)
            yield log_loss(said, validation.labels), model

    best = min(fitted(), key=lambda pair: pair[0])[1]
    return lambda features: _complete(
        best.decision_function(scaled(features)), best.classes_, classes
    )


def fit_trees(train: Told, validation: Told, classes: int) -> Predictor:
    """Gradient-boosted trees, as many as validation prefers.

    Args:
        train: What they are fitted on; two classes at least.
        validation: What their number is chosen by.
        classes: Of the label.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = _known(train.features)
    model = HistGradientBoostingClassifier(
        learning_rate=0.03,
        max_iter=MOST_TREES,
        max_leaf_nodes=8,
        max_features=0.1,
        l2_regularization=10.0,
        min_samples_leaf=max(2, min(20, len(train.labels) // 50)),
        early_stopping=False,
        random_state=0,  # of the features that a split may use
    ).fit(train.features[:, known], train.labels)

    def stages(features: NDArray[Any]) -> Iterator[Doubles]:
        for said in model.staged_decision_function(features[:, known]):
            yield _complete(said, model.classes_, classes)

    losses = [log_loss(said, validation.labels) for said in stages(validation.features)]
    chosen = int(np.argmin(losses))
    return lambda features: next(said for i, said in enumerate(stages(features)) if i == chosen)


def log_loss(logits: Doubles, labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy, nats.

    Args:
        logits: [subjects, outputs]; one output for two classes.
        labels: [subjects] class numbers.
    """
    both = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
    total = np.logaddexp.reduce(both, axis=1)
    return float(np.mean(total - both[np.arange(len(labels)), labels]))


def blended(parts: Sequence[tuple[Doubles, Doubles]]) -> Doubles:
    """The mean of several methods' logits, each divided by its spread on validation.

    The mean is given back the average centre and spread, so that 0 remains the middle.

    Args:
        parts: Of each method its logits [subjects, outputs], and those of the validation rows.
    """
    centres = [np.nanmean(validation, axis=0) for _, validation in parts]
    spreads = [
        max(float(np.sqrt(np.nanmean((validation - centre) ** 2))), 1e-12)
        for (_, validation), centre in zip(parts, centres, strict=True)
    ]
    each = [
        (logits - centre) / spread
        for (logits, _), centre, spread in zip(parts, centres, spreads, strict=True)
    ]
    return np.asarray(np.mean(each, axis=0) * np.mean(spreads) + np.mean(centres, axis=0))


def _scaler(train: NDArray[Any]) -> Callable[[NDArray[Any]], Doubles]:
    """Clipped, completed and standardised as the training features are."""
    known = _known(train)
    kept = train[:, known].astype(np.float64)
    low, middle, high = np.nanquantile(kept, (_OUTER[0], 0.5, _OUTER[1]), axis=0)

    def completed(features: NDArray[Any]) -> Doubles:
        some = features[:, known].astype(np.float64)
        return np.clip(np.where(np.isnan(some), middle, some), low, high)

    mean, spread = completed(train).mean(axis=0), completed(train).std(axis=0)
    spread[spread == 0] = 1.0
    return lambda features: (completed(features) - mean) / spread


def _known(train: NDArray[Any]) -> NDArray[np.bool_]:
    """Features that some training subject has; neither method takes others."""
    return np.asarray(~np.isnan(train).all(axis=0))


def _complete(said: NDArray[Any], seen: NDArray[Any], classes: int) -> Doubles:
    """What scikit-learn says of the classes that it saw, as logits of all of them."""
    logits = np.asarray(said, dtype=np.float64).reshape(len(said), -1)
    if classes == 2:
        return logits
    if logits.shape[1] == 1:
        logits = np.hstack([-logits / 2, logits / 2])
    logits = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    whole = np.full((len(logits), classes), UNSEEN)
    whole[:, seen.astype(np.int64)] = logits
    return whole
