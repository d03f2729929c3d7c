"""Files that cannot be used stop both commands in one line; rows that cannot be used are counted.

Numbers are those of the project's list of bad inputs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.bad_inputs import (
    FIRST_ID,
    SUBJECTS,
    VALUE,
    Factory,
    also_labels,
    changed,
    check_refusal,
    check_success,
    cut,
    events,
    flipped,
    labelled,
    outcomes,
    patients,
    precompute,
    raw,
    renamed,
    special,
    table,
    train,
    unlabelled,
    well_formed,
    with_rows,
)

NAN, INF = float("nan"), float("inf")
TEN = range(10)
IDS = [str(name) for name in events()["subject_id"]]
SPLIT = ["train"] * 80 + ["validation"] * 24 + ["test"] * 24
CODES = events()["variable"]
CUT_ARCHIVE = r"set-a\.tar\.gz: the archive is damaged, cut short or not a tar archive; fetch it .*"
DAMAGED = r"events\.parquet: is damaged or not Parquet; check how it was written"
NO_TABLE = r"events\.csv: is not a table of UTF-8 text with a header, .*; check how it was written"
SPECIAL = r"events\.parquet: is no regular file \(.*\); name a file on disk"
MANY = r"events\.parquet: 10 of 128 rows were dropped \({}\), more than 5 %; check how .*"


def nowhere(_: Path) -> list[str]:
    return ["nowhere.parquet"]


def with_death(values: list[Any], *options: str) -> Factory:
    return labelled(outcomes() | {"death": values + outcomes()["death"][len(values) :]}, *options)


def added(rows: dict[str, list[int]]) -> Factory:
    return labelled({name: column + rows[name] for name, column in outcomes().items()})


def by_split(**death: int | None) -> Factory:
    """Labels that alternate, but for the splits named."""
    labels = [death.get(name, row // 4 % 2) for row, name in enumerate(SPLIT)]
    return table(events(split=SPLIT, death=labels))


REFUSED: dict[str, tuple[Factory, str]] = {
    "1 missing": (nowhere, r"nowhere\.parquet: no such file or folder; check the path"),
    "2 folder": (special("folder"), r"events\.parquet: found an empty folder, .*; name .*"),
    "2 labels": (also_labels("folder"), r"events\.parquet: is a folder, .* \(labels\); name .*"),
    "4 loop": (special("loop"), r"events\.parquet: cannot be reached \(too many .*\); check .*"),
    "4 labels": (also_labels("loop"), r"events\.parquet: labels cannot be reached .*; check .*"),
    "5 fifo": (special("fifo"), SPECIAL),
    "5 device": (special("device"), SPECIAL),
    "5 labels": (also_labels("device"), SPECIAL),
    "6 parquet": (raw(b""), r"events\.parquet: is empty, 0 bytes \(.*\); check how it was made"),
    "6 csv": (raw(b"", "events.csv"), r"events\.csv: is empty, 0 bytes \(.*\); check how .*"),
    "6 tar": (raw(b"", "set-a.tar.gz"), r"set-a\.tar\.gz: is empty, 0 bytes \(.*\); check how .*"),
    "7 first tenth": (cut(0.1), DAMAGED),
    "7 all but the end": (cut(0.999), DAMAGED),
    "7 csv": (cut(0.555, "events.csv"), NO_TABLE),
    "7 tar": (cut(0.5, "set-a.tar.gz"), CUT_ARCHIVE),
    "7 tar, end": (cut(0.99, "set-a.tar.gz"), CUT_ARCHIVE),
    "8 csv as parquet": (raw(well_formed("events.csv")), DAMAGED),
    "8 png as parquet": (raw(b"\x89PNG\r\n\x1a\n" + bytes(99)), DAMAGED),
    "8 png as csv": (raw(b"\x89PNG\r\n\x1a\n" + bytes(99), "events.csv"), NO_TABLE),
    "8 zip as tar": (raw(b"PK\x03\x04" + bytes(99), "set-a.tar.gz"), CUT_ARCHIVE),
    "8 other type": (raw(b"x", "events.xlsx"), r"events\.xlsx: found a file of type '\.xlsx', .*"),
    "9 bit": (flipped, r"events\.parquet: a part of the file is damaged; write it again"),
    "10 parquet": (
        table({name: column[:0] for name, column in events().items()}),
        r"events\.parquet: holds no rows; check how it was written",
    ),
    "10 csv": (
        raw(b"subject_id,minute,variable,value\n", "events.csv"),
        r"events\.csv: holds no rows; check its content",
    ),
    "11 time": (
        table(renamed(minute="minuts")),
        r"events\.parquet: no column for the time .*, nearest is 'minuts'; map .*=COLUMN",
    ),
    "11 subject": (
        table(renamed(subject_id="subjct_id")),
        r"events\.parquet: no column for the subject .*, nearest is 'subjct_id'; map one with .*",
    ),
    "11 mapped": (
        table(events(), "--map", "time=minutt"),
        r"events\.parquet: no column 'minutt', nearest is 'minute'; correct --map ROLE=COLUMN",
    ),
    "12 value": (
        table(events(value=[*map(str, events()["value"][1:]), "high"])),
        r"events\.parquet: column 'value' is text, expected numbers; map .* --map value=COLUMN",
    ),
    "12 time": (
        table(events(minute=["soon"] * 128)),
        r"events\.parquet: column 'minute' is text, expected a number of minutes; map another .*",
    ),
    "15 many": (table(changed("value", dict.fromkeys(TEN, -INF))), MANY.format("infinite value")),
    "16 many": (table(changed("value", dict.fromkeys(TEN, 1e300))), MANY.format("value out of .*")),
    "17 many": (
        table(changed("subject_id", dict.fromkeys(TEN))), MANY.format("missing subject id"),
    ),
    "18 many": (
        table(events(subject_id=[" "] * 10 + IDS[10:])), MANY.format("empty subject id"),
    ),
    "31 group": (
        table(events(split=SPLIT, group_id=[FIRST_ID + row // 4 % 24 for row in range(128)])),
        r"events\.parquet: 8 groups \(patients\) stand in more than one split, .* leak; give .*",
    ),
    "31 rows": (
        table(events(split=["train", "test"] * 64)),
        r"events\.parquet: column 'split': differs within 32 subjects, .*; make it constant, .*",
    ),
    "31 files": (
        patients({"train": range(20), "valid": range(19, 26), "test": range(26, 32)}),
        r"data: 1 patients stand in more than one file or split; keep each in one split",
    ),
    "42 text": (with_death(["dead"] * SUBJECTS), r"oc\.csv: column 'death' is text, .*; name .*"),
    "42 fraction": (
        with_death([0.5]),
        r"oc\.csv: column 'death' holds a label that is not a class number \(.*\); name the .*",
    ),
    "42 id": (with_death([1234567]), r"oc\.csv: column 'death' holds a label that is .*; name .*"),
    "42 negative": (with_death([-2]), r"oc\.csv: column 'death' holds a label that is not a .*"),
    "45 file": (
        added({"ts_id": [FIRST_ID], "death": [0]}),
        r"oc\.csv: 1 rows give a second label for one subject and time; keep one row for each",
    ),
    "45 column": (
        table(changed("death", {0: 0})),
        r"events\.parquet: column 'death': differs within 1 subjects, .*; make it constant, .*",
    ),
    "48 given": (
        table(events(split=["train"] * 112 + ["validation"] * 16)),
        r"events\.parquet: the test split is empty; give more subjects, .* column of splits",
    ),
    "48 few": (
        table({name: column[:4] for name, column in events().items()}),
        r"events\.parquet: the validation split is empty; give more subjects, .*",
    ),
    "50 sum": (
        table(events(), "--split-fractions", "0.7,0.2,0.2"),
        r"--split-fractions: split_fractions 0.7,0.2,0.2 must be at least 0 and sum to 1",
    ),
    "50 negative": (
        table(events(), "--split-fractions", "1.2,-0.1,-0.1"),
        r"--split-fractions: split_fractions 1.2,-0.1,-0.1 must be at least 0 and sum to 1",
    ),
}  # fmt: skip
REFUSED_BY_TRAIN: dict[str, tuple[Factory, str]] = {
    "46 one class": (
        with_death([0] * SUBJECTS),
        r"events\.parquet: the label death has 1 class in training, .*; .* --pred-weight 0",
    ),
    "48 fractions": (
        table(events(), "--split-fractions", "1,0,0"),
        r"events\.parquet: the validation split has no subject; give --split-fractions .*",
    ),
}
COUNTED: dict[str, tuple[Factory, str]] = {
    "14 null": (table(changed("value", {4: None})), r"dropped 1 row: 1 empty value"),
    "14 NaN": (table(changed("value", {4: NAN})), r"dropped 1 row: 1 not a number"),
    "15 infinite": (table(changed("value", {4: INF, 9: -INF})), r"dropped 2 rows: 2 infinite .*"),
    "16 huge": (
        table(changed("value", {4: 1e300})), r"dropped 1 row: 1 value out of float32 range",
    ),
    "17 null id": (table(changed("subject_id", {4: None})), r"dropped 1 row: 1 missing subject id"),
    "18 empty id": (
        table(events(subject_id=[*IDS[:4], "", *IDS[5:]])), r"dropped 1 row: 1 empty subject id",
    ),
    "24 conflict": (
        table(with_rows(events(), (FIRST_ID, 0.0, "pulse", VALUE + 9, 1))),
        r"dropped 1 row: 1 conflicting duplicate, the last one kept",
    ),
    "27 code": (
        table(events(split=SPLIT, variable=[*CODES[:-1], "rare"])),
        r"warning: 1 codes never occur in training; models leave them out",
    ),
    "41 missing": (labelled(outcomes(30)), r"warning: 2 of 32 subjects have no label death; it .*"),
    "41 none": (unlabelled(), r"warning: no labels were given: prediction is off"),
    "43 NaN": (with_death([NAN]), r"warning: 1 of 32 subjects have no label death; it is masked"),
    "43 null": (with_death([None]), r"warning: 1 of 32 subjects have no label death; it is masked"),
    "44 unknown": (
        added({"ts_id": [FIRST_ID + 99], "death": [1]}),
        r"warning: 1 label of no subject of the data; left out",
    ),
    "51 constant": (
        table(
            events(value=[7.0 if name == "pulse" else VALUE + i for i, name in enumerate(CODES)])
        ),
        r"warning: 1 code with one value in training, divided by 1 \(pulse\)",
    ),
}  # fmt: skip
TRAINED: dict[str, tuple[Factory, str]] = {
    "27 code": (
        COUNTED["27 code"][0],
        r"warning: 1 of .* have codes never seen in training \(rare\); left out",
    ),
    "41 missing": COUNTED["41 missing"],
    "41 none": (unlabelled(), r"warning: no labels: prediction is off, and the loss chooses .*"),
    "41 none in training": (
        by_split(train=None), r"warning: no training subject has label death: it is not predicted",
    ),
    "46 not used": (
        with_death([0] * SUBJECTS, "--pred-weight", "0"),
        r"warning: --pred-weight 0: prediction is off, and the loss chooses the best checkpoint",
    ),
    "47 one class": (
        by_split(validation=0), r"warning: the label death has one class in validation: its .*",
    ),
    "47 no class": (
        by_split(validation=None), r"warning: the label death has no class in validation: its .*",
    ),
    "49 small split": (table(events(), "--batch-size", "30"), r"warning: a batch is larger .*"),
    "65 large batch": (
        table(events(), "--batch-size", "500"), r"warning: a batch is larger than .* of 23",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", [precompute, train])
@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_stops_the_command(
    here, tmp_path: Path, name: str, command: Callable[..., list[str]]
) -> None:
    factory, line = REFUSED[name]
    done = here(*command(*factory(tmp_path)))
    check_refusal(done, command.__name__, line, tmp_path)


@pytest.mark.parametrize("name", REFUSED_BY_TRAIN)
def test_a_good_store_that_cannot_be_trained_on_stops_training(here, tmp_path, name: str) -> None:
    factory, line = REFUSED_BY_TRAIN[name]
    check_refusal(here(*train(*factory(tmp_path))), "train", line, tmp_path)


def test_an_option_for_raw_input_is_refused_with_a_store(here, tmp_path: Path) -> None:
    here(*precompute(*table(events())(tmp_path)))
    done = here(*train("store", "--set-window", "60"))
    line = "--set-window: is for raw input, and store is prepared already; leave it out or prepare"
    assert (done.returncode, done.stderr) == (2, f"setvae train: error: {line} again\n")


def test_an_empty_file_of_a_patient_is_named_by_its_number_in_training(here, tmp_path) -> None:
    data = patients({"train": range(20), "valid": range(20, 26), "test": range(26, 32)})(tmp_path)
    (tmp_path / f"data/patient_ehr/train/{FIRST_ID}.0.parquet").write_bytes(b"")
    line = r"data/patient_ehr/train: file 1 of the folder: is empty, 0 bytes .*"
    check_refusal(here(*train(*data)), "train", line, tmp_path)
    assert here(*train(*data, "--skip-bad-files")).returncode == 0


@pytest.mark.parametrize("name", COUNTED)
def test_bad_rows_are_counted_in_the_summary_or_warned_of(here, tmp_path: Path, name: str) -> None:
    factory, line = COUNTED[name]
    done = here(*precompute(*factory(tmp_path)))
    check_success(done, line)
    assert tmp_path.joinpath("store/manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_training_goes_on_with_what_is_left(here, tmp_path: Path, name: str) -> None:
    factory, line = TRAINED[name]
    done = here(*train(*factory(tmp_path)))
    check_success(done, line)
    assert done.stdout.startswith("Result ")


def test_14_a_code_without_any_value_is_presence_only(here, tmp_path: Path) -> None:
    values = [None if name == "pulse" else VALUE + i for i, name in enumerate(CODES)]
    done = here(*precompute(*table(events(value=values))(tmp_path)), "--json")
    assert '"presence": 1' in done.stdout
    assert '"drops": {}' in done.stdout


def test_9_a_changed_store_is_found_by_verify(here, tmp_path: Path) -> None:
    assert here(*precompute(*table(events())(tmp_path)), "--quiet").returncode == 0
    shard = next(tmp_path.glob("store/shards/*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = here("precompute", "store", "--verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"setvae precompute: error: store/shards/\d+\.arrow: was changed .*; prepare .*\n",
        done.stderr,
    )


@pytest.mark.faults
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv to give up root's rights")
@pytest.mark.parametrize("named", ["events.parquet", "folder"])
def test_3_what_may_not_be_read_is_named(tmp_path: Path, named: str) -> None:
    table(events())(tmp_path)
    tmp_path.joinpath("folder").mkdir()
    tmp_path.joinpath(named).chmod(0)
    without_root = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    command = [sys.executable, "-m", "setvae_cli.cli.app", *precompute(named)]
    done = subprocess.run(
        [*without_root, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    tmp_path.joinpath(named).chmod(0o700)
    line = rf"{named}: .*\(permission denied\); (check the path|change its permissions)"
    check_refusal(done, "precompute", line, tmp_path)
