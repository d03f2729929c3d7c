"""Metrics are exact, and absent with a reason where they mean nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from setvae_cli.evaluation.metrics import mean_of, measure, rank_metrics


def one_task(logits, labels, **options):
    labels = np.asarray(labels)[:, None]
    return measure(
        np.asarray(logits, float)[:, None],
        labels,
        labels >= 0,
        tasks=("death",),
        classes=(2,),
        **options,
    )


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=60).filter(
        lambda pairs: len({label for _, label in pairs}) == 2
    )
)
def test_rank_metrics_equal_sklearn_with_ties(pairs):
    scores = np.array([score for score, _ in pairs], float)
    labels = np.array([label for _, label in pairs])
    auroc, average = rank_metrics(scores, labels)
    assert auroc[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average[0] == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_a_weight_counts_as_that_many_copies():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=30).round(1), rng.random(30) < 0.4
    weights = rng.integers(0, 4, size=(5, 30)).astype(float)
    weighted = rank_metrics(scores, labels, weights)
    for i, weight in enumerate(weights.astype(int)):
        copied = rank_metrics(np.repeat(scores, weight), np.repeat(labels, weight))
        assert weighted[0][i] == pytest.approx(copied[0][0])
        assert weighted[1][i] == pytest.approx(copied[1][0])


def test_one_class_has_accuracy_but_no_auroc():
    auroc, auprc, accuracy = one_task([1.0, -1.0, 2.0], [1, 1, 1])
    assert auroc.value is None
    assert auprc.value is None
    assert auroc.reason == "only class 1 is present"
    assert accuracy.value == pytest.approx(2 / 3)


def test_a_nan_prediction_makes_metrics_absent_and_not_one():
    for metric in one_task([np.nan, -1.0, 2.0], [1, 0, 1]):
        assert metric.value is None
        assert metric.reason == "1 of 3 predictions are not finite"


def test_an_empty_split_has_no_metric():
    metrics = one_task([], np.empty(0, int))
    assert [m.reason for m in metrics] == ["no labelled subjects"] * 3
    assert mean_of(metrics, "auroc") is None


def test_a_missing_label_is_not_class_zero():
    with_missing = one_task([3.0, 1.0, -1.0, -2.0], [-1, 1, 0, 0])
    assert with_missing[0].value == 1.0
    assert with_missing[0].subjects == 3


def test_intervals_hold_the_value_and_repeat():
    rng = np.random.default_rng(0)
    labels = (rng.random(300) < 0.3).astype(int)
    logits = labels + rng.normal(size=300)
    first, again = one_task(logits, labels), one_task(logits, labels)
    assert first == again
    for metric in first:
        assert metric.low < metric.value < metric.high
        assert metric.high - metric.low < 0.3


def test_an_interval_is_as_wide_as_the_known_standard_error():
    rng = np.random.default_rng(0)
    labels = np.zeros(400, int)
    logits = np.where(rng.random(400) < 0.8, -1.0, 1.0)
    accuracy = one_task(logits, labels)[2]
    expected = 2 * 1.96 * np.sqrt(accuracy.value * (1 - accuracy.value) / 400)
    assert accuracy.high - accuracy.low == pytest.approx(expected, rel=0.1)


def test_three_classes_average_one_against_the_rest():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, size=90)
    logits = rng.normal(size=(90, 3)) + np.eye(3)[labels]
    found = measure(
        logits, labels[:, None], labels[:, None] >= 0, tasks=("t",), classes=(3,), resamples=0
    )
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found[0].value == pytest.approx(roc_auc_score(labels, odds, multi_class="ovr"))
    assert found[2].value == pytest.approx((logits.argmax(1) == labels).mean())
    assert found[0].low is None


def test_tasks_read_their_own_columns():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0], [2.0, 2.0]])
    labels = np.array([[1, 0], [0, 1], [1, -1]])
    found = measure(logits, labels, labels >= 0, tasks=("a", "b"), classes=(2, 2), resamples=0)
    assert [(m.task, m.name, m.subjects) for m in found][3] == ("b", "auroc", 2)
    assert mean_of(found, "auroc") == 1.0


def test_an_interval_draws_the_stays_of_a_patient_together():
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(60), 5)
    labels = (rng.random(60) < 0.4).astype(int)[patients]
    logits = 0.5 * labels + rng.normal(size=60)[patients]
    alone, together = (one_task(logits, labels, groups=g)[0] for g in (None, patients))
    assert alone.value == together.value
    assert together.high - together.low > 1.8 * (alone.high - alone.low)
    assert one_task(logits, labels, groups=np.arange(300))[0] == alone
