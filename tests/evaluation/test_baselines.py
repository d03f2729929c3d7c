"""The two baselines: they learn what is there, and say something of every subject and class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from setvae_cli.evaluation.baselines import (
    Predictor,
    Told,
    blended,
    fit_linear,
    fit_trees,
    log_loss,
)
from setvae_cli.evaluation.metrics import rank_metrics

Fit = Callable[[Told, Told, int], Predictor]


def told(subjects: int, classes: int, seed: int) -> Told:
    """The first feature says the class, the second nothing; a tenth is missing, the third all."""
    generator = np.random.default_rng(seed)
    labels = np.arange(subjects) % classes
    features = generator.normal(size=(subjects, 3))
    features[:, 0] += 3 * labels
    features[generator.random(features.shape) < 0.1] = np.nan
    features[:, 2] = np.nan
    return Told(features, labels)


@pytest.mark.parametrize("fit", [fit_linear, fit_trees])
def test_what_features_say_is_learned(fit: Fit) -> None:
    predictor = fit(told(200, 2, 0), told(80, 2, 1), 2)
    test = told(100, 2, 2)
    said = predictor(test.features)
    assert said.shape == (100, 1)
    assert rank_metrics(said[:, 0], test.labels == 1)[0] > 0.9
    assert log_loss(said, test.labels) < 0.5


@pytest.mark.parametrize("fit", [fit_linear, fit_trees])
def test_a_class_that_training_did_not_see_is_improbable_and_not_absent(fit: Fit) -> None:
    some = told(120, 3, 0)
    for seen in ([0, 1], [0, 2]):
        kept = np.isin(some.labels, seen)
        train = Told(some.features[kept], some.labels[kept])
        said = fit(train, told(30, 3, 1), 3)(told(40, 3, 2).features)
        assert said.shape == (40, 3)
        (unseen,) = set(range(3)) - set(seen)
        assert (said[:, unseen] < said[:, seen].max(axis=1)).all()


@pytest.mark.parametrize("fit", [fit_linear, fit_trees])
def test_test_subjects_do_not_change_each_other(fit: Fit) -> None:
    predictor = fit(told(60, 2, 0), told(30, 2, 1), 2)
    test = told(20, 2, 2).features
    np.testing.assert_allclose(predictor(test)[:5], predictor(test[:5]), rtol=1e-12)


def test_log_loss_is_the_published_formula() -> None:
    logits = np.array([[0.0], [np.log(3.0)]])
    assert log_loss(logits, np.array([1, 1])) == pytest.approx((np.log(2) + np.log(4 / 3)) / 2)


def test_a_blend_does_not_depend_on_the_scale_of_its_parts() -> None:
    generator = np.random.default_rng(0)
    one, other = (generator.normal(size=(30, 1)) for _ in range(2))
    plain = blended([(one, one), (other, other)])
    scaled = blended([(10 * one + 4, 10 * one + 4), (other, other)])
    assert np.array_equal(np.argsort(plain[:, 0]), np.argsort(scaled[:, 0]))
