"""Logistic regression whose penalty is cross-validated on its own rows."""

from __future__ import annotations

import numpy as np
import pytest

from setvae_cli.evaluation import logistic
from setvae_cli.evaluation.logistic import Logistic, fit_logistic, log_loss


def drawn(subjects: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal features, of which the first says the class, one in four."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(subjects) % 4 == 0).astype(np.int64)
    features = generator.normal(size=(subjects, columns))
    features[:, 0] += 1.5 * labels
    return features, labels


def test_the_map_says_what_scikit_learn_says() -> None:
    from sklearn.linear_model import LogisticRegression

    features, labels = drawn(80, 5, 0)
    found = fit_logistic(features, labels, 2)
    theirs = [
        LogisticRegression(C=penalty, max_iter=1000).fit(features, labels)
        for penalty in logistic.PENALTIES
    ]
    said = found.logits(features)[:, 0]
    assert any(np.allclose(said, one.decision_function(features), atol=1e-4) for one in theirs)


def test_the_penalty_is_stronger_where_there_is_more_to_be_misled_by() -> None:
    few, many = (fit_logistic(*drawn(40, columns, 1), 2) for columns in (1, 200))
    assert np.linalg.norm(many.weight) < np.linalg.norm(few.weight)
    new, labels = drawn(400, 200, 2)
    assert log_loss(many.logits(new), labels) < log_loss(np.zeros((400, 1)), labels)


def test_a_class_that_was_not_seen_is_improbable() -> None:
    features, labels = drawn(60, 3, 0)
    found = fit_logistic(features, 2 * labels, 3)
    said = found.logits(features)
    assert found.weight.shape == (3, 3)
    assert (said[:, 1] < said[:, [0, 2]].max(axis=1) - 5).all()


def test_a_class_weight_is_as_many_copies_of_its_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "PENALTIES", (0.1,))
    features, labels = drawn(40, 3, 0)
    weighted = fit_logistic(features, labels, 2, (1.0, 3.0))
    times = np.where(labels == 1, 3, 1)
    copied = fit_logistic(np.repeat(features, times, axis=0), np.repeat(labels, times), 2)
    np.testing.assert_allclose(weighted.weight, copied.weight, atol=1e-3)


def test_a_class_of_one_subject_leaves_nothing_to_hold_out() -> None:
    features = drawn(20, 2, 0)[0]
    one = (np.arange(20) == 0).astype(np.int64)
    assert isinstance(fit_logistic(features, one, 2), Logistic)
    assert np.isfinite(fit_logistic(features, one, 2).weight).all()
