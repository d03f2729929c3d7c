"""The table of rows: who each row is, its labels, its split, and where its events lie."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.files import atomic_write
from setvae_cli.numbers import counted
from setvae_cli.settings.prepare import StoreSettings
from setvae_cli.sources.records import Labels
from setvae_cli.store.format import ATTRIBUTE, LABEL, SPLITS
from setvae_cli.store.splits import assign_splits, check_splits, crossing_groups

_log = logging.getLogger(__name__)
Array = NDArray[Any]


def join_subjects(tables: Sequence[pa.Table]) -> pa.Table:
    """Subjects of all parts; an attribute that is text in one part is text in all.

    Raises:
        InputError: A subject stands twice (at the same prediction time).
    """
    names = sorted({name for table in tables for name in table.column_names})
    columns = {}
    for name in names:
        arrays = [table[name] for table in tables if name in table.column_names]
        kind = _kind(name, [array.type for array in arrays])
        chunks = [
            chunk
            for table in tables
            for chunk in (
                table[name].cast(kind).chunks
                if name in table.column_names
                else [pa.nulls(table.num_rows, kind)]
            )
        ]
        columns[name] = pa.chunked_array(chunks, kind)
    subjects = pa.table(columns)
    keys = _keys(subjects, timed="prediction_time" in names)
    repeated = len(keys) - len(pc.unique(keys))
    if repeated:
        raise InputError(
            f"{repeated} subjects stand in the input twice",
            mend="give each stay its own id, and all its events together",
        )
    return subjects


def join_labels(subjects: pa.Table, labels: Labels | None) -> dict[str, pa.Array]:
    """Labels of each subject, a column a task; null where there is none, which is said.

    Raises:
        InputError: Two labels for one subject (and prediction time).
    """
    given = [name for name in subjects.column_names if name.startswith(LABEL)]
    if labels is None and given:
        return _said({name.removeprefix(LABEL): subjects[name].combine_chunks() for name in given})
    if labels is None:
        _log.warning("no labels were given: prediction is off")
        return {}
    timed = "prediction_time" in labels.table.column_names
    if timed and "prediction_time" not in subjects.column_names:
        subjects = subjects.append_column("prediction_time", pa.nulls(len(subjects), pa.float64()))
    theirs, ours = _keys(labels.table, timed=timed), _keys(subjects, timed=timed)
    repeated = len(theirs) - len(pc.unique(theirs))
    if repeated:
        raise InputError(
            f"{counted(repeated, 'subject')} with more than one label", where=labels.where,
            mend="keep one label a subject and prediction time",
        )  # fmt: skip
    unknown = len(theirs) - pc.sum(pc.is_in(theirs, value_set=ours)).as_py() if len(theirs) else 0
    if unknown:
        _log.warning("%s of no subject of the data; left out", counted(unknown, "label"))
    place = pc.index_in(ours, value_set=theirs)
    tasks = [n for n in labels.table.column_names if n not in ("subject_id", "prediction_time")]
    return _said(
        {task: labels.table[task].cast(pa.int32()).take(place).combine_chunks() for task in tasks}
    )


def _said(labels: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """The same labels; how many subjects have none is said."""
    for task, column in labels.items():
        if column.null_count:
            _log.warning(
                "%d of %d subjects have no label %s; it is masked",
                column.null_count,
                len(column),
                task,
            )
    return labels


def build_rows(
    subjects: pa.Table,
    labels: dict[str, pa.Array],
    places: dict[str, Array],
    fingerprints: Array,
    settings: StoreSettings,
    leaked_to: Path | None = None,
) -> pa.Table:
    """The table of rows, in the order of the subjects.

    Args:
        subjects: Subjects with events.
        labels: A column a task.
        places: `shard`, `row_in_shard`, `n_sets` and `n_elements` of each subject.
        fingerprints: Hash of each subject's events.
        settings: Fractions and seed of the split, when the source gives none.
        leaked_to: File for the names of groups that cross splits; None: they are only counted.

    Raises:
        InputError: No subject is left, or the splits leak or are empty.
    """
    if not len(subjects):
        raise InputError(
            "no subject has an event that can be used", mend="check the input, its times and codes"
        )
    groups = pc.dictionary_encode(_groups(subjects))
    splits = _splits(subjects, groups, labels, settings)
    columns: dict[str, Any] = {
        "row": np.arange(len(subjects), dtype=np.int64),
        "subject_id": subjects["subject_id"].combine_chunks(),
        "group_id": groups.dictionary_decode(),
        "prediction_time": subjects["prediction_time"].combine_chunks()
        if "prediction_time" in subjects.column_names
        else pa.nulls(len(subjects), pa.float64()),
        "split": pa.array(SPLITS).take(pa.array(splits)),
    }
    columns |= {name: array.astype(np.int32) for name, array in places.items()}
    columns |= {LABEL + task: array for task, array in labels.items()}
    for name in subjects.column_names:
        if name.startswith(ATTRIBUTE):
            columns[name] = subjects[name].combine_chunks()
    wanted = SPLITS if _has_splits(subjects) else _positive(settings.split_fractions)
    numbers = groups.indices.to_numpy()
    leaked = crossing_groups(splits, numbers)
    if leaked_to is not None and len(leaked):
        names = groups.dictionary.take(pa.array(leaked)).to_pylist()
        atomic_write(leaked_to, "".join(f"{name}\n" for name in names))
        leaked_to.chmod(0o600)  # private also where other files are not
    check_splits(splits, numbers, fingerprints, wanted)
    return pa.table(columns)


def in_split(rows: pa.Table, name: str) -> NDArray[np.bool_]:
    """Which rows belong to a split."""
    return np.asarray(pc.equal(rows["split"], name).to_numpy())


def label_matrix(rows: pa.Table) -> NDArray[np.int64]:
    """Classes [rows, tasks], -1 where missing."""
    names = [name for name in rows.column_names if name.startswith(LABEL)]
    columns = [rows[name].fill_null(-1).to_numpy() for name in names]
    return np.stack(columns, axis=1).astype(np.int64) if columns else np.zeros((len(rows), 0), int)


def _kind(name: str, kinds: list[pa.DataType]) -> pa.DataType:
    if name == "prediction_time":
        return pa.float64()
    if name.startswith(LABEL):
        return pa.int32()
    numbers = all(pa.types.is_integer(k) or pa.types.is_floating(k) for k in kinds)
    return pa.float64() if name.startswith(ATTRIBUTE) and numbers else pa.string()


def _keys(table: pa.Table, *, timed: bool) -> pa.ChunkedArray:
    ids = table["subject_id"].cast(pa.string())
    if not timed:
        return ids
    times = table["prediction_time"].cast(pa.float64()).cast(pa.string()).fill_null("")
    return pc.binary_join_element_wise(ids, times, "\0")


def _groups(subjects: pa.Table) -> pa.StringArray:
    ids = subjects["subject_id"]
    if "group_id" in subjects.column_names:
        ids = pc.coalesce(subjects["group_id"], ids)
    merged = ids.combine_chunks()
    return merged.chunk(0) if isinstance(merged, pa.ChunkedArray) else merged


def _has_splits(subjects: pa.Table) -> bool:
    return "split" in subjects.column_names and subjects["split"].null_count < len(subjects)


def _splits(
    subjects: pa.Table,
    groups: pa.DictionaryArray,
    labels: dict[str, pa.Array],
    settings: StoreSettings,
) -> NDArray[np.int64]:
    """The place in SPLITS of each subject's split, given or drawn."""
    if _has_splits(subjects):
        given = subjects["split"]
        places = pc.index_in(given, value_set=pa.array(SPLITS))
        unknown = places.null_count
        if unknown:
            raise InputError(
                f"{unknown} subjects have a split other than {', '.join(SPLITS)}",
                mend="give every subject one of them, or none any",
            )
        return np.asarray(places.to_numpy().astype(np.int64))
    first = next(iter(labels.values()), None)
    classes = (
        np.zeros(len(subjects), dtype=np.int64)
        if first is None
        else first.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    return assign_splits(
        groups.dictionary.to_pylist(),
        groups.indices.to_numpy(),
        classes,
        fractions=settings.split_fractions,
        seed=settings.split_seed,
    )


def _positive(fractions: tuple[float, float, float]) -> tuple[str, ...]:
    return tuple(name for name, share in zip(SPLITS, fractions, strict=True) if share > 0)
