"""The file of embeddings: what stands in it, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import tiny

from setvae_cli.errors import InputError, NumericalError
from setvae_cli.evaluation.embed import Piece
from setvae_cli.evaluation.embeddings_file import check_place, write_embeddings
from setvae_cli.store.reader import Store

ABOUT = {"version": "1.2.3", "checkpoint": "best.ckpt"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty stays."""
    folder = tmp_path_factory.mktemp("data")
    tiny.write(tiny.cohort(40), folder / "store")
    return Store.open(folder / "store")


def pieces(rows: np.ndarray, sizes: list[int]) -> Iterator[Piece]:
    """Three numbers a row; those of row 5 are missing."""
    for some in np.split(rows, np.cumsum(sizes)[:-1]):
        embedding = np.stack([some, some + 0.5, -some], 1).astype(np.float32)
        embedding[some == 5] = np.nan
        yield Piece(some, embedding)


def write(path: Path, store: Store, *, sizes: list[int], with_labels: bool = False) -> pa.Table:
    rows = np.arange(sum(sizes))
    splits = {"train": np.array([0, 1]), "validation": np.array([2]), "test": np.array([3])}
    size = write_embeddings(
        path, store, pieces(rows, sizes), splits, with_labels=with_labels, about=ABOUT
    )
    assert size == 3
    return pq.read_table(path)


def test_a_line_a_row_keyed_by_subject(tmp_path: Path, store: Store) -> None:
    found = write(tmp_path / "e.parquet", store, sizes=[4, 4])
    assert found.column_names == ["subject_id", "row", "split", "e0", "e1", "e2"]
    assert found["subject_id"].equals(store.rows["subject_id"].slice(0, 8))
    assert found["row"].to_pylist() == [*range(8)]
    assert found["split"].to_pylist() == ["train", "train", "validation", "test", *[None] * 4]
    assert found["e1"].to_pylist() == [0.5, 1.5, 2.5, 3.5, 4.5, None, 6.5, 7.5]
    assert found["e1"].type == pa.float32()


def test_labels_where_they_are_asked_for(tmp_path: Path, store: Store) -> None:
    found = write(tmp_path / "e.parquet", store, sizes=[8], with_labels=True)
    assert found["label.death"].equals(store.rows["label.death"].slice(0, 8))


def test_pieces_become_row_groups_and_the_file_says_where_it_is_from(
    tmp_path: Path, store: Store
) -> None:
    write(tmp_path / "e.parquet", store, sizes=[3, 3, 2])
    file = pq.ParquetFile(tmp_path / "e.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [3, 3, 2]
    about = dict(file.schema_arrow.metadata)
    assert about == {b"setvae.version": b"1.2.3", b"setvae.checkpoint": b"best.ckpt"}
    assert (tmp_path / "e.parquet").stat().st_mode & 0o777 == 0o600


def test_two_times_give_equal_bytes(tmp_path: Path, store: Store) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, store, sizes=[3, 5])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_earlier_file_stays_when_something_fails(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "e.parquet"
    write(path, store, sizes=[4])
    before = path.read_bytes()

    def failing() -> Iterator[Piece]:
        yield from pieces(np.arange(4), [4])
        raise NumericalError("is not finite")

    with pytest.raises(NumericalError, match="not finite"):
        write_embeddings(path, store, failing(), {}, with_labels=False, about=ABOUT)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["e.parquet"]
    write(path, store, sizes=[2, 2])
    assert path.read_bytes() != before


def test_a_file_that_is_no_earlier_one_is_never_replaced(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "e.parquet"
    check_place(path)
    write(path, store, sizes=[4])
    check_place(path)
    pq.write_table(pa.table({"subject_id": ["a"]}), tmp_path / "theirs.parquet")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "gone.parquet").symlink_to(tmp_path / "nowhere")
    for name in ("theirs.parquet", "notes.txt", "gone.parquet", "."):
        with pytest.raises(InputError, match="exists already and is no file of embeddings"):
            check_place(tmp_path / name)


def test_a_prediction_time_is_part_of_the_key_where_there_is_one(tmp_path: Path) -> None:
    events = [("s", 1.0, "a", 1.0), ("t", 2.0, "a", 2.0), ("u", 2.0, "a", 2.5)] * 4
    content = tiny.records(sorted(set(events)), prediction_time=[60.0, 120.0, 180.0])
    tiny.write(tiny.TinySource([content]), tmp_path / "store", split_fractions=(1.0, 0.0, 0.0))
    store = Store.open(tmp_path / "store")
    write_embeddings(
        tmp_path / "e.parquet", store, pieces(np.arange(3), [3]), {}, with_labels=False, about={}
    )
    found = pq.read_table(tmp_path / "e.parquet")
    assert found["prediction_time"].equals(store.rows["prediction_time"])
