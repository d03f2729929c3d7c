"""Curves end where they should, hold their areas, and have few points."""

from __future__ import annotations

import numpy as np
import pytest

from setvae_cli.evaluation.curves import MOST_POINTS, curves_of, reliability, thinned
from setvae_cli.evaluation.labelled import Labelled, sigmoid
from setvae_cli.evaluation.metrics import rank_metrics


def drawn(size: int, *, classes: int = 2) -> Labelled:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, size)
    logits = generator.normal(size=(size, 1 if classes == 2 else classes))
    logits[:, 0] += labels == 1
    return Labelled("death", classes, logits, labels, np.arange(size))


def test_areas_under_the_curves_are_auroc_and_auprc() -> None:
    of = drawn(150)
    (curve,) = curves_of(of)
    auroc, auprc = rank_metrics(*of.sides[0])
    assert np.trapezoid(curve.true_rate, curve.false_rate) == pytest.approx(auroc[0], abs=1e-12)
    steps = np.diff(np.r_[0, curve.recall]) @ curve.precision
    assert steps == pytest.approx(auprc[0], abs=1e-12)
    assert (curve.false_rate[0], curve.true_rate[0]) == (0, 0)
    assert (curve.false_rate[-1], curve.true_rate[-1]) == (1, 1)
    assert curve.precision[-1] == pytest.approx(curve.prevalence)


def test_a_curve_of_many_subjects_has_few_points_and_almost_the_same_area() -> None:
    of = drawn(20_000)
    (curve,) = curves_of(of)
    assert len(curve.false_rate) <= MOST_POINTS
    assert len(curve.recall) <= MOST_POINTS
    auroc, _ = rank_metrics(*of.sides[0])
    assert np.trapezoid(curve.true_rate, curve.false_rate) == pytest.approx(auroc[0], abs=1e-3)


def test_thinning_keeps_points_and_both_ends() -> None:
    x = np.linspace(0, 1, 1000)
    kept, y = thinned(x, x**2, 50)
    assert (kept[0], kept[-1]) == (0, 1)
    assert np.isin(kept, x).all()
    assert np.allclose(y, kept**2)


def test_each_class_has_a_curve_and_a_missing_class_has_none() -> None:
    assert [curve.name for curve in curves_of(drawn(90, classes=3))] == [
        "class 0",
        "class 1",
        "class 2",
    ]
    of = drawn(20)
    assert curves_of(of.of(of.labels == 1)) == ()


def test_reliability_counts_everyone_once() -> None:
    predicted = sigmoid(drawn(205).logits[:, 0])
    positive = np.arange(205) % 4 == 0
    found = reliability(predicted, positive)
    assert found.subjects.sum() == found.histogram.sum() == 205
    assert (found.observed * found.subjects).sum() == pytest.approx(positive.sum())
    assert (found.low <= found.observed).all()
    assert (found.observed <= found.high).all()
    assert (np.diff(found.predicted) > 0).all()
