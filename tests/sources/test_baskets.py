"""Retail baskets: households of baskets of categories, with a demographic label given as text."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setvae_cli.errors import InputError
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.labels import read_labels
from setvae_cli.sources.recognise import open_source
from setvae_cli.store.precompute import precompute
from setvae_cli.store.reader import Store

ROLES = (
    "subject=household_id",
    "time=time",
    "set=basket_id",
    "code=category",
    "value=sales_value",
)
NOON = dt.datetime(2017, 1, 7, 12)
MORE = NOON + dt.timedelta(minutes=90)
# household, basket, time, category, sales value: two baskets of one minute, a category twice
BASKETS = [
    ("h1", "501", NOON, "SOUP", 1.5),
    ("h1", "501", NOON, "SOUP", 2.5),
    ("h1", "501", NOON, "CANDY", 3.0),
    ("h1", "502", NOON, "CANDY", 4.0),
    ("h1", "503", MORE, "MILK", 2.0),
    ("h2", "601", MORE, "MILK", 2.0),
    ("h3", "701", MORE, "SOUP", 1.0),
    ("h4", "801", MORE, "SOUP", 1.0),
]
SPLITS = {"h1": "train", "h2": "train", "h3": "validation", "h4": "test"}
PEOPLE = {"household_id": ["h1", "h2", "h3"], "income": ["50-74K", "Under 15K", None],
          "kids": ["3+", "0", "1"]}  # fmt: skip


def baskets(folder: Path) -> Path:
    names = ("household_id", "basket_id", "time", "category", "sales_value")
    columns = dict(zip(names, map(list, zip(*BASKETS, strict=True)), strict=True))
    columns["split"] = [SPLITS[row[0]] for row in BASKETS]
    pq.write_table(pa.table(columns), folder / "transactions.parquet")
    return folder / "transactions.parquet"


def people(folder: Path, **columns: object) -> Path:
    pq.write_table(pa.table(PEOPLE | columns), folder / "demographics.parquet")
    return folder / "demographics.parquet"


def store_of(data: Path, out: Path, *labels: str, file: Path | None = None) -> Store:
    source = open_source(data, SourceSettings(source="table", map=(*ROLES, *labels), labels=file))
    precompute(source, StoreSettings(), out, workers=1, sink=lambda record: None)
    return Store.open(out)


def test_a_set_is_one_basket_also_where_two_are_paid_at_one_minute(tmp_path: Path) -> None:
    store = store_of(baskets(tmp_path), tmp_path / "store")
    place = store.rows["subject_id"].to_pylist().index("h1")
    shard = store.shard(store.columns.shard[place])
    first, end = shard.row_offsets[store.columns.row_in_shard[place] + np.array([0, 1])]
    assert np.diff(shard.set_offsets[first : end + 1]).tolist() == [3, 1, 1]
    assert shard.positions[first:end, 0].tolist() == [0, 0, 90]


def test_a_category_may_stand_in_a_basket_with_several_values(tmp_path: Path) -> None:
    store = store_of(baskets(tmp_path), tmp_path / "store")
    assert store.manifest.drops == {}
    assert store.columns.n_elements.sum() == len(BASKETS)


def test_texts_of_a_mapped_label_become_classes_named_in_the_manifest(tmp_path: Path) -> None:
    tasks = ("label:income=income", "label:kids=kids")
    store = store_of(baskets(tmp_path), tmp_path / "store", *tasks, file=people(tmp_path))
    assert store.manifest.class_names == {
        "income": ("50-74K", "Under 15K"),
        "kids": ("0", "1", "3+"),
    }
    found = dict(zip(store.rows["subject_id"].to_pylist(), store.labels.tolist(), strict=True))
    assert found == {"h1": [0, 2], "h2": [1, 0], "h3": [-1, 1], "h4": [-1, -1]}
    assert store.classes == (2, 3)


def test_a_store_without_named_classes_has_no_field_for_them(tmp_path: Path) -> None:
    store = store_of(baskets(tmp_path), tmp_path / "store")
    assert "class_names" not in json.loads((store.path / "manifest.json").read_text())


def test_a_class_that_no_household_of_the_data_has_keeps_its_place(tmp_path: Path) -> None:
    file = people(tmp_path, household_id=["h9", "h2", "h3"])
    store = store_of(baskets(tmp_path), tmp_path / "store", "label:kids=kids", file=file)
    assert store.manifest.class_names == {"kids": ("0", "1", "3+")}
    assert store.classes == (3,)


@pytest.mark.parametrize("missing", [None, "", "  ", "NA"])
def test_an_empty_text_is_a_missing_label(tmp_path: Path, missing: str | None) -> None:
    file = people(tmp_path, kids=["yes", missing, "no"])
    labels = read_labels(file, subject="household_id", tasks={"kids": "kids"})
    assert labels.table["kids"].to_pylist() == [1, None, 0]
    assert labels.class_names == {"kids": ("no", "yes")}


def test_numbers_of_a_mapped_label_stay_class_numbers_without_names(tmp_path: Path) -> None:
    file = people(tmp_path, kids=["1", "0", None])
    labels = read_labels(file, subject="household_id", tasks={"kids": "kids"})
    assert labels.table["kids"].to_pylist() == [1, 0, None]
    assert labels.class_names == {}


@pytest.mark.parametrize(
    ("texts", "tasks", "finding"),
    [
        (["0", "1", "3+"], None, "is text.*name the columns of labels with --map label:NAME"),
        (["0.5", "1", "0"], {"kids": "kids"}, "not a class number"),
        ([f"note {i}" for i in range(300)], {"kids": "kids"}, "more than 256 texts"),
        ([f"{i}" * 2 + "x" for i in range(40)], {"kids": "kids"}, "40 texts for 40 subjects"),
    ],
)
def test_texts_that_nobody_mapped_and_texts_that_are_no_classes_are_refused(
    tmp_path: Path, texts: list[str], tasks: dict[str, str] | None, finding: str
) -> None:
    table = pa.table({"household_id": [f"h{i}" for i in range(len(texts))], "kids": texts})
    pq.write_table(table, tmp_path / "people.parquet")
    with pytest.raises(InputError, match=finding):
        read_labels(tmp_path / "people.parquet", subject="household_id", tasks=tasks)


def test_real_baskets_are_prepared(tmp_path: Path, shared_data: Path) -> None:
    data = shared_data / "completejourney"
    file = data / "demographics.parquet"
    tasks = ("label:married=marital_status",)
    store = store_of(data / "transactions.parquet", tmp_path / "store", *tasks, file=file)
    counts = store.manifest.counts.values()
    assert sum(split.sets for split in counts) == 47_082
    assert store.manifest.drops == {"exact duplicate": 578, "missing code": 331}
    assert store.manifest.class_names == {"married": ("Married", "Unmarried")}
    assert (store.labels >= 0).sum() == 664
