"""Folds: who is in which, and that nothing of a test fold reaches what is learned elsewhere."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from setvae_cli.data.folds import fold_rows
from setvae_cli.data.portion import rows_of
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.evaluation.summary_features import summary_features, telling_columns
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.folds import FoldSettings
from setvae_cli.store.reader import Store
from tests.tiny import TinySource, cohort, outcomes, records, write

FOLDS = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(write(cohort(60), tmp_path_factory.mktemp("folds") / "store").path)


def fold(number: int, **changes: object) -> FoldSettings:
    return FoldSettings.model_validate({"folds": FOLDS, "fold": number, **changes})


def test_folds_partition_the_labelled_rows(store: Store) -> None:
    parts = [fold_rows(store, fold(i), reads_labels=True) for i in range(FOLDS)]
    tested = np.concatenate([part.test for part in parts])
    assert sorted(tested) == list(range(len(store)))
    for part in parts:
        together = np.concatenate((part.train, part.validation, part.test))
        assert sorted(together) == list(range(len(store)))


def test_every_class_has_its_share_in_every_fold_within_one(store: Store) -> None:
    positive = store.labels[:, 0] == 1
    for i in range(FOLDS):
        rows = fold_rows(store, fold(i), reads_labels=True)
        assert abs(positive[rows.test].sum() - positive.sum() / FOLDS) < 1
        others = np.concatenate((rows.train, rows.validation))
        assert abs(positive[rows.validation].sum() - 0.2 * positive[others].sum()) < 1


def test_a_repeat_and_a_seed_deal_anew_and_the_same_settings_deal_the_same(store: Store) -> None:
    first = fold_rows(store, fold(0), reads_labels=True)
    again = fold_rows(store, fold(0), reads_labels=True)
    assert np.array_equal(first.train, again.train)
    assert np.array_equal(first.validation, again.validation)
    for change in ({"repeat": 1}, {"fold_seed": 1}):
        other = fold_rows(store, fold(0, **change), reads_labels=True)
        assert not np.array_equal(first.test, other.test)


def test_a_method_without_labels_has_the_same_test_and_validation_rows(store: Store) -> None:
    for i in range(FOLDS):
        with_labels, without = (
            fold_rows(store, fold(i), reads_labels=reads) for reads in (True, False)
        )
        assert np.array_equal(with_labels.test, without.test)
        assert np.array_equal(with_labels.validation, without.validation)


def grouped(folder: Path) -> Store:
    """Ten patients of three stays each, of which one stay has no label; and ten without labels."""
    names = [f"s{i}" for i in range(60)]
    events = [(name, float(minute), "lab", 1.0 * minute) for name in names for minute in (0, 9)]
    groups = [f"p{i // 3}" for i in range(60)]
    labels = {f"s{i}": (i // 3) % 2 for i in range(30) if i % 3}
    content = records(events, subjects=names, group_id=groups)
    return Store.open(write(TinySource([content], outcomes(labels)), folder / "store").path)


def test_no_group_crosses_and_rows_without_the_label_only_train_without_labels(
    tmp_path: Path,
) -> None:
    store = grouped(tmp_path)
    group = np.array(store.rows["group_id"].to_pylist())
    known = store.labels[:, 0] >= 0
    for i in range(FOLDS):
        for reads in (True, False):
            rows = fold_rows(store, fold(i), reads_labels=reads)
            sides = [set(group[some]) for some in (rows.train, rows.validation, rows.test)]
            assert not sides[0] & sides[1]
            assert not sides[0] & sides[2]
            assert not sides[1] & sides[2]
            assert known[rows.validation].all()
            assert known[rows.test].all()
            assert known[rows.train].all() == reads
        assert set(range(30, 60)) <= set(rows.train.tolist())


def test_a_smaller_share_of_labels_lies_inside_a_larger_one_with_every_class(
    store: Store,
) -> None:
    shares = (0.01, 0.1, 0.5, 1.0)
    found = [
        fold_rows(store, fold(1, label_fraction=(share,)), reads_labels=True) for share in shares
    ]
    for less, more in pairwise(found):
        assert set(less.train) < set(more.train)
        assert set(less.validation) <= set(more.validation)
        assert np.array_equal(less.test, more.test)
    for one in found:
        for rows in (one.train, one.validation):
            assert set(store.labels[rows, 0]) == {0, 1}
        assert np.array_equal(one.statistics, found[-1].train)


def test_every_fold_and_repeat_draws_its_own_share_of_the_labels(store: Store) -> None:
    def drawn(number: int, repeat: int, share: float) -> set[int]:
        of = fold(number, repeat=repeat, label_fraction=(share,))
        return set(fold_rows(store, of, reads_labels=True).train.tolist())

    for other in ((2, 0), (1, 1)):
        both = drawn(1, 0, 1.0) & drawn(*other, 1.0)
        assert drawn(1, 0, 0.5) & both != drawn(*other, 0.5) & both


def test_a_share_of_labels_changes_nothing_where_none_is_read(store: Store) -> None:
    few = fold_rows(store, fold(1, label_fraction=(0.1,)), reads_labels=False)
    all_of_them = fold_rows(store, fold(1), reads_labels=False)
    assert np.array_equal(few.train, all_of_them.train)
    assert np.array_equal(few.validation, all_of_them.validation)


def changed(store: Store, rows: np.ndarray, folder: Path) -> Store:
    """The same cohort with other values of the lab in some of its rows."""
    source, names = cohort(60), set(np.array(store.rows["subject_id"].to_pylist())[rows])
    content = []
    for part in source.content:
        ids, told = part.subjects["subject_id"].to_pylist(), part.events.to_pylist()
        for event in told:
            if ids[event["subject"]] in names and event["code"] == "lab":
                event["value"] = 7 * event["value"] + 3
        events = [(ids[e["subject"]], e["time"], e["code"], e["value"]) for e in told]
        content.append(records(events, subjects=ids))
    return Store.open(write(TinySource(content, source.outcomes, source.given_kinds), folder).path)


def test_values_of_a_test_fold_never_reach_statistics_or_features_of_training(
    store: Store, tmp_path: Path
) -> None:
    settings = TrainSettings.from_flat({"folds": FOLDS, "fold": 2})
    before = rows_of(settings, store)
    other = changed(store, before.splits["test"], tmp_path / "other")
    after = rows_of(settings, other)
    assert other.vocabulary.digest() != store.vocabulary.digest()
    assert after.vocabulary.digest() == before.vocabulary.digest()
    assert after.shape == before.shape
    features = [
        summary_features(
            one, part.splits["train"], part.vocabulary, time_scale=part.shape.time_scale
        )
        for one, part in ((store, before), (other, after))
    ]
    assert features[0].names == features[1].names
    assert np.array_equal(features[0].values, features[1].values, equal_nan=True)
    assert np.array_equal(*(telling_columns(one.values) for one in features))


def test_without_folds_a_run_sees_the_store_as_it_is(store: Store) -> None:
    portion = rows_of(TrainSettings(), store)
    assert portion.vocabulary is store.vocabulary
    assert portion.shape == store.shape
    for name, rows in portion.splits.items():
        assert np.array_equal(rows, store.split(name))


def test_what_cannot_be_dealt_out_is_said(store: Store) -> None:
    with pytest.raises(InputError, match="fewer than the 13 folds"):
        fold_rows(store, FoldSettings(folds=13, fold=0), reads_labels=True)
    with pytest.raises(SettingsError, match="give --fold, 0 to 3"):
        fold_rows(store, FoldSettings(folds=FOLDS), reads_labels=True)
    with pytest.raises(SettingsError, match="its labels are: death"):
        fold_rows(store, fold(0, fold_label="readmission"), reads_labels=True)
    with pytest.raises(SettingsError, match="one share"):
        fold_rows(store, fold(0, label_fraction=(0.1, 1)), reads_labels=True)
