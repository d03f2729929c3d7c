"""Tables in any order of rows: streamed, brought together on disk, and prepared to one store."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.errors import DataError, InputError, RunError, UsageError
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources import census as census_module
from setvae_cli.sources import table as table_module
from setvae_cli.sources import tabular
from setvae_cli.sources.census import hashes, take_census
from setvae_cli.sources.recognise import open_source
from setvae_cli.store.precompute import PrepareProgress, precompute
from setvae_cli.store.reader import Store

Content = dict[str, list[tuple[float, str, float]]]


def cohort(subjects: int = 60, rows: int = 20) -> pa.Table:
    """Distinct events of subjects that stand together in time order, and their labels."""
    generator = np.random.default_rng(0)
    number = np.repeat(np.arange(subjects), rows)
    return pa.table(
        {
            "subject_id": pa.array(number + 1000).cast(pa.string()),
            "minute": np.tile(np.arange(rows) // 3, subjects).astype(float),
            "code": pa.array(["HR", "BP", "Temp"] * (len(number) // 3 + 1))[: len(number)],
            "value": generator.normal(50, 9, len(number)).round(1),
            "age": pa.array(40 + number % 30),
            "label.died": pa.array(number % 2),
        }
    )


def shuffled(table: pa.Table, seed: int = 1) -> pa.Table:
    return table.take(pa.array(np.random.default_rng(seed).permutation(table.num_rows)))


def write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=100)
    return path


def prepare(data: Path, out: Path, *, workers: int = 1, sink: Callable = lambda record: None):
    source = open_source(data, SourceSettings(map=("attribute:age=age",)))
    precompute(source, StoreSettings(), out, workers=workers, sink=sink)
    return out


def content(path: Path) -> Content:
    """Events of each subject, whatever the order of the subjects."""
    store = Store.open(path)
    found: Content = {}
    for row, name in enumerate(store.rows["subject_id"].to_pylist()):
        shard, place = store.shard(int(store.columns.shard[row])), store.columns.row_in_shard[row]
        found[name] = [
            (float(shard.positions[s, 0]), store.vocabulary.codes[shard.keys[e]],
             float(shard.values[e]))
            for s in range(shard.row_offsets[place], shard.row_offsets[place + 1])
            for e in range(shard.set_offsets[s], shard.set_offsets[s + 1])
        ]  # fmt: skip
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts, batches and blocks that a small table has many of."""
    monkeypatch.setattr(table_module, "ROWS_PER_PART", 130)
    monkeypatch.setattr(table_module, "ROWS_AT_ONCE", 70)
    monkeypatch.setattr(tabular, "_BLOCK_BYTES", 2000)
    monkeypatch.setattr(census_module, "_PENDING", 10)


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
@pytest.mark.usefixtures("small")
def test_a_shuffled_table_gives_every_subject_the_same_events(tmp_path: Path, name: str) -> None:
    table = cohort()
    prepare(write(table, tmp_path / "sorted.parquet"), tmp_path / "a")
    prepare(write(shuffled(table), tmp_path / name), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    labels = [Store.open(tmp_path / store).rows for store in "ab"]
    columns = ["subject_id", "split", "label.died", "attribute.age"]
    first, second = (rows.select(columns).sort_by("subject_id").to_pylist() for rows in labels)
    assert first == second


def test_the_order_of_subjects_is_that_of_their_first_rows(tmp_path: Path, small: None) -> None:
    table = shuffled(cohort())
    store = Store.open(prepare(write(table, tmp_path / "t.csv"), tmp_path / "store"))
    assert store.rows["subject_id"].to_pylist() == table["subject_id"].unique().to_pylist()


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_boundaries_of_parts_do_not_change_the_store(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(shuffled(cohort(24)), tmp_path / name)
    whole = files(prepare(data, tmp_path / "whole"))
    for size, at_once in ((1, 7), (100, 10_000)):
        monkeypatch.setattr(table_module, "ROWS_PER_PART", size)
        monkeypatch.setattr(table_module, "ROWS_AT_ONCE", at_once)
        assert files(prepare(data, tmp_path / f"{size}")) == whole


def test_workers_do_not_change_the_store_of_a_shuffled_table(tmp_path: Path, small: None) -> None:
    data = write(shuffled(cohort()), tmp_path / "table.parquet")
    one, two = (prepare(data, tmp_path / f"{n}", workers=n) for n in (1, 2))
    assert files(one) == files(two)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 20), st.integers(1, 9))
def test_a_subject_is_never_in_two_parts(ids: list[int], size: int, at_once: int) -> None:
    names = pa.array([None if i == 9 else f"id {i}" for i in ids], pa.string())
    batches = [names[i : i + at_once].dictionary_encode() for i in range(0, len(ids), at_once)]
    census = take_census(batches)
    cuts = census.cuts(size)
    part = census.parts(cuts)[np.concatenate([census.find(batch) for batch in batches])]
    parts: dict[int, set[int]] = {}
    for subject, number in zip(ids, part.tolist(), strict=True):
        parts.setdefault(subject, set()).add(number)
    assert all(len(found) == 1 for found in parts.values())
    assert sorted(set(part.tolist())) == list(range(len(cuts) - 1))
    changes = np.count_nonzero(np.diff(ids)) + 1
    assert census.together == (changes == len(set(ids)))
    rows = np.bincount(part)
    assert rows.tolist() == np.diff(cuts).tolist()
    assert (rows[:-1] >= size).all()


def test_hashes_tell_ids_apart_and_do_not_depend_on_the_slice() -> None:
    names = [f"{i}" for i in range(20_000)] + ["", "a", "b", "ab", "ba", "\0", "aa"]
    found = hashes(pa.array(names))
    assert len(np.unique(found)) == len(names)
    assert np.array_equal(hashes(pa.array(names)[7:20]), found[7:20])
    assert hashes(pa.array(["200001"])).tolist() == [2092471658684525199]


def test_a_huge_row_group_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(cohort(), tmp_path / "table.parquet")
    ranges = files(prepare(data, tmp_path / "ranges"))
    monkeypatch.setattr(table_module, "LARGEST_GROUP", 50)
    parts = list(open_source(data, SourceSettings()).parts(tmp_path))
    assert all(isinstance(part.rows, Path) for part in parts)
    assert files(prepare(data, tmp_path / "streamed")) == ranges


def test_spellings_of_one_id_in_different_batches_are_one_subject(
    tmp_path: Path, small: None
) -> None:
    table = cohort()
    spelled = [f"{name}.0" if i % 2 else name for i, name in enumerate(table[0].to_pylist())]
    prepare(write(table, tmp_path / "a.csv"), tmp_path / "a")
    table = shuffled(table.set_column(0, "subject_id", pa.array(spelled)))
    prepare(write(table, tmp_path / "b.csv"), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_cells_of_csv_may_hold_commas_and_quotes(tmp_path: Path, small: None) -> None:
    codes = ["a, b", 'say "x"', "plain"]
    table = cohort(20, 30).set_column(2, "code", pa.array(codes * 200))
    found = content(prepare(write(shuffled(table), tmp_path / "t.csv"), tmp_path / "store"))
    assert {code for events in found.values() for _, code, _ in events} == {*codes, "age"}


@pytest.mark.parametrize(
    ("column", "cell", "finding"),
    [
        ("minute", "noon", "'minute' is text, expected a number of minutes"),
        ("minute", "2020-01-01", "'minute' is text, expected a number of minutes"),
        ("value", "high", "'value' is text, expected numbers"),
        ("label.died", "yes", "'label.died'"),
        ("age", "7", "'age': differs within 1 subjects"),
    ],
)
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_what_is_wrong_in_the_last_block_of_a_csv_is_found(
    tmp_path: Path, small: None, column: str, cell: str, finding: str, order: str
) -> None:
    table = cohort() if order == "sorted" else shuffled(cohort())
    place = table.column_names.index(column)
    cells = [*map(str, table[column].to_pylist()[:-1]), cell]
    data = write(table.set_column(place, column, pa.array(cells)), tmp_path / "table.csv")
    with pytest.raises(UsageError, match=finding):
        prepare(data, tmp_path / "store")
    assert list(tmp_path.iterdir()) == [data]


def test_zones_of_dates_must_agree_over_blocks(tmp_path: Path, small: None) -> None:
    times = ["2020-01-01 00:00Z"] * 1199
    table = cohort().set_column(1, "minute", pa.array([*times, "2020-01-01 00:00+01:00"]))
    with pytest.raises(InputError, match="'minute' mixes time zones"):
        prepare(write(table, tmp_path / "table.csv"), tmp_path / "store")


def test_rows_that_are_left_out_do_not_decide(tmp_path: Path, small: None) -> None:
    table = cohort().to_pydict()
    table["code"][5], table["value"] = None, [*map(str, table["value"])]
    table["value"][5] = "not measured"
    data = write(pa.table(table), tmp_path / "table.csv")
    assert sum(map(len, content(prepare(data, tmp_path / "store")).values())) == 1199 + 60


def test_labels_that_vary_over_batches_are_refused(tmp_path: Path, small: None) -> None:
    table = cohort()
    died = table["label.died"].to_pylist()
    died[-1] = 1 - died[-1]
    data = write(table.set_column(5, "label.died", pa.array(died)), tmp_path / "table.parquet")
    with pytest.raises(InputError, match="differs within 1 subjects"):
        open_source(data, SourceSettings()).labels()


@pytest.mark.parametrize("name", ["table.parquet", "table.csv"])
def test_nothing_is_left_behind(tmp_path: Path, small: None, name: str) -> None:
    data = write(shuffled(cohort()), tmp_path / name)
    seen: list[list[str]] = []

    def interrupt(record: PrepareProgress) -> None:
        if not record.rows:
            return
        (folder,) = tmp_path.glob(".tmp-*")
        seen.append(sorted(path.name for path in (folder / "scratch").iterdir()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(data, tmp_path / "store", sink=interrupt)
    assert len(seen[0]) > 3
    assert list(tmp_path.iterdir()) == [data]
    prepare(data, tmp_path / "store")
    assert sorted(tmp_path.iterdir()) == sorted([data, tmp_path / "store"])
    assert {path.name for path in (tmp_path / "store").iterdir()} == {
        "manifest.json",
        "rows.parquet",
        "shards",
        "vocabulary.parquet",
    }


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    data = write(shuffled(cohort(600)), tmp_path / "table.parquet")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores its signal
    try:
        with pytest.raises(RunError, match=r"store: cannot be written: .*; free some space"):
            prepare(data, tmp_path / "store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [data]


def test_a_line_break_in_a_cell_never_ends_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tabular, "_BLOCK_BYTES", 64)
    data = tmp_path / "table.csv"
    for size in range(64):
        note = "x" * size
        data.write_text(f'id,value,note\n1,50,{note}\n1,51,"a\n9,66,b"\n1,52,z\n')
        rows = pa.concat_tables(tabular.stream_csv(data, ["id", "value"], 10))
        assert rows["value"].to_pylist() == ["50", "51", "52"]
        assert rows["id"].to_pylist() == ["1"] * 3


def test_cells_of_a_csv_of_many_blocks_may_hold_line_breaks(tmp_path: Path, small: None) -> None:
    table = cohort()
    prepare(write(table, tmp_path / "a.csv"), tmp_path / "a")
    notes = pa.array([f"line {i}\n, and another" for i in range(table.num_rows)])
    prepare(write(table.append_column("note", notes), tmp_path / "b.csv"), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_time_that_stands_in_a_dictionary_but_in_no_row_does_not_decide(tmp_path: Path) -> None:
    table = cohort()
    minutes = table["minute"].to_numpy().astype(np.int32)
    words = pa.array([*map(str, range(7)), "unknown"])
    encoded = pa.DictionaryArray.from_arrays(pa.array(minutes), words)
    prepare(write(table, tmp_path / "a.parquet"), tmp_path / "a")
    table = table.set_column(1, "minute", encoded)
    prepare(write(table, tmp_path / "b.parquet"), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize("column", ["subject_id", "label.died"])
def test_a_column_of_lists_is_refused_by_name(tmp_path: Path, column: str) -> None:
    table = cohort()
    lists = pa.array([[value] for value in table[column].to_pylist()])
    table = table.set_column(table.column_names.index(column), column, lists)
    with pytest.raises(InputError, match=f"column '{column}'.* holds lists or structures"):
        prepare(write(table, tmp_path / "table.parquet"), tmp_path / "store")


def test_boundaries_of_parts_do_not_decide_the_order_where_rows_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = shuffled(cohort(24))
    codes = [None if i % 3 else code for i, code in enumerate(table["code"].to_pylist())]
    data = write(table.set_column(2, "code", pa.array(codes)), tmp_path / "table.parquet")
    whole = files(prepare(data, tmp_path / "whole"))
    monkeypatch.setattr(table_module, "ROWS_PER_PART", 100)
    assert files(prepare(data, tmp_path / "parts")) == whole
    order = Store.open(tmp_path / "whole").rows["subject_id"].to_pylist()
    assert order == table["subject_id"].unique().to_pylist()


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("column", ["subject_id", "minute", "code"])
def test_categories_of_several_files_need_not_fit_the_indices_of_one(
    tmp_path: Path, column: str, order: str
) -> None:
    table = cohort(300, 9) if order == "sorted" else shuffled(cohort(300, 9))
    number = np.arange(table.num_rows)
    words = {
        "subject_id": table["subject_id"].to_pylist(),
        "minute": [f"{i // 900 * 100 + i % 100}" for i in number],
        "code": [f"code {i // 900 * 100 + i % 100}" for i in number],
    }[column]
    table = table.set_column(table.column_names.index(column), column, pa.array(words))
    narrow = pa.dictionary(pa.int8(), pa.string())
    (tmp_path / "data").mkdir()
    for start in range(0, table.num_rows, 900):
        schema = table.schema.set(table.column_names.index(column), pa.field(column, narrow))
        with pq.ParquetWriter(tmp_path / "data" / f"{start:04d}.parquet", schema) as writer:
            for row in range(start, start + 900, 100):
                writer.write_table(table.slice(row, 100).cast(schema))
    prepare(write(table, tmp_path / "plain.parquet"), tmp_path / "a")
    prepare(tmp_path / "data", tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_file_that_is_replaced_by_a_shorter_one_is_said(tmp_path: Path, small: None) -> None:
    data = write(cohort(), tmp_path / "table.parquet")
    *_, last = open_source(data, SourceSettings()).parts(tmp_path)
    write(cohort(10), data)
    with pytest.raises(DataError, match=r"table\.parquet: was changed while it was read"):
        last.read()
