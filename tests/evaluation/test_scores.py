"""Figures of predictions equal those of others and keep their invariances, or are absent."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn import metrics as theirs
from sklearn.linear_model import LogisticRegression

from setvae_cli.evaluation.bootstrap import drawn_groups
from setvae_cli.evaluation.calibration import (
    equal_mass,
    error_by_chance,
    expected_error,
    recalibration,
)
from setvae_cli.evaluation.labelled import Labelled, labelled_tasks, probabilities, sigmoid
from setvae_cli.evaluation.metrics import measure
from setvae_cli.evaluation.scores import NAMES, Score, figures, score
from setvae_cli.evaluation.thresholds import Threshold, best_for_f1, event_score


def made(logits, labels, *, classes=2, groups=None) -> Labelled:
    logits, labels = np.asarray(logits, float), np.asarray(labels)
    (found,) = labelled_tasks(
        logits.reshape(len(labels), 1 if classes == 2 else classes),
        labels[:, None],
        (labels >= 0)[:, None],
        tasks=("death",),
        classes=(classes,),
        groups=groups,
    )
    return found


def drawn(size=300, *, slope=1.0, seed=0) -> Labelled:
    """Labels of a model whose logits are so many times too close together."""
    generator = np.random.default_rng(seed)
    x = generator.normal(-1, 1.5, size)
    labels = (generator.random(size) < sigmoid(slope * x)).astype(int)
    return made(x, labels)


def named(scores: tuple[Score, ...]) -> dict[str, Score]:
    return {one.name: one for one in scores}


def values(of: Labelled, threshold: Threshold | None = None) -> dict[str, float]:
    found = figures(of, np.ones((1, len(of))), threshold or Threshold())[0]
    return dict(zip(NAMES, found.tolist(), strict=True))


def test_figures_equal_those_of_scikit_learn() -> None:
    of = drawn()
    x, y = of.logits[:, 0], of.labels
    p, found = sigmoid(x), values(of, Threshold.at(0.3))
    assert found["auroc"] == pytest.approx(theirs.roc_auc_score(y, p), abs=1e-12)
    assert found["auprc"] == pytest.approx(theirs.average_precision_score(y, p), abs=1e-12)
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(y, p > 0.3), abs=1e-12)
    assert found["f1"] == pytest.approx(theirs.f1_score(y, p > 0.3), abs=1e-12)
    assert found["brier"] == pytest.approx(theirs.brier_score_loss(y, p), abs=1e-12)
    assert found["log_loss"] == pytest.approx(theirs.log_loss(y, p), abs=1e-12)
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(x[:, None], y)
    assert found["slope"] == pytest.approx(fitted.coef_[0, 0], rel=1e-4)
    assert found["intercept"] == pytest.approx(fitted.intercept_[0], rel=1e-3)


def test_several_classes_are_averages_of_one_against_the_rest() -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 3, 150)
    of = made(generator.normal(size=(150, 3)) + np.eye(3)[labels], labels, classes=3)
    found, odds = values(of), probabilities(of.logits)
    assert found["auroc"] == pytest.approx(theirs.roc_auc_score(labels, odds, multi_class="ovr"))
    predicted = of.logits.argmax(1)
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(labels, predicted))
    assert found["f1"] == pytest.approx(theirs.f1_score(labels, predicted, average="macro"))
    assert found["log_loss"] == pytest.approx(theirs.log_loss(labels, odds))
    ovr = [theirs.brier_score_loss(labels == c, odds[:, c]) for c in range(3)]
    assert found["brier"] == pytest.approx(np.mean(ovr))


def test_logits_of_classes_are_known_up_to_a_shift() -> None:
    generator = np.random.default_rng(3)
    labels, logits = generator.integers(0, 3, 60), generator.normal(size=(60, 3))
    shifted = logits + generator.normal(size=(60, 1))
    assert values(made(logits, labels, classes=3)) == pytest.approx(
        values(made(shifted, labels, classes=3)), rel=1e-9
    )


def test_what_training_shows_is_measured_the_same() -> None:
    of = drawn(120)
    labels = of.labels[:, None]
    shown = measure(of.logits, labels, labels >= 0, tasks=("death",), classes=(2,), resamples=200)
    found = named(score(of, resamples=200))
    for metric in shown:
        again = found[metric.name]
        assert (again.value, again.low, again.high) == pytest.approx(
            (metric.value, metric.low, metric.high), abs=1e-12
        )


def test_the_event_score_is_the_best_of_all_thresholds() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        scores = generator.normal(size=25).round(1)
        positive = generator.random(25) < 0.4
        best = 0.0
        for cut in scores:
            called = scores >= cut
            right = (called & positive).sum()
            best = max(best, min(right / positive.sum(), right / called.sum()))
        assert event_score(scores, positive)[0] == pytest.approx(best)


def test_ranks_do_not_change_with_a_rising_map_and_a_shift_moves_the_intercept_only() -> None:
    of = drawn()
    x = of.logits[:, 0]
    plain, bent = values(of), values(made(x**3 + x, of.labels))
    for name in ("auroc", "auprc", "min_se_ppv"):
        assert bent[name] == plain[name]
    moved = values(made(2 * x + 3, of.labels))
    assert moved["slope"] == pytest.approx(plain["slope"] / 2, rel=1e-8)
    assert moved["intercept"] == pytest.approx(
        plain["intercept"] - 3 * plain["slope"] / 2, rel=1e-8
    )
    cut = Threshold.at(0.3)
    same = values(made(x + 3, of.labels), Threshold(cut.cut + 3))
    assert (same["accuracy"], same["f1"]) == (values(of, cut)["accuracy"], values(of, cut)["f1"])


def test_the_other_class_has_the_same_auroc_brier_and_log_loss() -> None:
    of = drawn()
    plain, turned = values(of), values(made(-of.logits[:, 0], 1 - of.labels))
    for name in ("auroc", "brier", "log_loss", "slope"):
        assert turned[name] == pytest.approx(plain[name], rel=1e-9)
    assert turned["intercept"] == pytest.approx(-plain["intercept"], rel=1e-6)


def test_the_order_of_subjects_does_not_matter() -> None:
    of = drawn(80)
    order = np.random.default_rng(5).permutation(80)
    assert values(made(of.logits[order, 0], of.labels[order])) == pytest.approx(values(of))


def test_a_weight_counts_as_that_many_copies_in_every_figure() -> None:
    of = drawn(60)
    weights = np.random.default_rng(1).integers(0, 4, (3, 60)).astype(float)
    weights[:, :10] += 1
    weighted = figures(of, weights, Threshold())
    for row, counts in zip(weighted, weights.astype(int), strict=True):
        copied = made(np.repeat(of.logits[:, 0], counts), np.repeat(of.labels, counts))
        expected = values(copied)
        for place, name in enumerate(NAMES):
            if name != "ece":  # its bins are those of the subjects, whatever they count
                assert row[place] == pytest.approx(expected[name], rel=1e-7), name


def test_the_interval_of_ece_holds_its_value_also_of_a_calibrated_model() -> None:
    for seed in (0, 9, 13, 24):  # of the last three the percentiles of resamples do not hold it
        error = named(score(drawn(400, seed=seed), resamples=60))["ece"]
        assert error.value is not None
        assert error.low is not None
        assert error.high is not None
        assert 0 <= error.low < error.value < error.high


def test_ece_of_a_worked_example() -> None:
    predicted = np.repeat([0.1, 0.4, 0.9], 10)
    positive = np.r_[np.arange(10) < 2, np.arange(10) < 4, np.arange(10) < 6].astype(bool)
    bins = equal_mass(predicted, 3)
    assert (bins.count, np.bincount(bins.place).tolist()) == (3, [10, 10, 10])
    found = expected_error(predicted, positive, np.ones((1, 30)), bins)
    assert found[0] == pytest.approx((0.1 + 0.0 + 0.3) / 3)


def test_bins_keep_equal_predictions_together_and_hold_ten_subjects_at_least() -> None:
    predicted = np.random.default_rng(0).random(57).round(1)
    bins = equal_mass(predicted)
    assert bins.count <= 5
    for one in np.unique(predicted):
        assert len(np.unique(bins.place[predicted == one])) == 1
    assert equal_mass(np.linspace(0, 1, 9)).count == 1


def test_a_calibrated_model_has_the_error_that_chance_gives() -> None:
    errors = [values(drawn(400, seed=seed))["ece"] for seed in range(40)]
    told = error_by_chance(sigmoid(drawn(400).logits[:, 0]), resamples=200, seed=0)
    assert np.mean(errors) == pytest.approx(told, rel=0.15)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_the_slope_is_found_again(slope: float) -> None:
    found = named(score(drawn(3000, slope=slope), resamples=50))["slope"]
    assert found.low < slope < found.high


def test_recalibrated_logits_have_slope_one_and_intercept_zero() -> None:
    of = drawn(slope=2.0)
    x, once = of.logits[:, 0], np.ones((1, len(of)))
    slope, intercept = recalibration(x, of.labels == 1, once)
    again = recalibration(slope[0] * x + intercept[0], of.labels == 1, once)
    assert (again[0][0], again[1][0]) == pytest.approx((1, 0), abs=1e-8)


def test_separated_classes_have_no_slope_and_equal_predictions_neither() -> None:
    separated = named(score(made([-3.0, -2, 2, 3], [0, 0, 1, 1]), resamples=0))["slope"]
    assert (separated.value, separated.reason) == (
        None,
        "no finite slope fits: classes are separated",
    )
    equal = named(score(made([1.0, 1, 1, 1], [0, 0, 1, 1]), resamples=0))
    assert equal["slope"].reason == "all predictions are equal"
    assert equal["auroc"].value == 0.5


def test_one_class_has_no_ranking_and_no_slope_but_a_brier_score() -> None:
    found = named(score(made([1.0, -1.0, 2.0], [1, 1, 1]), resamples=20))
    for name in ("auroc", "auprc", "min_se_ppv", "f1", "slope", "intercept"):
        assert (found[name].value, found[name].reason) == (None, "only class 1 is present")
    assert found["accuracy"].value == pytest.approx(2 / 3)
    assert found["brier"].value is not None


@pytest.mark.parametrize(
    ("logits", "labels", "why"),
    [
        ([], np.empty(0, int), "no labelled subjects"),
        ([np.nan, 0.0], [0, 1], "1 of 2 predictions are not finite"),
        ([1.0, 2.0], [-1, -1], "no labelled subjects"),
    ],
)
def test_what_cannot_be_measured_says_why(logits, labels, why: str) -> None:
    found = score(made(logits, labels), resamples=10)
    assert {(one.value, one.low, one.reason) for one in found} == {(None, None, why)}


def test_a_resample_without_a_class_is_left_out_and_counted() -> None:
    found = named(score(made([0.0, 1, 2, 3, 4], [0, 0, 0, 1, 0]), resamples=200))
    expected = 200 * (4 / 5) ** 5
    assert found["auroc"].left_out == pytest.approx(expected, rel=0.3)
    assert found["accuracy"].left_out == 0
    assert found["auroc"].low is not None


def test_subjects_of_one_group_are_drawn_together() -> None:
    of, plain = drawn(50), score(drawn(50), resamples=100)
    twice = made(np.repeat(of.logits[:, 0], 2), np.repeat(of.labels, 2),
                 groups=np.repeat(np.arange(50), 2))  # fmt: skip
    for one, other in zip(plain, score(twice, resamples=100), strict=True):
        if one.name != "ece":  # of other bins
            assert (other.value, other.low, other.high) == pytest.approx(
                (one.value, one.low, one.high), rel=1e-6
            )
    whole = made(of.logits[:, 0], of.labels, groups=np.zeros(50, int))
    for one in score(whole, resamples=20):
        assert one.low == pytest.approx(one.value)
        assert one.high == pytest.approx(one.value)


def test_blocks_of_resamples_are_one_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    of = drawn(40)
    (whole,) = drawn_groups(of, 30, 7)
    monkeypatch.setattr("setvae_cli.evaluation.bootstrap._BLOCK", 40 * 7)
    parts = list(drawn_groups(of, 30, 7))
    assert len(parts) == 5
    assert np.array_equal(np.concatenate(parts), whole)


def test_the_threshold_of_validation_has_the_largest_f1_of_all() -> None:
    of = drawn(60)
    scores, positive = of.sides[0]
    chosen = best_for_f1(scores, positive)
    reached = values(of, chosen)["f1"]
    assert chosen.chosen == "validation"
    for cut in scores:
        assert reached >= values(of, Threshold(cut - 1e-9))["f1"]
    assert best_for_f1(scores, np.zeros(60, bool)) is None


@pytest.mark.parametrize("share", [1e-6, 0.2, 0.5, 0.97])
def test_a_threshold_is_its_probability(share: float) -> None:
    assert Threshold.at(share).probability == pytest.approx(share, rel=1e-12)


def test_tasks_read_their_own_columns_and_labelled_subjects_only() -> None:
    logits = np.array([[1.0, 0, 1, 2], [-1.0, 2, 0, 0], [2.0, 0, 0, 5]])
    labels = np.array([[1, 2], [0, 0], [-1, 2]])
    first, second = labelled_tasks(logits, labels, labels >= 0, tasks=("a", "b"), classes=(2, 3))
    assert (len(first), first.logits[:, 0].tolist()) == (2, [1.0, -1.0])
    assert second.logits.tolist() == logits[:, 1:].tolist()
    assert second.predicted.tolist() == [2, 0, 2]


def test_confidence_far_from_the_truth_is_dear_but_finite() -> None:
    for logit, label in product((-800.0, 800.0), (0, 1)):
        found = values(made([logit, -logit], [label, 1 - label]))
        assert np.isfinite([found["log_loss"], found["brier"], found["ece"]]).all()
