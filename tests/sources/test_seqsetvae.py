"""The original's layout: splits by folder, ids of file names, statistics and embeddings."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.errors import InputError, SetvaeError
from setvae_cli.settings.prepare import SourceSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.sources.records import Records
from setvae_cli.sources.seqsetvae import SeqSetVAESource, read_embeddings, read_statistics

CANARY = "987654321.0"


def patient(**columns: object) -> pa.Table:
    base: dict[str, object] = {
        "variable": ["HR", "BP", "HR"],
        "value": [70.0, 120.0, 80.0],
        "minute": [0.0, 0.0, 7.5],
    }
    return pa.table(base | columns)


def layout(root: Path, **more: dict[str, pa.Table]) -> Path:
    """ROOT with two training patients, one for validation and one for test."""
    splits = {
        "train": {"200001.0": patient(), "200002.0": patient()},
        "valid": {"p-3": patient()},
        "test": {"200004": patient()},
    }
    for split, patients in splits.items():
        folder = root / "patient_ehr" / split
        folder.mkdir(parents=True)
        for name, table in (patients | more.get(split, {})).items():
            pq.write_table(table, folder / f"{name}.parquet")
    (root / "oc.csv").write_text("ts_id,in_hospital_mortality\n200001.0,1\n200002,0\np-3,\n")
    (root / "stats.csv").write_text("variable,mean,std\nHR,75,5\nBP,120,0\n")
    (root / "cached.csv").write_text("Key,0,1,2\nHR,1,2,3\nBP,4,5,6\n")
    return root


def source(root: Path, **options: object) -> SeqSetVAESource:
    opened = open_source(root, SourceSettings(**options))
    assert isinstance(opened, SeqSetVAESource)
    return opened


def read(root: Path, **options: object) -> list[Records]:
    return [part.read() for part in source(root, **options).parts()]


@pytest.mark.parametrize("inside", [".", "patient_ehr"])
def test_splits_follow_from_folders_and_ids_from_file_names(tmp_path: Path, inside: str) -> None:
    root = layout(tmp_path) / inside
    rows = [row for records in read(root) for row in records.subjects.to_pylist()]
    assert rows == [
        {"subject_id": "200001", "split": "train"},
        {"subject_id": "200002", "split": "train"},
        {"subject_id": "p-3", "split": "validation"},
        {"subject_id": "200004", "split": "test"},
    ]


def test_events_keep_their_minutes_and_labels_match_either_spelling(tmp_path: Path) -> None:
    opened = source(layout(tmp_path))
    first = next(opened.parts()).read().events
    assert first["time"].to_pylist() == [0, 0, 7.5, 0, 0, 7.5]
    assert first["subject"].to_pylist() == [0, 0, 0, 1, 1, 1]
    labels = opened.labels()
    assert labels is not None
    assert labels.table.to_pylist() == [
        {"subject_id": "200001", "in_hospital_mortality": 1},
        {"subject_id": "200002", "in_hospital_mortality": 0},
        {"subject_id": "p-3", "in_hospital_mortality": None},
    ]


def test_set_index_is_read_where_every_file_has_it(tmp_path: Path) -> None:
    with_sets = patient(set_index=[0, 0, 1])
    root = layout(tmp_path, train={"200001.0": with_sets, "200002.0": with_sets})
    assert read(root)[0].events["set"].to_pylist() == [0, 0, 1, 0, 0, 1]


def test_a_set_index_in_some_files_only_is_refused(tmp_path: Path) -> None:
    root = layout(tmp_path, train={"200001.0": patient(set_index=[0, 0, 1])})
    with pytest.raises(InputError, match="only some files have a column set_index"):
        read(root)


def test_statistics_and_embeddings_may_lie_elsewhere(tmp_path: Path) -> None:
    root = layout(tmp_path / "a")
    other = tmp_path / "b"
    other.mkdir()
    for name in ("stats.csv", "cached.csv", "oc.csv"):
        (root / name).rename(other / name)
    assert source(root).statistics() is None
    assert source(root).embeddings() is None
    assert source(root).labels() is None
    named = source(root, params_map_path=other / "stats.csv", embeddings_path=other / "cached.csv")
    assert named.statistics() == {"HR": (75.0, 5.0), "BP": (120.0, 0.0)}
    found = named.embeddings()
    assert found is not None
    names, vectors = found
    assert names == ("HR", "BP")
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_patient_without_rows_stays_among_the_subjects(tmp_path: Path) -> None:
    root = layout(tmp_path, train={"200002.0": patient()[:0]})
    first = read(root)[0]
    assert first.subjects["subject_id"].to_pylist() == ["200001", "200002"]
    assert set(first.events["subject"].to_pylist()) == {0}


BAD = {
    "text value": patient(value=["a", "b", CANARY]),
    "no minute": patient().drop_columns(["minute"]),
    "text minute": patient(minute=["a", "b", "c"]),
    "lists": patient(value=[[1.0], [2.0], [3.0]]),
}


@pytest.mark.parametrize("table", [*BAD.values(), b"", b"rubbish"], ids=[*BAD, "empty", "rubbish"])
def test_a_bad_file_is_named_by_its_place_and_can_be_skipped(
    tmp_path: Path, table: pa.Table | bytes
) -> None:
    root = layout(tmp_path)
    path = root / "patient_ehr" / "train" / f"{CANARY}.parquet"
    if isinstance(table, bytes):
        path.write_bytes(table)
    else:
        pq.write_table(table, path)
    with pytest.raises(InputError, match=r"train: file 3 of the folder") as caught:
        read(root)
    assert "987654321" not in str(caught.value)
    first = read(root, skip_bad_files=True)[0]
    assert first.subjects["subject_id"].to_pylist() == ["200001", "200002"]
    assert first.drops["file that could not be read"] == 1


def test_numbers_as_text_in_one_file_are_numbers(tmp_path: Path) -> None:
    odd = patient(value=["70", "120", "80"], minute=[0, 0, 7])
    root = layout(tmp_path, train={"200002.0": odd})
    first = read(root)[0]
    assert first.events["value"].to_pylist() == [70.0, 120.0, 80.0] * 2
    assert first.events["time"].to_pylist() == [0, 0, 7.5, 0, 0, 7]


def test_a_file_of_text_values_is_named_by_folder_and_place(tmp_path: Path) -> None:
    root = layout(tmp_path, train={"200002.0": patient(value=["a", "b", CANARY])})
    with pytest.raises(InputError, match="train: file 2 of the folder: column 'value' is text"):
        read(root)


def test_a_patient_in_two_splits_is_refused_by_count(tmp_path: Path) -> None:
    root = layout(tmp_path, test={"200001": patient()})
    with pytest.raises(InputError, match="1 patients stand in more than one") as caught:
        read(root)
    assert "200001" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("variable,mean,std\nHR,1,-1\n", "negative"),
        ("variable,mean,std\nHR,1,\n", "missing"),
        ("variable,mean,std\n,1,2\n", "name is missing"),
        ("variable,mean,std\nHR,1,2\nHR,1,2\n", "stands twice"),
        ("variable,mean,sd\nHR,1,2\n", "no column 'std', nearest is 'sd'"),
        ("variable,mean,std\nHR,one,2\n", "not a table"),
    ],
)
def test_bad_statistics_are_refused(tmp_path: Path, text: str, finding: str) -> None:
    path = tmp_path / "stats.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=finding):
        read_statistics(path)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Key,0,1\nHR,0,0\nBP,0,0\n", "all are 0"),
        ("Key,0,1\nHR,1,\n", "missing"),
        ("Key\nHR\n", "no numbers"),
        ("Name,0\nHR,1\n", "no column 'Key'"),
    ],
)
def test_bad_embeddings_are_refused(tmp_path: Path, text: str, finding: str) -> None:
    path = tmp_path / "cached.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=finding):
        read_embeddings(path)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_statistics_and_embeddings_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "some.csv"
    for head, reader in ((b"variable,mean,std\n", read_statistics), (b"Key,0\n", read_embeddings)):
        path.write_bytes(head + content)
        with contextlib.suppress(SetvaeError):
            reader(path)
