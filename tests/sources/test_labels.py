"""Files of outcomes: which spellings are known, what is missing, what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.errors import InputError, SetvaeError
from setvae_cli.sources.labels import read_labels


def file(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n1,6,1,5,-1,0\n2,,,,,1\n"


@pytest.mark.parametrize(
    "text",
    [
        OUTCOMES,
        "ts_id,in_hospital_mortality\n1.0,0\n2.0,1\n",
        "subject_id;in_hospital_mortality\n1;0.0\n2;1.0\n",
        "subject_id\tlabel.in_hospital_mortality\n1\t0\n2\t1\n",
    ],
)
def test_every_known_spelling_gives_the_same_labels(tmp_path: Path, text: str) -> None:
    assert read_labels(file(tmp_path, text)).table.to_pylist() == [
        {"subject_id": "1", "in_hospital_mortality": 0},
        {"subject_id": "2", "in_hospital_mortality": 1},
    ]


def test_a_missing_label_is_missing_and_never_zero(tmp_path: Path) -> None:
    labels = read_labels(file(tmp_path, "subject_id,death\n1,\n2,NaN\n3,1\n"))
    assert labels.table["death"].to_pylist() == [None, None, 1]


def test_an_unknown_death_of_the_challenge_is_missing(tmp_path: Path) -> None:
    labels = read_labels(file(tmp_path, "RecordID,In-hospital_death\n1,-1\n2,1\n"))
    assert labels.table["in_hospital_mortality"].to_pylist() == [None, 1]


def test_booleans_of_parquet_are_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"subject_id": [7, 8], "death": [False, True]}), path)
    assert read_labels(path).table["death"].to_pylist() == [0, 1]


def test_a_column_without_a_name_is_no_task(tmp_path: Path) -> None:
    labels = read_labels(file(tmp_path, ",subject_id,death\n0,7,1\n1,8,0\n"))
    assert labels.table.column_names == ["subject_id", "death"]


def test_tasks_and_ids_can_be_mapped(tmp_path: Path) -> None:
    path = file(tmp_path, "who,note,died\n1,text,0\n")
    labels = read_labels(path, subject="who", tasks={"death": "died"})
    assert labels.table.to_pylist() == [{"subject_id": "1", "death": 0}]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("subject_id,death\n1,0.5\n", "not a class number"),
        ("subject_id,death\n1,-1\n", "not a class number"),
        ("subject_id,death\n1,yes\n", "is text"),
        ("subject_id,death\n1,0\n1,1\n", "1 rows give a second label"),
        ("subject_id,death\n1,0\n1.0,0\n", "1 rows give a second label"),
        ("subject,death\n1,0\n", "no column names the subject.*nearest is 'subject'"),
        ("subject_id\n1\n", "no column of labels"),
        ("subject_id,prediction_time,death\n1,60,0\n", "not read from tables yet; cut .* drop"),
    ],
)
def test_bad_labels_are_refused(tmp_path: Path, text: str, finding: str) -> None:
    with pytest.raises(InputError, match=finding):
        read_labels(file(tmp_path, text))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_labels_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "labels.csv"
    for head in (b"", b"RecordID,In-hospital_death\n"):
        path.write_bytes(head + content)
        with contextlib.suppress(SetvaeError):
            read_labels(path)
