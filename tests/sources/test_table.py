"""Long tables: mapping, dates, order, labels, attributes, and the tables that are refused."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.errors import SetvaeError, UsageError
from setvae_cli.settings.prepare import SourceSettings
from setvae_cli.sources import table as table_module
from setvae_cli.sources.recognise import open_source
from setvae_cli.sources.records import Part, Records
from setvae_cli.sources.rows import UNSORTED

CANARY = "987654321"


def frame(**columns: object) -> pa.Table:
    """Three rows of two subjects, with some columns replaced."""
    base: dict[str, object] = {
        "subject_id": [CANARY, CANARY, "8"],
        "minute": [0.0, 5.5, 1.0],
        "code": ["HR", "BP", "HR"],
        "value": [70.0, 120.0, 80.0],
    }
    return pa.table({name: col for name, col in (base | columns).items() if col is not None})


def write(folder: Path, table: pa.Table, name: str = "cohort.parquet") -> Path:
    path = folder / name
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


def read(data: Path, **options: object) -> Records:
    (part,) = parts(data, **options)
    return part.read()


def parts(data: Path, **options: object) -> list[Part]:
    """Parts that live as long as the files of a table."""
    scratch = Path(tempfile.mkdtemp(dir=SCRATCH.name))
    return list(open_source(data, SourceSettings(**options)).parts(scratch))


def events(records: Records) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in records.events.to_pylist()]


SCRATCH = tempfile.TemporaryDirectory()  # until the tests end, never beside data that are read
PLAIN = [(0, 0.0, "HR", 70.0), (0, 5.5, "BP", 120.0), (1, 1.0, "HR", 80.0)]


@pytest.mark.parametrize("name", ["cohort.parquet", "cohort.csv"])
def test_usual_names_are_found_in_parquet_and_csv(tmp_path: Path, name: str) -> None:
    assert events(read(write(tmp_path, frame(), name))) == PLAIN


def test_roles_are_mapped_to_any_column(tmp_path: Path) -> None:
    names = ["who", "when", "what", "much"]
    data = write(tmp_path, frame().rename_columns(names))
    roles = tuple(
        f"{role}={c}" for role, c in zip(("subject", "time", "code", "value"), names, strict=True)
    )
    assert events(read(data, map=roles)) == PLAIN


def test_unsorted_rows_are_sorted_and_said(tmp_path: Path) -> None:
    table = frame().take([2, 1, 0])
    records = read(write(tmp_path, table))
    assert records.warnings == (UNSORTED,)
    assert events(records) == [
        (0, 1.0, "HR", 80.0),
        (1, 0.0, "HR", 70.0),
        (1, 5.5, "BP", 120.0),
    ]


START = dt.datetime(2020, 2, 28, 23, 59)
DATES = [START, START + dt.timedelta(minutes=5, seconds=30), dt.datetime(1999, 1, 1)]


@pytest.mark.parametrize("kind", [pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC")])
def test_dates_become_minutes_from_the_first_event(tmp_path: Path, kind: pa.DataType) -> None:
    data = write(tmp_path, frame(minute=pa.array(DATES, kind)))
    assert read(data).events["time"].to_pylist() == [0.0, 5.5, 0.0]


@pytest.mark.parametrize("zone", ["", "Z", "+02:00"])
def test_dates_in_csv_text_become_minutes(tmp_path: Path, zone: str) -> None:
    texts = [f"{date.isoformat(' ')}{zone}" for date in DATES]
    data = write(tmp_path, frame(minute=texts), "cohort.csv")
    assert read(data).events["time"].to_pylist() == [0.0, 5.5, 0.0]


def test_a_duration_is_minutes(tmp_path: Path) -> None:
    spans = pa.array([dt.timedelta(0), dt.timedelta(seconds=90), dt.timedelta(hours=1)])
    assert read(write(tmp_path, frame(minute=spans))).events["time"].to_pylist() == [0, 1.5, 60]


def test_a_table_without_values_is_presence_only(tmp_path: Path) -> None:
    assert read(write(tmp_path, frame(value=None))).events["value"].null_count == 3


def test_null_values_stay_null_and_nan_stays_nan(tmp_path: Path) -> None:
    value = read(write(tmp_path, frame(value=[None, float("nan"), 1.0]))).events["value"]
    assert value.null_count == 1
    assert np.isnan(value[1].as_py())


@pytest.mark.parametrize(
    "value",
    [
        pa.array([decimal.Decimal("70.0"), decimal.Decimal("120.0"), decimal.Decimal("80.0")]),
        pa.array([70, 120, 80], pa.int16()),
        pa.array([70, 120, 80], pa.float32()),
        pa.array([70.0, 120.0, 80.0]).dictionary_encode(),
    ],
    ids=["decimal", "small integers", "float32", "dictionary"],
)
def test_odd_number_types_are_cast(tmp_path: Path, value: pa.Array) -> None:
    assert events(read(write(tmp_path, frame(value=value)))) == PLAIN


@pytest.mark.parametrize(
    "ids", [pa.array([7, 7, 8]), pa.array([7.0, 7.0, 8.0]), pa.array(["7.0", "7", "8.00"])]
)
def test_number_ids_are_text_without_a_fraction(tmp_path: Path, ids: pa.Array) -> None:
    records = read(write(tmp_path, frame(subject_id=ids)))
    assert records.subjects["subject_id"].to_pylist() == ["7", "8"]


def test_rows_without_subject_time_or_code_are_counted(tmp_path: Path) -> None:
    table = pa.table(
        {
            "subject_id": ["1", None, " ", "1", "1", "1", "1"],
            "minute": [0.0, 1, 2, None, float("nan"), 5, 6],
            "code": ["HR", "HR", "HR", "HR", "HR", None, ""],
            "value": [1.0] * 7,
        }
    )
    records = read(write(tmp_path, table))
    assert records.drops == {
        "missing subject id": 1,
        "empty subject id": 1,
        "missing time": 2,
        "missing code": 1,
        "empty code": 1,
    }
    assert events(records) == [(0, 0.0, "HR", 1.0)]


def test_attributes_become_columns_and_events_at_the_first_time(tmp_path: Path) -> None:
    table = frame(age=[61, 61, None], sex=["F", None, "M"])
    records = read(write(tmp_path, table), map=("attribute:Age=age", "attribute:Sex=sex"))
    assert records.subjects["attribute.Age"].to_pylist() == [61.0, None]
    assert records.subjects["attribute.Sex"].to_pylist() == ["F", "M"]
    assert events(records) == [
        (0, 0.0, "Age", 61.0),
        (0, 0.0, "Sex=F", None),
        *PLAIN[:2],
        (1, 1.0, "Sex=M", None),
        PLAIN[2],
    ]


def test_groups_splits_and_sets_are_kept(tmp_path: Path) -> None:
    table = frame(group=["g", "g", "h"], split=["train", "train", "held_out"], set=[0, 1, 0])
    records = read(write(tmp_path, table))
    assert records.subjects["group_id"].to_pylist() == ["g", "h"]
    assert records.subjects["split"].to_pylist() == ["train", "test"]
    assert records.events["set"].to_pylist() == [0, 1, 0]


def test_labels_are_columns_or_a_file(tmp_path: Path) -> None:
    data = write(tmp_path, frame(died=[1, None, None]))
    source = open_source(data, SourceSettings(map=("label:death=died",)))
    expected = [{"subject_id": CANARY, "death": 1}, {"subject_id": "8", "death": None}]
    assert source.labels().table.to_pylist() == expected
    file = tmp_path / "labels.csv"
    file.write_text(f"subject_id,death\n{CANARY},1\n8,\n")
    assert open_source(data, SourceSettings(labels=file)).labels().table.to_pylist() == expected
    assert open_source(data, SourceSettings()).labels() is None


def test_texts_of_a_mapped_column_of_events_become_named_classes(tmp_path: Path) -> None:
    data = write(tmp_path, frame(went=["ward", None, "home"]))
    labels = open_source(data, SourceSettings(map=("label:to=went",))).labels()
    assert labels is not None
    assert labels.class_names == {"to": ("home", "ward")}
    expected = [{"subject_id": CANARY, "to": 1}, {"subject_id": "8", "to": 0}]
    assert labels.table.to_pylist() == expected


def test_labels_are_joined_on_the_id_column_of_the_events(tmp_path: Path) -> None:
    data = write(tmp_path, frame(subject_id=None, stay_id=[1, 1, 2]))
    file = tmp_path / "labels.csv"
    file.write_text("subject_id,stay_id,died\n2,1,0\n1,2,1\n")
    labels = open_source(data, SourceSettings(labels=file, map=("label:death=died",))).labels()
    assert labels is not None
    assert labels.table.to_pylist() == [
        {"subject_id": "1", "death": 0},
        {"subject_id": "2", "death": 1},
    ]


def test_ids_of_labels_and_events_match_whatever_their_spelling(tmp_path: Path) -> None:
    data = write(tmp_path, frame(subject_id=["200001.0", "200001.0", "8.0"]), "cohort.csv")
    file = tmp_path / "labels.csv"
    file.write_text("subject_id,death\n200001.0,1\n8,0\n")
    labels = open_source(data, SourceSettings(labels=file)).labels()
    assert labels is not None
    subjects = read(data).subjects["subject_id"].to_pylist()
    assert subjects == labels.table["subject_id"].to_pylist() == ["200001", "8"]


def test_attributes_of_csv_are_numbers_in_all_parts_or_in_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "ROWS_PER_PART", 1)
    table = frame(age=["61", "61", "NA"], unit=["7", "7", "west"])
    data = write(tmp_path, table, "cohort.csv")
    roles = ("attribute:age=age", "attribute:unit=unit")
    found = [part.read() for part in parts(data, map=roles)]
    rows = [row for records in found for row in records.subjects.to_pylist()]
    assert len(found) == 2
    assert [row["attribute.age"] for row in rows] == [61.0, None]
    assert [row["attribute.unit"] for row in rows] == ["7", "west"]


def test_attributes_are_events_at_the_first_time_that_is_not_negative(tmp_path: Path) -> None:
    records = read(
        write(tmp_path, frame(minute=[-30.0, 5.5, 1.0], age=[61, 61, 40])),
        map=("attribute:age=age",),
    )
    assert events(records) == [
        (0, -30.0, "HR", 70.0),
        (0, 5.5, "age", 61.0),
        PLAIN[1],
        (1, 1.0, "age", 40.0),
        PLAIN[2],
    ]


@pytest.mark.parametrize("name", ["cohort.parquet", "cohort.csv"])
def test_kinds_of_time_that_differ_between_parts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(table_module, "ROWS_PER_PART", 1)
    data = write(tmp_path, frame(minute=["0", "5.5", "2020-01-01"]), name)
    with pytest.raises(UsageError, match="'minute' is text, expected a number"):
        parts(data)


def test_a_code_named_na_survives_and_a_missing_number_does_not(tmp_path: Path) -> None:
    data = tmp_path / "cohort.csv"
    data.write_text("subject_id,minute,code,value\n7,0,NA,NA\n7,NA,HR,1\nNA,1,HR,1\n7,2,,1\n")
    records = read(data)
    assert events(records) == [(0, 0.0, "NA", None)]
    assert records.drops == {"missing subject id": 1, "missing time": 1, "missing code": 1}


def test_dates_of_csv_may_be_missing(tmp_path: Path) -> None:
    texts = ["2020-01-01 00:00Z", "NA", "2020-01-02 00:00Z"]
    records = read(write(tmp_path, frame(minute=texts), "cohort.csv"))
    assert records.events["time"].to_pylist() == [0.0, 0.0]


def test_a_table_without_values_is_warned_about(tmp_path: Path) -> None:
    assert read(write(tmp_path, frame())).warnings == ()
    (warning,) = read(write(tmp_path, frame(value=None, result=[1, 2, 3]))).warnings
    assert warning.endswith("every code is presence only; map it with --map value=COLUMN")


def test_a_patient_column_that_is_not_used_as_group_is_warned_about(tmp_path: Path) -> None:
    data = write(tmp_path, frame(stay_id=["1", "2", "3"]))
    (warning,) = read(data, map=("subject=stay_id",)).warnings
    assert "'subject_id' is not used" in warning
    assert warning.endswith("--map group=subject_id")
    assert read(data, map=("subject=stay_id", "group=subject_id")).warnings == ()
    assert read(data).warnings == ()


def many(folder: Path, order: str) -> tuple[Path, pa.Table]:
    """A table of 40 subjects with 50 rows each in small row groups over two files."""
    subject = np.repeat(np.arange(40), 50)
    if order == "scattered":
        subject = np.random.default_rng(0).permutation(subject)
    table = pa.table(
        {
            "subject_id": subject,
            "minute": np.arange(2000.0),
            "code": pa.array(["HR"] * 2000),
            "value": np.arange(2000.0),
        }
    )
    (folder / "t").mkdir()
    pq.write_table(table[:777], folder / "t" / "0.parquet", row_group_size=64)
    pq.write_table(table[777:], folder / "t" / "1.parquet", row_group_size=64)
    return folder / "t", table


@pytest.mark.parametrize("order", ["together", "scattered"])
def test_whole_subjects_are_read_in_parts_whatever_the_order_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(table_module, "ROWS_PER_PART", 300)
    data, table = many(tmp_path, order)
    found = parts(data)
    assert len(found) > 3
    assert isinstance(found[0].rows, tuple) == (order == "together")
    seen: dict[str, list[float]] = {}
    for part in found:
        records = part.read()
        names = records.subjects["subject_id"].to_pylist()
        assert not set(names) & set(seen)
        subject, value = (records.events[c].to_numpy() for c in ("subject", "value"))
        seen |= {name: value[subject == number].tolist() for number, name in enumerate(names)}
    expected = table.group_by("subject_id", use_threads=False).aggregate([("value", "list")])
    assert seen == {str(r["subject_id"]): r["value_list"] for r in expected.to_pylist()}


def bomb(folder: Path) -> Path:
    rows = 10_000_000
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["1"]))
    number = pa.array(np.zeros(rows, np.float32))
    table = pa.table({"subject_id": column, "minute": number, "code": column, "value": number})
    return write(folder, table, "bad.parquet")


def cut(folder: Path) -> Path:
    path = write(folder, frame(), "bad.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    return path


def flipped(folder: Path) -> Path:
    path = folder / "bad.parquet"
    pq.write_table(
        frame(), path, write_page_checksum=True, compression="none", use_dictionary=False
    )
    data = bytearray(path.read_bytes())
    data[data.index(np.float64(80).tobytes())] ^= 4
    path.write_bytes(bytes(data))
    return path


def raw(content: bytes, name: str = "bad.parquet") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def table_of(name: str = "bad.parquet", **columns: object) -> Callable[[Path], Path]:
    return lambda folder: write(folder, frame(**columns), name)


def special(make: Callable[[Path], object]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        make(folder / "bad.parquet")
        return folder / "bad.parquet"

    return build


def two_schemas(folder: Path) -> Path:
    write(folder, frame(), "0.parquet")
    write(folder, frame(value=[1, 2, 3]), "1.parquet")
    return folder


def two_zones(folder: Path) -> Path:
    write(folder, frame(minute=pa.array(DATES, pa.timestamp("us"))), "0.parquet")
    write(folder, frame(minute=pa.array(DATES, pa.timestamp("us", "UTC"))), "1.parquet")
    return folder


def damaged_text(folder: Path) -> Path:
    bad = pa.Array.from_buffers(
        pa.string(),
        3,
        [None, pa.py_buffer(np.int32([0, 1, 2, 3]).tobytes()), pa.py_buffer(b"a\xffb")],
    )
    return write(folder, frame(code=bad), "bad.parquet")


TWICE = pa.Table.from_arrays([*frame().columns, frame()["value"]], [*frame().column_names, "value"])
BIG = pa.array([2.0**60, 2.0**60, 1.0])
BAD = {
    "missing": (lambda folder: folder / "bad.parquet", "no such file or folder"),
    "an empty folder": (lambda folder: folder, "an empty folder"),
    "a loop of links": (special(lambda path: path.symlink_to(path)), "cannot be reached"),
    "a pipe": (special(os.mkfifo), "no regular file"),
    "zero bytes": (raw(b""), "0 bytes"),
    "cut short": (cut, "damaged or not Parquet"),
    "not Parquet": (raw(b"subject_id,minute\n1,2\n"), "damaged or not Parquet"),
    "encrypted": (raw(b"PAR1" + bytes(64) + b"\x40\0\0\0PARE"), "is encrypted"),
    "a picture": (raw(b"\x89PNG\r\n\x1a\n" + b"\0" * 99, "bad.csv"), r"bad\.csv"),
    "a flipped bit": (flipped, "damaged"),
    "no rows": (lambda folder: write(folder, frame()[:0], "bad.parquet"), "no rows"),
    "no rows in CSV": (lambda folder: write(folder, frame()[:0], "bad.csv"), "no rows"),
    "no time": (table_of(minute=None, minutos=[1, 2, 3]), "no column for the time.*'minutos'"),
    "text time": (table_of(minute=["a", "b", "c"]), "'minute' is text.*--map time=COLUMN"),
    "text value": (table_of(value=["a", "b", CANARY]), "'value' is text.*--map value=COLUMN"),
    "text value in CSV": (table_of("bad.csv", value=["a", "b", "c"]), "'value' is text"),
    "lists": (table_of(value=[[1.0], [2.0], [3.0]]), "lists or structures"),
    "large float ids": (table_of(subject_id=BIG), r"2\^53"),
    "large float32 ids": (table_of(subject_id=pa.array([2.0**24, 2, 3], pa.float32())), r"2\^24"),
    "large float16 ids": (
        table_of(subject_id=pa.array([np.float16(2048), np.float16(2), np.float16(3)])),
        r"2\^11",
    ),
    "prediction times": (
        table_of(prediction_time=[1.0, 1.0, 1.0]),
        "prediction times are not read from tables yet; cut .* drop the column",
    ),
    "fractional ids": (table_of(subject_id=[0.5, 1, 2]), "fractional"),
    "mixed kinds of time": (table_of("bad.csv", minute=["1.5", "2020-01-01", "3"]), "is text"),
    "mixed zones in CSV": (
        table_of("bad.csv", minute=["2020-01-01 00:00Z", "2020-01-01 00:01+02:00", "2020-01-02"]),
        "mixes time zones",
    ),
    "mixed zones over files": (two_zones, "'minute' differs"),
    "a date that does not exist": (
        table_of("bad.csv", minute=["2020-02-31 00:00"] * 3),
        "do not exist",
    ),
    "damaged text": (damaged_text, "UTF-8"),
    "bytes that are no text": (
        raw(b"subject_id,minute,code,value\n1,2,\xff\xfe,4\n", "bad.csv"),
        "UTF-8 text",
    ),
    "rows of two lengths": (raw(b"subject_id,minute,code\n1,2,HR\n1,2\n", "bad.csv"), "one length"),
    "a name twice": (lambda folder: write(folder, TWICE, "bad.parquet"), "'value' appears twice"),
    "a name twice in CSV": (raw(b"subject_id,minute,code,code\n1,2,a,b\n", "bad.csv"), "twice"),
    "two schemas": (two_schemas, "file 2 of the folder: column 'value' differs"),
    "a bomb": (bomb, "would unpack"),
    "two groups": (table_of(group_id=["a", "b", "c"]), "'group_id': differs within 1 subjects"),
    "an unknown split": (table_of(split=["a", "a", "b"]), "train, validation and test"),
    "a broken set": (table_of(set=[0.0, 0.5, 1.0]), "whole number"),
    "a time of day": (table_of(minute=[dt.time(1), dt.time(2), dt.time(3)]), "minutes or dates"),
}


@pytest.mark.parametrize(("make", "finding"), BAD.values(), ids=BAD.keys())
def test_a_bad_table_is_refused_in_one_line_without_an_id(
    tmp_path: Path, make: Callable[[Path], Path], finding: str
) -> None:
    with pytest.raises(UsageError, match=finding) as caught:
        read(make(tmp_path))
    message = str(caught.value).replace(str(tmp_path), "")
    assert CANARY not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("pairs", "finding"),
    [
        (("time",), "is not ROLE=COLUMN"),
        (("tiem=minute",), "unknown role 'tiem', nearest is 'time'"),
        (("label:=x",), "unknown role"),
        (("time=minute", "time=value"), "named twice"),
        (("time=minut",), "no column 'minut', nearest is 'minute'"),
    ],
)
def test_a_bad_mapping_is_refused(tmp_path: Path, pairs: tuple[str, ...], finding: str) -> None:
    with pytest.raises(UsageError, match=finding):
        read(write(tmp_path, frame()), map=pairs)


@pytest.mark.parametrize("died", [[1, 0, None], [0.5, None, None], ["yes", "no", None], [-1] * 3])
def test_labels_that_vary_or_are_no_classes_are_refused(tmp_path: Path, died: list[object]) -> None:
    source = open_source(
        write(tmp_path, frame(died=died)), SourceSettings(map=("label:death=died",))
    )
    with pytest.raises(UsageError, match="column 'died'"):
        source.labels()


@pytest.mark.parametrize("name", ["línea ñ 数据.parquet", "two\nlines.parquet", "x" * 240 + ".pq"])
def test_odd_file_names_work(tmp_path: Path, name: str) -> None:
    assert events(read(write(tmp_path, frame(), name))) == PLAIN


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be reached"):
        read(tmp_path / ("x" * 300 + ".parquet"))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_damaged_table_is_a_table_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = write(folder, frame(), data.draw(st.sampled_from(["a.parquet", "a.csv"])))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        for part in parts(path):
            records = part.read()
            records.events.to_pylist()
            records.subjects.to_pylist()
    except SetvaeError as error:
        assert "\n" not in str(error)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["a.parquet", "a.csv"]))
def test_any_bytes_are_a_table_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    try:
        for part in parts(path):
            part.read()
    except SetvaeError:
        pass


def test_retail_baskets_are_a_table(shared_data: Path) -> None:
    data = shared_data / "completejourney" / "transactions.parquet"
    roles = ("subject=household_id", "code=category", "value=quantity")
    records = read(data, map=roles)
    assert records.subjects.num_rows == 2374
    assert records.drops == {"missing code": 331}
    assert records.events.num_rows == 75_000 - 331
