"""No method of the table that decides learns from what it is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from setvae_cli.data.folds import fold_rows
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import newest_first
from setvae_cli.settings.folds import FoldSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.jobs import Job, Place
from setvae_cli.training.compare.material import Material
from setvae_cli.training.compare.run import run
from tests.training.compare.compared import comparison_of, few_trees, numbers_of, said, split_store

FEW, ALL = Place(0, None, 0.3), Place(0, None, 1.0)
SHARES = (0.3, 1.0)
TESTED = numbers_of("test")


@pytest.fixture(autouse=True, scope="module")
def _few_trees() -> Iterator[None]:
    with few_trees():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return split_store(tmp_path_factory.mktemp("own") / "store")


@pytest.fixture(scope="module")
def done(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Every job of every share, on the store's own splits."""
    return ran(comparison_of(store, tmp_path_factory.mktemp("done"), label_fraction=SHARES))


def ran(comparison: Comparison) -> Comparison:
    run(comparison, lambda record: None)
    return comparison


def assert_the_same_is_chosen(one: Comparison, other: Comparison) -> None:
    """Make sure that validation, which the changed subjects are not of, has the same bits."""
    first, second = said(one), said(other)
    assert set(first) == set(second)
    for key, predicted in first.items():
        kept = ~predicted.tested
        assert np.array_equal(predicted.rows, second[key].rows), key
        assert np.array_equal(predicted.logits[kept], second[key].logits[kept]), key
        assert not np.array_equal(predicted.logits[~kept], second[key].logits[~kept]), key


def test_a_baseline_is_told_of_training_and_validation_rows_alone(
    store: Store, tmp_path: Path
) -> None:
    compared = comparison_of(store, tmp_path, label_fraction=SHARES)
    material = Material(compared)
    features = np.arange(len(store))[:, None]
    for place in (FEW, ALL):
        rows, told = material.rows(place), []

        def fit(train, validation, classes, told=told):
            told += [train, validation]
            return lambda some: some.astype(np.float64)

        predicted = material.fitted(place, features, fit)
        for one, expected in zip(told, (rows.train, rows.validation), strict=True):
            assert one.features[:, 0].tolist() == expected.tolist()
            assert one.labels.tolist() == store.labels[expected, 0].tolist()
        assert predicted.logits[:, 0].tolist() == predicted.rows.tolist()
        assert set(predicted.rows[predicted.tested]) == set(store.split("test"))
        assert not set(rows.test) & {*rows.train, *rows.validation}


def test_a_share_of_the_labels_is_all_that_its_methods_are_told(
    store: Store, tmp_path: Path
) -> None:
    material = Material(comparison_of(store, tmp_path, label_fraction=SHARES))
    few, everyone = material.rows(FEW), material.rows(ALL)
    assert set(everyone.train) == set(store.split("train"))
    for some, whole in ((few.train, everyone.train), (few.validation, everyone.validation)):
        assert set(some) < set(whole)
        assert len(some) == pytest.approx(0.3 * len(whole), abs=1)
    assert np.array_equal(few.test, everyone.test)


def test_columns_of_summaries_are_chosen_by_training_rows(store: Store, tmp_path: Path) -> None:
    other = split_store(tmp_path / "store", changed=TESTED, flipped=TESTED)
    found = [
        Material(comparison_of(one, tmp_path / name)).summaries(ALL)
        for name, one in (("one", store), ("other", other))
    ]
    kept = np.concatenate([store.split("train"), store.split("validation")])
    np.testing.assert_array_equal(found[0][kept], found[1][kept])


@pytest.mark.slow
def test_nothing_of_a_test_split_changes_what_any_method_learns(
    store: Store, done: Comparison, tmp_path: Path
) -> None:
    other = split_store(tmp_path / "store", changed=TESTED, flipped=TESTED)
    assert not np.array_equal(store.labels, other.labels)
    compared = comparison_of(other, tmp_path, label_fraction=SHARES)
    assert_the_same_is_chosen(done, ran(compared))


@pytest.mark.slow
def test_nothing_of_a_test_fold_changes_what_is_pre_trained_or_learnt(
    store: Store, tmp_path: Path
) -> None:
    place = {"folds": 3, "fold": 0}
    dealt = fold_rows(store, FoldSettings(**place), reads_labels=True)
    names = store.rows["subject_id"].to_pylist()
    changed = {int(names[row][1:]) for row in dealt.test}
    other = split_store(tmp_path / "store", changed=changed)
    found = [
        comparison_of(one, tmp_path / name, **place, ensemble=1)
        for name, one in (("one", store), ("other", other))
    ]
    assert all(one.extent.pretrains for one in found)
    assert_the_same_is_chosen(*map(ran, found))


@pytest.mark.slow
def test_what_is_said_to_start_untrained_does_not_change_with_the_checkpoint(
    store: Store, done: Comparison, tmp_path: Path
) -> None:
    other = ran(comparison_of(store, tmp_path, trained_seed=1))
    first, second = said(done), said(other)
    same = {key for key in second if np.array_equal(first[key].logits, second[key].logits)}
    untrained = {"scratch", "untrained", "summary_trees"}
    assert same == {job.key for job in other.extent.jobs() if job.kind in untrained}


@pytest.mark.slow
def test_seeds_of_a_network_differ_and_each_learns_the_share_of_its_place(
    done: Comparison,
) -> None:
    for job in done.extent.jobs():
        if job.predicts and job.seed == 1:
            logits = [done.folder.read(Job(job.kind, job.place, seed)).logits for seed in (0, 1)]
            assert not np.array_equal(*logits), job.key
    networks = [job for job in done.extent.jobs() if job.kind in ("finetuned", "scratch")]
    runs = {one.path.parent.name: read(one.best_or_last()).header.settings
            for one in newest_first(done.folder.runs)}  # fmt: skip
    assert set(runs) == {job.key for job in networks}
    for job in networks:
        assert runs[job.key]["label_fraction"] == [job.place.share]
        assert runs[job.key]["seed"] == done.settings.run.seed + job.seed
    for kind in ("probe", "embedding_trees", "summary_trees", "finetuned", "scratch"):
        few, everyone = (said(done)[Job(kind, place).key] for place in (FEW, ALL))
        both = [one.logits[one.tested] for one in (few, everyone)]
        assert not np.array_equal(*both), kind
