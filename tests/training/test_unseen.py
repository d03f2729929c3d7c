"""Nothing that fine-tuning tests, or leaves out, was seen by the checkpoint that it starts from."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from setvae_cli.data.portion import split_rows
from setvae_cli.errors import InputError
from setvae_cli.sources.records import Labels
from setvae_cli.store.reader import Store
from setvae_cli.training.beginning import begin
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.folder import ComparisonFolder
from tests.tiny import cohort, write
from tests.training.tuned import checkpoint_of, settings_in

FOLD = {"folds": 3, "fold": 1}


@pytest.fixture(scope="module")
def dealt(tmp_path_factory):
    return Store.open(write(cohort(60), tmp_path_factory.mktemp("dealt") / "store").path)


def begun(store, tmp_path, before, now):
    checkpoint = checkpoint_of(store, tmp_path / "trained", **before)
    return begin(settings_in(tmp_path, checkpoint, **now), store, None, None)


@pytest.mark.parametrize(
    "before", [{}, {**FOLD, "fold": 0}, {**FOLD, "fold_seed": 1}, {**FOLD, "repeat": 1}]
)
def test_a_checkpoint_that_knows_test_subjects_of_a_fold_is_refused(dealt, tmp_path, before):
    with pytest.raises(InputError, match="knows subjects that this fold tests"):
        begun(dealt, tmp_path, {"objective": "elbo", **before}, FOLD)


def test_a_checkpoint_of_the_same_fold_is_taken(dealt, tmp_path):
    found = begun(dealt, tmp_path, {"objective": "elbo", **FOLD}, FOLD)
    assert not found.elsewhere


def test_labels_beyond_the_share_were_not_read_before(dealt, tmp_path):
    with pytest.raises(InputError, match="read labels beyond this --label-fraction"):
        begun(dealt, tmp_path / "joint", {"objective": "joint"}, {"label_fraction": 0.5})
    begun(dealt, tmp_path / "elbo", {"objective": "elbo"}, {"label_fraction": 0.5})
    begun(dealt, tmp_path / "few", {"label_fraction": 0.3}, {"label_fraction": 0.5})


def test_of_other_data_it_is_said_that_nothing_is_known(dealt, tmp_path):
    other = Store.open(write(cohort(50), tmp_path / "other").path)
    checkpoint = checkpoint_of(other, tmp_path / "trained", objective="elbo")
    assert begin(settings_in(tmp_path, checkpoint, **FOLD), dealt, None, None).elsewhere


@pytest.mark.parametrize("before", [{}, {**FOLD, "fold": 0}])
def test_a_comparison_inside_one_fold_trains_again_what_knows_it(dealt, tmp_path, before):
    options = {**FOLD, "label_fraction": (0.5, 1.0)}

    def pretrains(name, **trained):
        checkpoint = checkpoint_of(dealt, tmp_path / name, objective="elbo", **trained)
        settings = settings_in(tmp_path, checkpoint, **options)
        return Comparison(settings, dealt, ComparisonFolder(tmp_path / "c")).extent.pretrains

    assert pretrains("knows", **before)
    assert not pretrains("same", **FOLD)


def test_shares_are_of_the_label_that_is_tuned_on(tmp_path):
    labels = pa.table({
        "subject_id": pa.array([f"s{i}" for i in range(60)], pa.string()),
        "first": pa.array([i % 2 if i < 20 else None for i in range(60)], pa.int32()),
        "second": pa.array([i % 3 % 2 if i >= 20 else None for i in range(60)], pa.int32()),
    })  # fmt: skip
    source = cohort(60, outcomes=Labels(labels, "outcomes.csv"))
    store = Store.open(write(source, tmp_path / "two").path)
    second = "second"
    known = store.labels[:, store.tasks.index(second)] >= 0
    settings = settings_in(tmp_path, None, label=(second,), label_fraction=0.5)
    rows = split_rows(settings, store, "train")
    assert known[rows].all()
    asked = settings_in(tmp_path, None, label_fraction=0.5, fold_label=second)
    np.testing.assert_array_equal(rows, split_rows(asked, store, "train"))
