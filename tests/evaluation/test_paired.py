"""Paired differences of methods, and the sentence that is built on them."""

from __future__ import annotations

import numpy as np
import pytest

from setvae_cli.evaluation.decision import Method, decide
from setvae_cli.evaluation.metrics import rank_metrics
from setvae_cli.evaluation.paired import Design, difference, figures, interval

FOLDS, REPEATS = 4, 2


def design(subjects: int, generator: np.random.Generator, repeats: int = REPEATS) -> Design:
    labels = (np.arange(subjects) % 4 == 0).astype(np.int64)
    folds = [generator.permutation(subjects) % FOLDS for _ in range(repeats)]
    cells = np.concatenate([FOLDS * number + one for number, one in enumerate(folds)])
    everyone = np.tile(np.arange(subjects), repeats)
    return Design(cells, everyone, labels[everyone], 2)


def scores(tested: Design, generator: np.random.Generator, signal: float) -> np.ndarray:
    subjects = int(tested.group.max()) + 1
    noise = generator.normal(size=subjects)[tested.group]
    return (signal * tested.labels + noise)[:, None]


def test_equal_predictions_differ_by_exactly_nothing() -> None:
    generator = np.random.default_rng(0)
    tested = design(80, generator)
    said = scores(tested, generator, 1.0)
    one, other = (figures(tested, said, resamples=50) for _ in range(2))
    for number in (0, 1):
        found = difference(one, other, number)
        assert (found.value, found.low, found.high) == (0, 0, 0)
        assert not found.excludes_zero


def test_a_difference_turned_round_is_the_same_with_the_other_sign() -> None:
    generator = np.random.default_rng(1)
    tested = design(80, generator)
    one, other = (figures(tested, scores(tested, generator, s), resamples=50) for s in (0.5, 1.0))
    for number in (0, 1):
        there, back = difference(one, other, number), difference(other, one, number)
        assert there.value == -back.value
        assert there.low == pytest.approx(-back.high)
        assert there.high == pytest.approx(-back.low)


def test_figures_are_the_mean_over_folds_and_repeats() -> None:
    generator = np.random.default_rng(2)
    tested = design(60, generator)
    said = scores(tested, generator, 1.0)
    each = [rank_metrics(said[some, 0], tested.labels[some] == 1) for some in tested.cells]
    found = figures(tested, said, resamples=0)
    assert found.mean == pytest.approx(np.mean(each, axis=(0, 2)))
    assert found.spread == pytest.approx(np.std(np.squeeze(each), axis=0, ddof=1))
    assert np.isnan(interval(found, 0).low)


def test_a_group_counts_as_often_in_every_repeat() -> None:
    tested = design(40, np.random.default_rng(3))
    (weights,) = tested.weights(20, seed=0)
    first = tested.cell[:40]
    for number in range(FOLDS):
        assert (weights[:, first == number].sum(axis=1) == (first == number).sum()).all()


def test_a_cell_of_one_class_is_left_out_and_without_any_other_nothing_is_said() -> None:
    labels = np.array([0, 1, 0, 1, 0, 0])
    tested = Design(np.array([0, 0, 0, 0, 1, 1]), np.arange(6), labels, 2)
    found = figures(tested, np.array([0.0, 1, 2, 3, 0, 1])[:, None], resamples=20)
    assert found.mean[0] == 0.75
    assert np.isnan(found.by_cell[1]).all()
    none = Design(np.zeros(2, np.int64), np.arange(2), np.zeros(2, np.int64), 2)
    assert np.isnan(figures(none, np.zeros((2, 1)), resamples=5).mean).all()


def test_the_cheapest_method_that_nothing_beats_is_advised() -> None:
    generator = np.random.default_rng(4)
    tested = design(400, generator)
    strong, weak = scores(tested, generator, 2.0), scores(tested, generator, 0.2)

    def told(**said: np.ndarray) -> tuple[str, list[str]]:
        measured = [Method(name, figures(tested, s, resamples=100)) for name, s in said.items()]
        decision = decide(measured)
        return decision.advice, [row.name for row in decision.rows if row.wins]

    advice, marked = told(scratch=weak, finetuned=strong, summary_trees=weak)
    assert advice.startswith("Choose fine-tuned: it beats every cheaper method")
    assert marked == ["finetuned"]
    advice, marked = told(scratch=strong, finetuned=strong, summary_trees=strong)
    assert advice.startswith("Choose trees on summaries")
    assert marked == []


def test_without_a_network_from_scratch_an_untrained_one_is_what_others_are_compared_with() -> None:
    tested = design(40, np.random.default_rng(6))
    one = figures(tested, scores(tested, np.random.default_rng(7), 1.0), resamples=0)

    def reference(*names: str) -> str:
        return decide([Method(name, one) for name in names]).reference

    assert reference("summary_trees", "untrained", "probe", "scratch") == "scratch"
    assert reference("summary_trees", "untrained", "probe") == "untrained"
    assert reference("probe", "finetuned") == "probe"


def test_a_fold_without_both_classes_is_none_to_be_ahead_in() -> None:
    labels = np.array([0, 1, 0, 1, 0, 0])
    tested = Design(np.array([0, 0, 1, 1, 2, 2]), np.arange(6), labels, 2)
    right, half = np.array([0, 1, 0, 1, 0, 1.0]), np.array([0, 1, 1, 0, 0, 1.0])
    said = {"scratch": half, "finetuned": right}
    rows = decide(
        [Method(name, figures(tested, s[:, None], resamples=0)) for name, s in said.items()]
    ).rows
    assert {row.name: row.ahead for row in rows} == {"finetuned": (1, 2), "scratch": (0, 2)}


def test_what_nothing_can_be_chosen_by_is_said() -> None:
    def advice(*classes: int) -> str:
        labels = np.array(classes)
        one_cell = np.zeros(len(labels), np.int64)
        tested = Design(one_cell, np.arange(len(labels)), labels, 3)
        found = figures(tested, np.eye(3)[labels], resamples=0)
        return decide([Method("probe", found)], lacking=tested.lacks_a_class).advice

    told = "Nothing to choose by: among the test subjects"
    assert advice(0, 1, 1, 0) == f"{told} class 2 is not present."
    assert advice(1, 1) == f"{told} only class 1 is present."


@pytest.mark.slow
def test_intervals_of_a_difference_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(5)
    covered = []
    for _ in range(200):
        tested = design(400, generator)
        one, other = (scores(tested, generator, s) for s in (1.0, 0.6))
        measured = [figures(tested, said, resamples=200) for said in (one, other)]
        found = difference(*measured, 0)
        truth = 0.7602499 - 0.6643133  # Phi(signal / sqrt 2)
        covered.append(found.low <= truth <= found.high)
    assert 0.90 <= np.mean(covered) <= 0.99
