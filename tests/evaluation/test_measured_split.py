"""A split is that of the model's run, and nobody of it is dropped without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import tiny
from tests.trained import model_for

from setvae_cli.data.portion import split_rows
from setvae_cli.errors import InputError
from setvae_cli.evaluation.findings import Provenance
from setvae_cli.evaluation.measured_split import Wanted, measure_split, rows_by_split
from setvae_cli.store.reader import Store

SOURCE = Provenance("seqsetvae/version_0", "best.ckpt", 40, "", "0", "", "")


def quiet(doing: str, share: float | None) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    tiny.write(tiny.cohort(60, parts=1), tmp_path / "store", split_fractions=(0.5, 0.2, 0.3))
    return Store.open(tmp_path / "store")


def test_a_model_of_a_fold_is_measured_on_its_own_test_fold(store: Store, tmp_path: Path) -> None:
    loaded = model_for(store, folds=3, fold=1)
    rows = rows_by_split(loaded, store, "test")
    assert rows.tolist() == split_rows(loaded.settings, store, "test").tolist()
    assert rows.tolist() != store.split("test").tolist()
    trained = set(rows_by_split(loaded, store, "train").tolist())
    assert not trained & set(rows.tolist())
    tiny.write(tiny.cohort(60, parts=1, seed=1), tmp_path / "other")
    other = Store.open(tmp_path / "other")
    assert rows_by_split(loaded, other, "test").tolist() == other.split("test").tolist()


def test_an_empty_split_is_one_line(tmp_path: Path) -> None:
    tiny.write(tiny.cohort(40, parts=1), tmp_path / "store", split_fractions=(0.8, 0.2, 0.0))
    store = Store.open(tmp_path / "store")
    with pytest.raises(InputError, match="the test split is empty; name another with --split"):
        rows_by_split(model_for(store), store, "test")


def test_everyone_is_predicted_and_whoever_has_no_label_is_not_measured(tmp_path: Path) -> None:
    labels = tiny.outcomes({f"s{i}": None if i == 3 else int(i % 5 == 0) for i in range(40)})
    tiny.write(tiny.cohort(40, parts=1, outcomes=labels), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    wanted = Wanted("all", ("death",), resamples=0)
    found = measure_split(model_for(store), store, wanted, SOURCE, progress=quiet)
    (task,) = found.findings.tasks
    assert (found.findings.subjects, task.subjects) == (40, 39)
    assert np.isfinite(found.predictions.logits).all()
    assert sorted(set(found.split)) == ["test", "train", "validation"]
    assert "trained on subjects that it is measured on" in found.findings.notes[0]


def test_whoever_has_no_known_event_has_no_prediction_and_is_counted(
    store: Store, tmp_path: Path
) -> None:
    source = tiny.cohort(60, parts=1)
    (part,) = source.content
    strange = tiny.records([("x", 0.0, "strange", 1.0), ("x", 9.0, "strange", 2.0)])
    tiny.write(tiny.TinySource([part, strange], source.outcomes), tmp_path / "other")
    other = Store.open(tmp_path / "other")
    wanted = Wanted("all", ("death",), resamples=0)
    found = measure_split(model_for(store), other, wanted, SOURCE, progress=quiet)
    assert len(found.predictions.rows) == len(other) == 61
    assert found.findings.without_prediction == 1
    assert found.findings.tasks[0].subjects == 60
    assert any(note.endswith("without a prediction: 1") for note in found.findings.notes)
