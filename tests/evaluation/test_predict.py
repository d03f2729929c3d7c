"""Predictions and embeddings of rows are what the model says of each subject alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import tiny
from tests.trained import model_for

from setvae_cli.encoders.setvae import SetvaeEncoder
from setvae_cli.errors import InputError, NumericalError
from setvae_cli.evaluation.embed import embed
from setvae_cli.evaluation.predict import beside_missing, predict
from setvae_cli.evaluation.views import views_of
from setvae_cli.runs.model import LoadedModel
from setvae_cli.store.reader import Store

EXACT = dict(rtol=1e-8, atol=1e-12)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty stays."""
    folder = tmp_path_factory.mktemp("data")
    tiny.write(tiny.cohort(40), folder / "store", split_fractions=(0.5, 0.4, 0.1))
    return Store.open(folder / "store")


def in_float64(loaded: LoadedModel) -> LoadedModel:
    return replace(loaded, model=loaded.model.double())


def one_by_one(loaded: LoadedModel, store: Store, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    found = []
    for row in rows:
        alone = predict(loaded, store, np.array([row]), batch_size=1)
        found.append((alone.logits[0], alone.embedding[0]))
    return tuple(np.stack(each) for each in zip(*found, strict=True))


@pytest.mark.parametrize("architecture", ["base", "levels", "original"])
def test_predictions_do_not_depend_on_the_batch_and_are_those_of_each_alone(
    store: Store, architecture: str
) -> None:
    loaded, rows = in_float64(model_for(store, architecture)), store.split("validation")[:5]
    logits, embedding = one_by_one(loaded, store, rows)
    for batch_size in (3, 64):
        found = predict(loaded, store, rows, batch_size=batch_size)
        assert np.array_equal(found.rows, rows)
        np.testing.assert_allclose(found.logits, logits, **EXACT)
        np.testing.assert_allclose(found.embedding, embedding, **EXACT)


def test_embeddings_are_those_of_predictions_whatever_the_batch(store: Store) -> None:
    loaded, rows = in_float64(model_for(store)), np.arange(9)
    expected = predict(loaded, store, rows).embedding
    for batch_size in (1, 4, 64):
        pieces = [*embed(SetvaeEncoder(loaded.model).eval(), views_of(loaded, store, rows), rows,
                         batch_size=batch_size)]  # fmt: skip
        assert np.array_equal(np.concatenate([piece.rows for piece in pieces]), rows)
        found = np.concatenate([piece.embedding for piece in pieces])
        np.testing.assert_allclose(found, expected, **EXACT)


def test_pieces_come_as_they_are_computed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setvae_cli.evaluation.embed.PIECE_ROWS", 8)
    loaded, rows = model_for(store), np.arange(len(store))
    done: list[int] = []
    pieces = embed(SetvaeEncoder(loaded.model).eval(), views_of(loaded, store, rows), rows,
                   batch_size=3, progress=done.append)  # fmt: skip
    sizes = [len(piece.rows) for piece in pieces]
    assert sizes == [9, 9, 9, 9, 4]
    assert done == [*range(3, 40, 3), 40]


def test_rows_in_any_order_and_twice_come_back_once_in_order(store: Store) -> None:
    loaded = model_for(store)
    found = predict(loaded, store, np.array([7, 3, 7, 0]))
    assert found.rows.tolist() == [0, 3, 7]
    assert np.array_equal(found.labels, store.labels[[0, 3, 7]])
    assert np.array_equal(found.label_mask, found.labels >= 0)


def test_random_truncation_becomes_the_latest_sets(store: Store) -> None:
    rows = store.split("validation")
    latest, random = (
        predict(model_for(store, max_sequence_length=3, truncate=kind), store, rows)
        for kind in ("latest", "random")
    )
    whole = predict(model_for(store, max_sequence_length=None), store, rows)
    assert np.array_equal(latest.logits, random.logits)
    assert not np.array_equal(latest.logits, whole.logits)


def unknown_to(loaded: LoadedModel, code: str) -> LoadedModel:
    """The same model, to which a code was never known."""
    known = [place for place, name in enumerate(loaded.vocabulary.codes) if name != code]
    return replace(loaded, vocabulary=loaded.vocabulary.take(np.array(known)))


def test_a_row_without_a_known_event_is_empty_and_counted(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(30)]
    events = [(name, 1.0 + k, "ab"[k], float(i)) for i, name in enumerate(names) for k in (0, 1)]
    content = tiny.records([*events, ("odd", 3.0, "z", 1.0)])
    labels = tiny.outcomes({name: i % 2 for i, name in enumerate(names)})
    source = tiny.TinySource([content], labels)
    tiny.write(source, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    rows = np.arange(len(store))
    (odd,) = np.flatnonzero(np.array(store.rows["subject_id"].to_pylist()) == "odd")
    loaded = model_for(store)
    place = loaded.vocabulary.codes.index("z")
    trained = replace(loaded, vocabulary=unknown_to(loaded, "z").vocabulary)
    assert place == len(trained.vocabulary.codes)  # the last one: numbers of the others stay
    found = predict(trained, store, rows)
    assert found.without_events == 1
    assert found.unmatched == pytest.approx(1 / 61)
    assert found.rows.tolist() == rows.tolist()
    for numbers in (found.logits, found.embedding):
        assert np.flatnonzero(np.isnan(numbers).all(1)).tolist() == [odd]
        assert np.isfinite(np.delete(numbers, odd, 0)).all()
    assert found.labels[odd].tolist() == [-1]


def test_labels_that_a_store_does_not_have_are_missing(store: Store) -> None:
    loaded = model_for(store)
    other = replace(loaded, header=loaded.header.model_copy(update={"tasks": ("elsewhere",)}))
    found = predict(other, store, np.array([0, 1]))
    assert found.labels.tolist() == [[-1], [-1]]
    assert not found.label_mask.any()


@pytest.mark.parametrize("row", [-1, 40])
def test_a_row_that_is_not_there_is_refused(store: Store, row: int) -> None:
    with pytest.raises(InputError, match=f"there is no row {row}: rows are numbered from 0 to 39"):
        predict(model_for(store), store, np.array([0, row]))


def test_numbers_that_are_not_finite_are_an_error_and_no_missing_row(store: Store) -> None:
    loaded = model_for(store)
    with torch.no_grad():
        loaded.model.head.out.bias.fill_(torch.inf)
    with pytest.raises(NumericalError, match="not finite; take an earlier checkpoint"):
        predict(loaded, store, np.array([0, 1]))


def test_missing_rows_stand_between_those_that_were_found() -> None:
    found = beside_missing(np.array([2, 4, 9]), np.array([4]), np.array([[1.0, 2.0]]))
    assert np.isnan(found[[0, 2]]).all()
    assert found[1].tolist() == [1.0, 2.0]
