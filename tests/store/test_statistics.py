from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from setvae_cli.errors import DataError, InputError
from setvae_cli.store import writer
from setvae_cli.store.reader import Store
from setvae_cli.store.statistics import _bin, _representative, fit_vocabulary
from setvae_cli.store.vocabulary import LEVELS, Vocabulary
from tests.tiny import TinySource, cohort, records, write


def of(store: Store, code: str) -> int:
    return store.vocabulary.codes.index(code)


def training_values(store: Store, code: str) -> np.ndarray:
    values = []
    for row in store.split("train"):
        shard = store.shard(int(store.columns.shard[row]))
        place = store.columns.row_in_shard[row]
        first, last = shard.set_offsets[shard.row_offsets[[place, place + 1]]]
        values.append(shard.values[first:last][shard.keys[first:last] == of(store, code)])
    return np.concatenate(values).astype(np.float64)


def test_statistics_come_from_training_rows_only(tmp_path: Path) -> None:
    plain = [(f"s{i}", 0.0, "lab", float(i % 7)) for i in range(40)]
    split = ["train"] * 30 + ["validation"] * 5 + ["test"] * 5
    planted = [*plain[:39], ("s39", 0.0, "lab", 1e9)]
    found = []
    for name, events in (("plain", plain), ("planted", planted)):
        write(TinySource([records(events, split=split)]), tmp_path / name)
        found.append(Store.open(tmp_path / name).vocabulary)
    assert found[0].digest() == found[1].digest()
    assert found[1].counts.tolist() == [30]


def test_quantiles_and_moments_are_those_of_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SHARD_ELEMENTS", 200)
    write(cohort(200, parts=10), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert store.columns.shard.max() > 1
    values, code = training_values(store, "lab"), of(store, "lab")
    vocabulary = store.vocabulary
    expected = np.quantile(values, LEVELS, method="inverted_cdf")
    np.testing.assert_allclose(vocabulary.quantiles[code], expected, rtol=2**-11)
    clipped = np.clip(values, vocabulary.quantiles[code][0], vocabulary.quantiles[code][-1])
    assert vocabulary.mean[code] == pytest.approx(clipped.mean(), rel=1e-12)
    assert vocabulary.std[code] == pytest.approx(clipped.std(), rel=1e-12)
    assert vocabulary.counts[code] == len(values)
    assert (np.diff(vocabulary.quantiles[code]) >= 0).all()


def test_kinds_follow_from_what_is_given_and_from_training_values(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    vocabulary = Store.open(tmp_path / "store").vocabulary
    kinds = dict(zip(vocabulary.codes, vocabulary.kinds, strict=True))
    assert kinds == {"age": "numeric", "flag": "binary", "lab": "numeric", "mode": "category",
                     "note": "presence"}  # fmt: skip
    places = {name: list(q) for name, q in zip(vocabulary.codes, vocabulary.quantiles, strict=True)}
    assert places["mode"] == [1, 2, 3, 4]
    assert places["flag"] == [0, 1]
    assert places["note"] == []
    for code, kind in enumerate(vocabulary.kinds):
        if kind != "numeric":
            assert (vocabulary.mean[code], vocabulary.std[code]) == (0, 1)


def test_a_refit_on_the_training_rows_gives_the_same_vocabulary(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert fit_vocabulary(store).digest() == store.vocabulary.digest()
    fold = fit_vocabulary(store, store.split("train")[::2])
    assert fold.counts.sum() < store.vocabulary.counts.sum()
    assert fold.kinds == store.vocabulary.kinds


def test_a_constant_code_is_divided_by_one_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = [(f"s{i}", 0.0, "lab", 7.5) for i in range(20)]
    with caplog.at_level(logging.WARNING):
        write(TinySource([records(events)]), tmp_path / "store")
    vocabulary = Store.open(tmp_path / "store").vocabulary
    assert (vocabulary.mean[0], vocabulary.std[0]) == (7.5, 1.0)
    assert "1 code with one value in training, divided by 1 (lab)" in caplog.text


@given(arrays.arrays(np.float32, 20, elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_bins_keep_the_order_of_values_and_stay_near_them(values: np.ndarray) -> None:
    values = np.sort(values + np.float32(0))
    bins = _bin(values, np.zeros(20, dtype=bool))
    assert (np.diff(bins) >= 0).all()
    near = _representative(bins)
    normal = np.abs(values) > 1e-30
    np.testing.assert_allclose(near[normal], values[normal], rtol=2**-11)
    assert (np.abs(near) <= np.abs(values)).all()
    small = np.arange(-2048, 2049, dtype=np.float32)
    rounded = _bin(small, np.zeros(len(small), dtype=bool))
    np.testing.assert_array_equal(_representative(rounded), small)
    np.testing.assert_array_equal(_representative(_bin(values, np.ones(20, dtype=bool))), values)


def test_classes_of_a_category_are_exactly_its_values(tmp_path: Path) -> None:
    events = [(f"s{i}", 0.0, "item", -5001.0 if i % 2 else 5001.0 + i % 4) for i in range(60)]
    write(TinySource([records(events)]), tmp_path / "store", categories=("item",))
    classes = Store.open(tmp_path / "store").vocabulary.quantiles[0]
    assert classes.tolist() == [-5001.0, 5001.0, 5003.0]


def test_given_statistics_replace_the_fitted_ones(tmp_path: Path) -> None:
    given_statistics = {"lab": (1.0, 2.0), "age": (3.0, 0.0)}
    write(cohort(given_statistics=given_statistics), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert store.vocabulary.mean[of(store, "lab")] == 1.0
    assert store.vocabulary.std[of(store, "age")] == 1.0


@pytest.mark.parametrize(
    ("statistics", "finding"),
    [
        ({"lab": (1.0, 2.0)}, "lack 1 codes, such as 'age'"),
        ({"lab": (1.0, -2.0), "age": (0.0, 1.0)}, "deviation of at least 0"),
        ({"lab": (float("nan"), 2.0), "age": (0.0, 1.0)}, "deviation of at least 0"),
    ],
)
def test_given_statistics_that_cannot_be_used_are_refused(
    tmp_path: Path, statistics: dict, finding: str
) -> None:
    with pytest.raises(InputError, match=finding):
        write(cohort(given_statistics=statistics), tmp_path / "store")


CODES = ("age", "flag", "lab", "mode", "note")


@pytest.mark.parametrize(
    ("names", "embedding", "finding"),
    [
        (CODES, np.ones((5, 0)), "no table"),
        (CODES, np.ones((4, 3)), "no table"),
        (CODES[:4], np.ones((4, 3)), "lack 1 of 5 codes"),
        (CODES, np.zeros((5, 3)), "zero or not finite"),
        (CODES, np.full((5, 3), np.nan), "zero or not finite"),
    ],
)
def test_embeddings_that_cannot_be_used_are_refused(
    tmp_path: Path, names: tuple[str, ...], embedding: np.ndarray, finding: str
) -> None:
    with pytest.raises(InputError, match=finding):
        write(cohort(given_embeddings=(names, embedding.astype(np.float32))), tmp_path / "store")


def test_embeddings_are_matched_by_name_and_kept(tmp_path: Path) -> None:
    rows = np.arange(1, 19, dtype=np.float32).reshape(6, 3)
    source = cohort(given_embeddings=((*reversed(CODES), "unused"), rows))
    write(source, tmp_path / "store")
    embedding = Store.open(tmp_path / "store").vocabulary.embedding
    np.testing.assert_array_equal(embedding, rows[:5][::-1])


def test_a_vocabulary_survives_plain_values_and_damage_is_found(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    vocabulary = Store.open(tmp_path / "store").vocabulary
    plain = vocabulary.to_plain()
    assert Vocabulary.from_plain(plain).digest() == vocabulary.digest()
    with pytest.raises(DataError, match="differ in length"):
        Vocabulary.from_plain(plain | {"codes": ["a"]})
    with pytest.raises(DataError, match="damaged"):
        Vocabulary.from_plain({"codes": []})


def test_codes_are_matched_by_name_and_unseen_ones_are_unknown(tmp_path: Path) -> None:
    write(cohort(), tmp_path / "store")
    vocabulary = Store.open(tmp_path / "store").vocabulary
    vocabulary.counts[2] = 0
    assert vocabulary.match(["note", "lab", "nothing", "age"]).tolist() == [4, -1, -1, 0]
