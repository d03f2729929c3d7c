"""Inputs as hospitals deliver them on a bad day, one factory each, and what must hold after all.

Every factory writes into a folder and returns what stands behind the command: the data's path,
then options. Ids and values are canaries: none of them may ever be printed.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

SUBJECTS = 32
FIRST_ID, VALUE = 987654321, 1234.56789
CANARY = re.compile(r"98765\d{4}|1[23]\d\d\.567")
ONE_STEP = ["--preset", "tiny", "--max-steps", "1", "--max-epochs", "1", "--device", "cpu"]
COLUMNS = ("subject_id", "minute", "variable", "value", "death")

Columns = dict[str, list[Any]]
Factory = Callable[[Path], list[str]]


def events(**changes: Sequence[Any]) -> Columns:
    """A well-formed table of four events a subject, with columns put in its place.

    Args:
        changes: Columns that differ.
    """
    rows = range(4 * SUBJECTS)
    table: Columns = {
        "subject_id": [FIRST_ID + row // 4 for row in rows],
        "minute": [30.0 * (row % 4) for row in rows],
        "variable": ["temperature" if row % 2 else "pulse" for row in rows],
        "value": [VALUE + row for row in rows],
        "death": [int(row // 4 % 3 == 0) for row in rows],
    }
    return table | {name: list(column) for name, column in changes.items()}


def changed(column: str, changes: Mapping[int, Any]) -> Columns:
    """The table with some cells of a column replaced."""
    values = events()[column]
    for row, value in changes.items():
        values[row] = value
    return events(**{column: values})


def renamed(**names: str) -> Columns:
    """The table with some columns under other names."""
    return {names.get(name, name): column for name, column in events().items()}


def with_rows(table: Columns, *rows: tuple[Any, ...]) -> Columns:
    """The table with rows of COLUMNS added."""
    return {name: table[name] + [row[i] for row in rows] for i, name in enumerate(COLUMNS)}


def write_parquet(path: Path, table: Columns | pa.Table) -> Path:
    """Write a table with page checksums, uncompressed so that its bytes can be damaged at will."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = table if isinstance(table, pa.Table) else pa.table(table)
    pq.write_table(content, path, write_page_checksum=True, compression="none")
    return path


def table(content: Columns | pa.Table, *options: str) -> Factory:
    """A Parquet file of these columns, whose labels stand in the column `death`."""

    def make(folder: Path) -> list[str]:
        write_parquet(folder / "events.parquet", content)
        return ["events.parquet", "--map", "label:death=death", *options]

    return make


def unlabelled(*options: str) -> Factory:
    """The well-formed table without labels."""

    def make(folder: Path) -> list[str]:
        content = events()
        del content["death"]
        write_parquet(folder / "events.parquet", content)
        return ["events.parquet", *options]

    return make


def labelled(labels: Mapping[str, Sequence[Any]], *options: str) -> Factory:
    """The well-formed table, and a file of labels with these columns."""

    def make(folder: Path) -> list[str]:
        pyarrow.csv.write_csv(pa.table(dict(labels)), folder / "oc.csv")
        return unlabelled("--labels", "oc.csv", *options)(folder)

    return make


def outcomes(count: int = SUBJECTS) -> dict[str, list[Any]]:
    """Labels of the first subjects of the well-formed table."""
    ids = [FIRST_ID + i for i in range(count)]
    return {"ts_id": ids, "death": [int(i % 3 == 0) for i in range(count)]}


def raw(content: bytes, name: str = "events.parquet") -> Factory:
    """A file of these bytes."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return [name]

    return make


def cut(share: float, name: str = "events.parquet") -> Factory:
    """The first part of a well-formed file."""

    def make(folder: Path) -> list[str]:
        whole = well_formed(name)
        (folder / name).write_bytes(whole[: int(share * len(whole))])
        return [name]

    return make


def flipped(folder: Path) -> list[str]:
    """A well-formed Parquet file with one bit of a page turned over."""
    content = bytearray(well_formed("events.parquet"))
    content[content.index(b"temperature") + 3] ^= 1
    (folder / "events.parquet").write_bytes(content)
    return ["events.parquet"]


def well_formed(name: str) -> bytes:
    """The bytes of a good file of the type in the name."""
    buffer = io.BytesIO()
    if name.endswith(".parquet"):
        pq.write_table(pa.table(events()), buffer, write_page_checksum=True, compression="none")
    elif name.endswith(".csv"):
        pyarrow.csv.write_csv(pa.table(events()), buffer)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for i in range(SUBJECTS):
                add_stay(archive, FIRST_ID + i, f"00:30,HR,{VALUE}\n01:30,Temp,{VALUE + i}\n")
    return buffer.getvalue()


def add_stay(archive: tarfile.TarFile, record: int, rows: str) -> None:
    """Add a stay of PhysioNet 2012 to an archive."""
    content = f"Time,Parameter,Value\n00:00,RecordID,{record}\n{rows}".encode()
    member = tarfile.TarInfo(f"set-a/{record}.txt")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def special(kind: str) -> Factory:
    """A path at which there is no plain file."""

    def make(folder: Path) -> list[str]:
        path = folder / "events.parquet"
        match kind:
            case "loop":
                path.symlink_to("events.parquet")
            case "fifo":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
            case "device":
                path.symlink_to("/dev/zero")
        return ["events.parquet"]

    return make


def also_labels(kind: str) -> Factory:
    """A good table, and labels at a path where there is no plain file."""

    def make(folder: Path) -> list[str]:
        write_parquet(folder / "good.parquet", events())
        special(kind)(folder)
        return ["good.parquet", "--labels", "events.parquet"]

    return make


def patients(splits: Mapping[str, Sequence[int]]) -> Factory:
    """The layout of SeqSetVAE, with these subjects in each folder."""

    def make(folder: Path) -> list[str]:
        whole = pa.table(events()).drop_columns(["subject_id", "death"])
        for split, subjects in splits.items():
            for number in subjects:
                path = folder / f"data/patient_ehr/{split}/{FIRST_ID + number}.0.parquet"
                write_parquet(path, whole.slice(4 * number, 4))
        pyarrow.csv.write_csv(pa.table(outcomes()), folder / "data/oc.csv")
        return ["data"]

    return make


def left_behind(folder: Path) -> list[str]:
    """Whatever an unsuccessful command should not have left: stores, runs, temporaries."""
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*"))]
    whole = {path.parent for path in found if path.name == "manifest.json"}
    return [
        str(path)
        for path in found
        if path.name.startswith((".tmp-", "version_"))
        or path.parts[0] == "store"
        or (path.parent.name == ".cache" and path not in whole and path.suffix != ".json")
    ]


def precompute(data: str, *options: str) -> list[str]:
    return ["precompute", data, "--out", "store", "--workers", "1", *options]


def train(data: str, *options: str) -> list[str]:
    return ["train", "--data", data, *options, *ONE_STEP]


def check_refusal(done: Any, command: str, line: str, folder: Path, code: int = 2) -> None:
    """One line, the right code, no secret, and nothing left."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    said = [one for one in done.stderr.splitlines() if ": warning: " not in one]
    assert len(said) == 1, done.stderr
    assert re.fullmatch(f"setvae {command}: error: {line}", said[0]), said[0]
    assert "Traceback" not in done.stderr
    assert not CANARY.search(done.stderr)
    assert left_behind(folder) == []


def check_success(done: Any, line: str) -> None:
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert re.search(f"^(setvae [a-z]+: )?{line}$", said, re.MULTILINE), said
    assert "error" not in said
    assert "Traceback" not in said
    assert not CANARY.search(said)
