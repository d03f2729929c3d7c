"""Classes given as texts are matched by name, and each stands for itself in figures and words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tests import tiny
from tests.trained import model_for

from setvae_cli.errors import InputError
from setvae_cli.evaluation.by_class import by_class
from setvae_cli.evaluation.class_names import class_names, labels_of
from setvae_cli.evaluation.labelled import Labelled, probabilities
from setvae_cli.evaluation.predict import predict
from setvae_cli.runs.checkpoint import Header
from setvae_cli.store.reader import Store

WHERE = ("dead", "home", "ward")


def store_with(folder: Path, names: tuple[str, ...], labels: Mapping[str, int | None]) -> Store:
    """A store whose label was given as texts."""
    outcomes = replace(tiny.outcomes(labels, "went"), class_names={"went": names})
    tiny.write(tiny.cohort(40, parts=1, outcomes=outcomes), folder)
    return Store.open(folder)


@pytest.fixture
def header(tmp_path: Path) -> Header:
    labels: dict[str, int | None] = {f"s{i}": i % 3 for i in range(40)}
    return model_for(store_with(tmp_path / "store", WHERE, labels)).header


def test_a_checkpoint_knows_the_names_of_its_classes(header: Header) -> None:
    assert header.class_names == {"went": WHERE}
    assert Header.model_validate(header.model_dump(mode="json")) == header


def test_classes_of_other_data_are_matched_by_name(header: Header, tmp_path: Path) -> None:
    labels = {f"s{i}": None if i == 5 else i % 2 for i in range(40)}
    other = store_with(tmp_path / "other", ("home", "ward"), labels)
    found = labels_of(header, other, "went")
    assert found.tolist() == [-1 if i == 5 else 1 + i % 2 for i in range(40)]
    assert class_names(header, other) == {"went": WHERE}


def test_predictions_face_the_labels_of_their_own_classes(tmp_path: Path) -> None:
    whole = store_with(tmp_path / "store", WHERE, {f"s{i}": 1 + i % 2 for i in range(40)})
    fewer = store_with(tmp_path / "fewer", WHERE[1:], {f"s{i}": i % 2 for i in range(40)})
    loaded, rows = model_for(whole), np.arange(40)
    one, other = (predict(loaded, store, rows).labels for store in (whole, fewer))
    assert np.array_equal(one, other)


def test_a_class_that_the_model_does_not_know_is_named(header: Header, tmp_path: Path) -> None:
    labels: dict[str, int | None] = {f"s{i}": i % 2 for i in range(40)}
    other = store_with(tmp_path / "other", ("home", "hospice"), labels)
    match = "label went has a class hospice, and the model knows dead, home, ward; name classes"
    with pytest.raises(InputError, match=match):
        labels_of(header, other, "went")


def test_each_class_is_ranked_against_all_others() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 90)
    logits = generator.normal(size=(90, 3)) + np.eye(3)[labels]
    of = Labelled("went", 3, logits, labels, np.arange(90), WHERE)
    found = by_class(of, resamples=20)
    assert [one.name for one in found] == list(WHERE)
    for number, one in enumerate(found):
        expected = roc_auc_score(labels == number, of.sides[number][0])
        assert one.auroc is not None
        assert one.auroc.value == pytest.approx(expected)
        assert one.subjects == (labels == number).sum()
        assert one.expected == pytest.approx(probabilities(logits)[:, number].mean())
    assert by_class(replace(of, classes=2, logits=logits[:, :1])) == ()


def test_a_class_that_nobody_has_is_not_ranked() -> None:
    labels = np.arange(30) % 2
    of = Labelled("went", 3, np.random.default_rng(0).normal(size=(30, 3)), labels, np.arange(30))
    *_, last = by_class(of, resamples=5)
    assert (last.name, last.subjects, last.auroc) == ("class 2", 0, None)
    assert replace(of, names=WHERE).lacks_a_class == "ward is not present"
