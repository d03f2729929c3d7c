"""Stays of PhysioNet 2012: what is read, what is dropped, what is refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setvae_cli.errors import InputError, SetvaeError
from setvae_cli.settings.prepare import SourceSettings
from setvae_cli.sources.physionet2012 import PhysioNet2012Source, StaysPart, outcomes_beside
from setvae_cli.sources.stays import MalformedStay, parse_stays

CANARY = "987654321"
STAY = (
    "Time,Parameter,Value\n00:00,RecordID,{record}\n00:00,Age,54\n00:00,Gender,0\n"
    "00:00,Height,-1\n00:00,ICUType,4\n00:07,HR,73\n01:30,MechVent,1\n47:59,Temp,36.6\n"
)


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"set-x/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def stay(record: object, more: str = "") -> bytes:
    return (STAY.format(record=record) + more).encode()


def source(data: Path, **options: object) -> PhysioNet2012Source:
    return PhysioNet2012Source(data, SourceSettings(**options))


def read_one(data: Path, **options: object):
    (part,) = source(data, **options).parts()
    return part.read()


def test_static_parameters_become_attributes_and_events_of_minute_zero(tmp_path: Path) -> None:
    records = read_one(archive(tmp_path / "a.tar.gz", {"7.txt": stay(7)}))
    assert records.subjects.to_pylist() == [
        {
            "subject_id": "7",
            "attribute.Age": 54.0,
            "attribute.Gender": 0.0,
            "attribute.Height": None,
            "attribute.ICUType": 4.0,
        }
    ]
    events = [tuple(row.values()) for row in records.events.to_pylist()]
    assert events == [
        (0, 0.0, "Age", 54.0),
        (0, 0.0, "Gender", 0.0),
        (0, 0.0, "ICUType", 4.0),
        (0, 7.0, "HR", 73.0),
        (0, 90.0, "MechVent", 1.0),
        (0, 2879.0, "Temp", 36.6),
    ]


def test_a_static_parameter_given_twice_has_its_last_value(tmp_path: Path) -> None:
    records = read_one(archive(tmp_path / "a.tar.gz", {"7.txt": stay(7, "00:00,Age,55\n")}))
    ages = [row["value"] for row in records.events.to_pylist() if row["code"] == "Age"]
    assert records.subjects["attribute.Age"].to_pylist() == ages[-1:] == [55.0]


def test_negative_empty_and_nameless_rows_are_counted_and_record_ids_are_not(
    tmp_path: Path,
) -> None:
    more = "02:00,Weight,-1\n02:00,,5\n02:01,,6\n02:02,HR,\n"
    records = read_one(archive(tmp_path / "a.tar.gz", {"7.txt": stay(7, more)}))
    assert records.drops == {
        "negative value (means missing)": 2,
        "empty parameter": 2,
        "empty value": 1,
    }
    assert "RecordID" not in records.events["code"].chunk(0).dictionary.to_pylist()


def test_a_folder_and_its_archive_give_the_same_records(tmp_path: Path) -> None:
    files = {f"{record}.txt": stay(record) for record in range(100, 110)}
    for name, content in files.items():
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    packed = read_one(archive(tmp_path / "a.tgz", files))
    loose = read_one(tmp_path / "set")
    assert packed.events.equals(loose.events)
    assert packed.subjects.equals(loose.subjects)


def test_windows_line_ends_blank_lines_and_a_missing_last_newline_change_nothing(
    tmp_path: Path,
) -> None:
    plain = stay(7)
    odd = b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n\r\n").rstrip()
    rows, same = parse_stays([plain]), parse_stays([odd])
    assert rows.names == same.names
    assert (rows.minutes == same.minutes).all()


def test_parts_have_a_fixed_size_and_travel_to_workers(tmp_path: Path) -> None:
    files = {f"{record}.txt": stay(record) for record in range(600)}
    parts = list(source(archive(tmp_path / "a.tar.gz", files)).parts())
    assert [len(part.stems) for part in parts] == [250, 250, 100]
    again = pickle.loads(pickle.dumps(parts[1])).read()
    assert again.subjects["subject_id"][0].as_py() == "250"


def test_a_stay_with_descriptors_only_keeps_its_place_among_the_subjects(tmp_path: Path) -> None:
    files = {"1.txt": stay(1), "2.txt": b"Time,Parameter,Value\n", "3.txt": stay(3)}
    records = read_one(archive(tmp_path / "a.tar.gz", files))
    assert records.subjects["subject_id"].to_pylist() == ["1", "2", "3"]
    assert set(records.events["subject"].to_pylist()) == {0, 2}


BAD_STAYS = {
    "empty": b"",
    "another header": b"Zeit,Name,Wert\n00:00,HR,1\n",
    "bad time": stay(1, "25h,HR,70\n"),
    "time of seconds": stay(1, "00:00:07,HR,70\n"),
    "text value": stay(1, "00:10,HR,high\n"),
    "four columns": stay(1, "00:10,HR,70,71\n"),
    "not UTF-8": stay(1) + b"00:10,H\xff\xfeR,70\n",
    "binary": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("content", BAD_STAYS.values(), ids=BAD_STAYS.keys())
def test_a_bad_stay_is_named_by_its_place_and_never_by_its_id(
    tmp_path: Path, content: bytes
) -> None:
    files = {"1.txt": stay(1), f"{CANARY}.txt": content, "3.txt": stay(3)}
    data = archive(tmp_path / "a.tar.gz", files)
    with pytest.raises(InputError, match=r"a\.tar\.gz: file 2 of the stays") as caught:
        read_one(data)
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)
    records = read_one(data, skip_bad_files=True)
    assert records.subjects["subject_id"].to_pylist() == ["1", "3"]
    assert records.drops["file that could not be read"] == 1


def test_a_record_that_stands_twice_is_refused(tmp_path: Path) -> None:
    data = archive(tmp_path / "a.tar.gz", {f"{CANARY}.txt": stay(1), f"b/{CANARY}.txt": stay(1)})
    with pytest.raises(InputError, match="two files hold the same record") as caught:
        list(source(data).parts())
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_an_archive_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    files = {f"{record}.txt": stay(record, "03:00,HR,70\n" * record) for record in range(300)}
    data = archive(tmp_path / "a.tar.gz", files)
    whole = data.read_bytes()
    data.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="damaged, cut short or not a tar"):
        list(source(data).parts())


def test_a_plain_archive_is_read_and_refused_when_cut_between_two_members(tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tar.gz", {f"{record}.txt": stay(record) for record in range(9)})
    plain = tmp_path / "a.tar"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    assert read_one(plain).subjects.num_rows == 9
    plain.write_bytes(plain.read_bytes()[:3072])
    with pytest.raises(InputError, match="cut short"):
        list(source(plain).parts())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"\x1f\x8b" + b"\0" * 40])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    data = tmp_path / "a.tar.gz"
    data.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tar\.gz"):
        list(source(data).parts())


def test_an_archive_without_stays_is_refused(tmp_path: Path) -> None:
    data = archive(tmp_path / "a.tar.gz", {"Outcomes-a.txt": b"RecordID,In-hospital_death\n1,0\n"})
    with pytest.raises(InputError, match=r"no <RecordID>\.txt"):
        list(source(data).parts())


def test_outcomes_are_found_beside_the_data_only_when_they_fit_its_name(tmp_path: Path) -> None:
    for name in ("Outcomes-a.txt", "Outcomes-b.txt", "outcomes.csv"):
        (tmp_path / name).write_text("RecordID,In-hospital_death\n1,0\n")
    found = {
        name: [path.name for path in outcomes_beside(tmp_path / name)]
        for name in ("set-a.tar.gz", "set-c-unlabelled.tar.gz", "small.tar.gz")
    }
    assert found == {
        "set-a.tar.gz": ["Outcomes-a.txt"],
        "set-c-unlabelled.tar.gz": [],
        "small.tar.gz": ["outcomes.csv"],
    }


def test_labels_found_beside_the_data_are_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "Outcomes-a.txt").write_text("RecordID,In-hospital_death\n1,1\n2,-1\n")
    labels = source(archive(tmp_path / "set-a.tar.gz", {"1.txt": stay(1)})).labels()
    assert labels is not None
    assert labels.table["in_hospital_mortality"].to_pylist() == [1, None]
    assert "Outcomes-a.txt" in caplog.text


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_stay_or_a_refusal(content: bytes) -> None:
    for text in (content, b"Time,Parameter,Value\n" + content):
        part = StaysPart("somewhere", 0, ("1",), (text,), False)
        with contextlib.suppress(SetvaeError):
            assert part.read().subjects.num_rows == 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_a_damaged_stay_is_a_stay_or_a_refusal(place: int, damage: bytes) -> None:
    text = stay(7)
    place %= len(text)
    try:
        rows = parse_stays([text[:place] + damage + text[place + len(damage) :]])
        assert len(rows.values) == rows.per_stay.sum()
    except MalformedStay:
        pass


def test_set_a_is_read_whole(shared_data: Path) -> None:
    data = shared_data / "physionet2012" / "set-a.tar.gz"
    drops, rows, stays = Counter[str](), 0, 0
    for part in source(data).parts():
        records = part.read()
        drops.update(records.drops)
        rows, stays = rows + records.events.num_rows, stays + records.subjects.num_rows
    assert (stays, rows) == (4000, 1_757_980 - 4000 - 2247)
    assert drops == {"negative value (means missing)": 2247}


def test_set_c_has_rows_without_a_parameter_and_no_outcomes(shared_data: Path) -> None:
    data = shared_data / "physionet2012" / "set-c-unlabelled.tar.gz"
    drops = Counter[str]()
    for part in source(data).parts():
        drops.update(part.read().drops)
    assert drops["empty parameter"] == 2403
    assert source(data).labels() is None


def test_outcomes_of_set_a_hold_554_deaths(shared_data: Path) -> None:
    folder = shared_data / "physionet2012"
    labels = source(folder / "set-a.tar.gz", labels=folder / "Outcomes-a.txt").labels()
    assert labels is not None
    assert sum(labels.table["in_hospital_mortality"].to_pylist()) == 554
    small = source(folder / "p12_small.tar.gz", labels=folder / "outcomes.csv").labels()
    assert small is not None
    assert sum(small.table["in_hospital_mortality"].to_pylist()) == 52
