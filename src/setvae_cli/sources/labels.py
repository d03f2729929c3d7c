"""Files of outcomes: one row a subject, one column a task.

Recognised: Outcomes-a.txt of PhysioNet 2012 (RecordID, ..., In-hospital_death), oc.csv of SeqSetVAE
(ts_id, in_hospital_mortality), and any table with an id column and class numbers. A column that is
mapped may hold texts, which become classes in their sorted order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from setvae_cli.errors import InputError
from setvae_cli.sources.columns import WrongColumn, as_classes, as_ids, as_named_classes
from setvae_cli.sources.records import Labels
from setvae_cli.sources.tabular import check_no_prediction_time, nearest, read_table

IDS = ("subject_id", "RecordID", "ts_id", "patient_id", "stay_id", "icustay_id", "id")
TASK = "in_hospital_mortality"
FEW_TEXTS = 10  # classes that also a small cohort can have
_CHALLENGE = "In-hospital_death"  # -1 where unknown


def read_labels(
    path: Path, *, subject: str | None = None, tasks: Mapping[str, str] | None = None
) -> Labels:
    """Read and check a file of outcomes.

    Args:
        path: CSV or Parquet.
        subject: Its id column if it has that one; default: the first of the usual names.
        tasks: Column of each task; default: every other column.

    Raises:
        InputError: A column is missing or no class number (or, mapped, too many texts), a subject
            has two labels, or there are prediction times.
    """
    table = read_table(path)
    check_no_prediction_time(table.column_names, str(path))
    mapped = subject is not None and subject in table.column_names
    identity = subject if subject and mapped else _identity(table, path)
    columns = {"subject_id": as_subject_ids(table, identity, path)}
    names = {}
    for task, column in (tasks or _tasks(table, identity)).items():
        columns[task], names[task] = _classes(table, column, path, mapped=bool(tasks))
    if not set(columns) - {"subject_id"}:
        raise InputError(
            "holds no column of labels", where=str(path), mend="add one, or leave the file out"
        )
    return check_labels(pa.table(columns), str(path), names)


def check_labels(
    table: pa.Table, where: str, class_names: Mapping[str, tuple[str, ...]] | None = None
) -> Labels:
    """Drop rows without a subject, and refuse two rows for one subject.

    Args:
        table: As in `Labels`.
        where: The file, as the person wrote it.
        class_names: Names of each task's classes; empty where numbers were given.

    Raises:
        InputError: Some subject has two rows, or a label's texts are no classes.
    """
    named = pc.and_(pc.is_valid(table["subject_id"]), pc.not_equal(table["subject_id"], ""))
    table = table.filter(named)
    several = table.num_rows - pc.count_distinct(table["subject_id"]).as_py()
    if several:
        raise InputError(
            f"{several:,} rows give a second label for one subject and time",
            where=where,
            mend="keep one row for each",
        )
    named_classes = {task: names for task, names in (class_names or {}).items() if names}
    for task, names in named_classes.items():
        _check_repeat(task, len(names), table.num_rows - table[task].null_count, where)
    return Labels(table, where, named_classes)


def _check_repeat(task: str, texts: int, subjects: int, where: str) -> None:
    """Refuse texts that few subjects share: ids or notes, which names of classes would show."""
    if texts > FEW_TEXTS and 2 * texts > subjects:
        raise InputError(
            f"the label {task} has {texts} texts for {subjects:,} subjects, expected names of "
            "classes",
            where=where,
            mend="map a column whose texts repeat",
        )


def as_subject_ids(table: pa.Table, name: str, path: Path) -> pa.StringArray:
    """Ids of a file of outcomes; `200001.0` and `200001` are the same."""
    try:
        return as_ids(table[name])
    except WrongColumn as error:
        raise InputError(
            f"column '{name}' {error}",
            where=str(path),
            mend="map another with --map subject=COLUMN",
        ) from error


def _identity(table: pa.Table, path: Path) -> str:
    for name in IDS:
        if name in table.column_names:
            return name
    close = next((found for name in IDS if (found := nearest(name, table.column_names))), None)
    hint = f", nearest is '{close}'" if close else ""
    raise InputError(
        f"no column names the subject ({', '.join(IDS[:4])}, ...){hint}",
        where=str(path),
        mend="map it with --map subject=COLUMN",
    )


def _tasks(table: pa.Table, identity: str) -> dict[str, str]:
    if _CHALLENGE in table.column_names:
        return {TASK: _CHALLENGE}
    others = [name for name in table.column_names if name.strip() and name != identity]
    return {name.removeprefix("label.").removeprefix("label:"): name for name in others}


def _classes(
    table: pa.Table, name: str, path: Path, *, mapped: bool
) -> tuple[pa.Int32Array, tuple[str, ...]]:
    """Classes of a column and their names, which only texts have."""
    if name not in table.column_names:
        close = nearest(name, table.column_names)
        hint = f", nearest is '{close}'" if close else ""
        raise InputError(
            f"no column '{name}'{hint}", where=str(path), mend="correct --map label:NAME=COLUMN"
        )
    try:
        if mapped and name != _CHALLENGE:
            return as_named_classes(table[name])
        return as_classes(table[name], unknown=-1 if name == _CHALLENGE else None), ()
    except WrongColumn as error:
        raise InputError(
            f"column '{name}' {error}",
            where=str(path),
            mend="name the columns of labels with --map label:NAME=COLUMN",
        ) from error
