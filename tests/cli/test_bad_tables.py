"""Columns, cells and files of a table that cannot be used as they are.

Numbers are those of the project's list of bad inputs; test_bad_inputs.py has the others.
"""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.cli.bad_inputs import (
    FIRST_ID,
    VALUE,
    Columns,
    Factory,
    changed,
    check_refusal,
    check_success,
    events,
    outcomes,
    patients,
    precompute,
    raw,
    table,
    train,
    unlabelled,
    with_rows,
    write_parquet,
)

EVENTS = events()
CODES, MINUTES, VALUES = EVENTS["variable"], EVENTS["minute"], EVENTS["value"]
LAST = (FIRST_ID + 31, MINUTES[-1])
DATES = [dt.datetime(2020, 1, 1) + dt.timedelta(minutes=minute) for minute in MINUTES]
SPLITS = {"train": range(20), "valid": range(20, 26), "test": range(26, 32)}
MINUTES_DUE = r"events\.csv: column 'minute' is text, expected a number of minutes; map .*"
ZONES = r"events\.csv: column 'minute' mixes time zones, expected one; map .* --map time=COLUMN"
ALIKE = r"events\.parquet: the codes '.*' and '.*' differ only in case, .*; give them one name, .*"
LISTS = r"events\.parquet: column '{0}' holds lists .*; map another one with --map {1}=COLUMN"


def csv(content: Columns) -> Factory:
    """The columns as CSV."""

    def make(folder: Path) -> list[str]:
        pa.csv.write_csv(pa.table(content), folder / "events.csv")
        return ["events.csv"]

    return make


def with_column(name: str, column: pa.Array) -> pa.Table:
    """The well-formed table with a column of a type that Python has not."""
    whole = pa.table(EVENTS)
    return whole.set_column(whole.schema.get_field_index(name), name, column)


def in_two_files(first: pa.Table, second: pa.Table) -> Factory:
    """A folder of two files, whose names could be ids, each with half of a table."""

    def make(folder: Path) -> list[str]:
        write_parquet(folder / f"cohort/{FIRST_ID}.parquet", first.slice(0, 64))
        write_parquet(folder / f"cohort/{FIRST_ID + 1}.parquet", second.slice(64))
        return ["cohort"]

    return make


def bomb(folder: Path) -> list[str]:
    rows = 10_000_000
    word = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array(["1"]))
    number = pa.array(np.zeros(rows, np.float32))
    columns = {"subject_id": word, "minute": number, "code": word, "value": number}
    pq.write_table(pa.table(columns), folder / "events.parquet")
    return ["events.parquet"]


def twice(folder: Path) -> list[str]:
    whole = pa.table(EVENTS)
    doubled = pa.Table.from_arrays([*whole.columns, whole["value"]], [*EVENTS, "value"])
    return table(doubled)(folder)


def damaged_text(folder: Path) -> list[str]:
    ends, content = pa.py_buffer(np.arange(129, dtype=np.int32)), pa.py_buffer(b"a\xff" * 64)
    names = pa.Array.from_buffers(pa.string(), 128, [None, ends, content])
    return table(with_column("variable", names))(folder)


def labels(text: str) -> Factory:
    """The well-formed table, and a file of labels of this text."""

    def make(folder: Path) -> list[str]:
        folder.joinpath("oc.csv").write_text(text)
        return unlabelled("--labels", "oc.csv")(folder)

    return make


def with_an_empty_patient(folder: Path) -> list[str]:
    data = patients(SPLITS)(folder)
    nothing = pa.table(EVENTS).drop_columns(["subject_id", "death"]).slice(0, 0)
    write_parquet(folder / f"data/patient_ehr/train/{FIRST_ID + 40}.0.parquet", nothing)
    return data


REFUSED: dict[str, tuple[Factory, str]] = {
    "12 mixed kinds of time": (csv(events(minute=["1.5", "2020-01-01"] * 64)), MINUTES_DUE),
    "12 bytes": (
        table(events(value=[b"x"] * 128)),
        r"events\.parquet: column 'value' is binary, expected numbers; map another one with .*",
    ),
    "13 list": (table(events(value=[[x] for x in VALUES])), LISTS.format("value", "value")),
    "13 structure": (
        table(events(minute=[{"at": x} for x in MINUTES])), LISTS.format("minute", "time"),
    ),
    "19 large": (
        table(events(subject_id=[2.0**60 + row for row in range(128)])),
        r"events\.parquet: column 'subject_id' holds ids as floats from 2\^53 on, .*; map .*",
    ),
    "19 fractional": (
        table(events(subject_id=[FIRST_ID + 0.5] * 128)),
        r"events\.parquet: column 'subject_id' holds fractional numbers, expected ids; map .*",
    ),
    "19 flags": (
        table(events(subject_id=[True] * 128)),
        r"events\.parquet: column 'subject_id' is bool, expected ids .*; map another one with .*",
    ),
    "29 NUL": (
        table(events(variable=["pul\0se", *CODES[1:]])),
        r"events\.parquet: the code 'pul\\x00se' holds control or undecodable .*; clean the .*",
    ),
    "29 line break": (
        table(events(variable=["pul\nse", *CODES[1:]])),
        r"events\.parquet: the code 'pul\\nse' holds control or undecodable .*; clean the names .*",
    ),
    "29 Latin": (
        raw(b"subject_id,minute,code,value\n987654321,2,\xff\xfe,4\n", "events.csv"),
        r"events\.csv: is not a table of UTF-8 text with a header, .*; check how it was written",
    ),
    "29 Parquet": (
        damaged_text,
        r"events\.parquet: column 'variable' holds damaged text, expected UTF-8; map .*",
    ),
    "30 case": (table(events(variable=["PULSE", *CODES[1:]])), ALIKE),
    "30 space": (table(events(variable=["pulse ", *CODES[1:]])), ALIKE),
    "30 Unicode": (
        table(events(variable=["caf\u00e9", "cafe\u0301", *CODES[2:]])), ALIKE,
    ),
    "33 Parquet": (twice, r"events\.parquet: column 'value' appears twice; rename one"),
    "33 CSV": (
        raw(b"subject_id,minute,code,code\n987654321,2,a,b\n", "events.csv"),
        r"events\.csv: column 'code' appears twice; rename one",
    ),
    "35 files": (
        in_two_files(
            with_column("minute", pa.array(DATES, pa.timestamp("us"))),
            with_column("minute", pa.array(DATES, pa.timestamp("us", "UTC"))),
        ),
        r"cohort: file 2 of the folder: column 'minute' differs from that of the first; write .*",
    ),
    "35 cells": (
        csv(events(minute=["2020-01-01 00:00Z", "2020-01-01 00:30+02:00"] * 64)), ZONES,
    ),
    "36 type": (
        in_two_files(pa.table(EVENTS), with_column("value", pa.array(VALUES, pa.float32()))),
        r"cohort: file 2 of the folder: column 'value' differs from that of the first; write .*",
    ),
    "36 column": (
        in_two_files(pa.table(EVENTS), pa.table(EVENTS).drop_columns(["death"])),
        r"cohort: file 2 of the folder: column 'death' differs from that of the first; write .*",
    ),
    "37 bomb": (bomb, r"events\.parquet: would unpack to [\d,]+ MB from [\d,]+ kB; check .*"),
    "38 encrypted": (
        raw(b"PAR1" + bytes(64) + b"\x40\0\0\0PARE"),
        r"events\.parquet: is encrypted; decrypt it first",
    ),
    "40 long": (
        lambda _: [f"{'x' * 300}.parquet"],
        r"x{300}\.parquet: cannot be reached \(file name too long\); check the path",
    ),
    "40 NUL": (lambda _: ["a\0b.parquet"], r"a\0b\.parquet: cannot be reached .*; check the path"),
    "45 no column": (
        labels("ts_id\n987654321\n"), r"oc\.csv: holds no column of labels; add one, .*",
    ),
    "45 no subject": (
        labels("who,death\n987654321,0\n"),
        r"oc\.csv: no column names the subject .*; map it with --map subject=COLUMN",
    ),
}  # fmt: skip
COUNTED: dict[str, tuple[Factory, str]] = {
    "20 unsorted": (
        table({name: column[::-1] for name, column in EVENTS.items()}),
        r"warning: the rows of some subjects were not in time order and were sorted",
    ),
    "21 negative": (table(changed("minute", {4: -98765.4321})), r"dropped 1 row: 1 negative time"),
    "22 long": (table(changed("minute", {7: 6e6})), r"dropped 1 row: 1 over ten years"),
    "23 duplicate": (
        table(with_rows(EVENTS, (*LAST, "temperature", VALUES[-1], EVENTS["death"][-1]))),
        r"dropped 1 row: 1 exact duplicate",
    ),
    "26 no event": (with_an_empty_patient, r"dropped 1 row: 1 subject without events"),
    "32 two ids": (
        table(events(value=[VALUE + row % 4 for row in range(128)])),
        r"warning: \d+ subjects? with exactly the events of a subject in another split; .*",
    ),
}  # fmt: skip
USED: dict[str, Factory] = {
    "22 fractional": table(changed("minute", {5: 30.5})),
    "22 allowed": table(changed("minute", {7: 6e6}), "--allow-long"),
    "24 window": table(
        with_rows(EVENTS, (*LAST, "temperature", 1.0, EVENTS["death"][-1])),
        "--set-window", "60",
    ),
    "34 decimal": table(events(value=[decimal.Decimal(f"{value:.3f}") for value in VALUES])),
    "34 dictionary": table(with_column("variable", pa.array(CODES).dictionary_encode())),
    "34 half": table(with_column("minute", pa.array(np.float16(MINUTES)))),
    "35 one zone": table(with_column("minute", pa.array(DATES, pa.timestamp("us", "UTC")))),
}  # fmt: skip


@pytest.mark.parametrize("command", [precompute, train])
@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_table_stops_the_command(
    here, tmp_path: Path, name: str, command: Callable[..., list[str]]
) -> None:
    factory, line = REFUSED[name]
    done = here(*command(*factory(tmp_path)))
    check_refusal(done, command.__name__, line, tmp_path)


@pytest.mark.parametrize("name", COUNTED)
def test_rows_that_cannot_be_used_are_counted(here, tmp_path: Path, name: str) -> None:
    factory, line = COUNTED[name]
    check_success(here(*precompute(*factory(tmp_path))), line)


@pytest.mark.parametrize("name", USED)
def test_odd_tables_are_used_whole(here, tmp_path: Path, name: str) -> None:
    done = here(*precompute(*USED[name](tmp_path)), "--json")
    assert '"drops": {}' in done.stdout, done.stderr
    assert done.stderr.replace("\n", "").endswith("Next:  setvae train --data store")


def test_25_a_huge_set_is_said(here, tmp_path: Path) -> None:
    rows = 10_001 + 2 * 40
    content: dict[str, list[Any]] = {
        "subject_id": [FIRST_ID] * 10_001 + [FIRST_ID + 1 + row // 2 for row in range(80)],
        "minute": [0.0] * rows,
        "variable": [f"c{row % 10_001}" for row in range(rows)],
        "value": [1.0 + row for row in range(rows)],
        "split": ["train"] * 10_041 + ["validation"] * 20 + ["test"] * 20,
    }
    write_parquet(tmp_path / "events.parquet", content)
    line = r"warning: one set holds 10001 elements; check the times, or use --set-window"
    check_success(here(*precompute("events.parquet")), line)


@pytest.mark.parametrize("name", ["línea ñ 数据.parquet", "two\nlines.parquet", "x" * 240 + ".pq"])
def test_40_odd_names_work_and_never_break_a_line(here, tmp_path: Path, name: str) -> None:
    table(EVENTS)(tmp_path)
    tmp_path.joinpath("events.parquet").rename(tmp_path / name)
    assert here(*precompute(name)).returncode == 0
    tmp_path.joinpath(name).write_bytes(b"")
    done = here("precompute", name, "--out", "other", "--workers", "1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_39_a_table_that_changes_while_it_is_read_is_not_kept(
    here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from setvae_cli.store import precompute as module

    data, untouched = table(EVENTS)(tmp_path), module._write

    def write_into_it(*arguments: Any) -> None:
        untouched(*arguments)
        write_parquet(tmp_path / "events.parquet", events(value=[0.5] * 128))

    monkeypatch.setattr(module, "_write", write_into_it)
    done = here(*precompute(*data))
    line = r"events\.parquet: the input was changed while it was read; run again when .*"
    check_refusal(done, "precompute", line, tmp_path, code=1)


def test_41_labels_of_some_subjects_only_never_become_class_0(here, tmp_path: Path) -> None:
    few = outcomes(20)
    pa.csv.write_csv(pa.table(few), tmp_path / "oc.csv")
    done = here(*precompute(*unlabelled("--labels", "oc.csv")(tmp_path)))
    check_success(done, r"warning: 12 of 32 subjects have no label death; it is masked")
    rows = pq.read_table(tmp_path / "store/rows.parquet")
    assert rows["label.death"].null_count == 12
