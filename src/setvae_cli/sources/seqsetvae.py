"""The layout of the original SeqSetVAE: one Parquet file a patient, split by folder.

    ROOT/patient_ehr/{train,valid,test}/<patient_id>.parquet   variable, value, minute [, set_index]
    ROOT/stats.csv      variable, mean, std
    ROOT/oc.csv         ts_id, in_hospital_mortality
    ROOT/cached.csv     Key, then the embedding numbers of that variable

File names are patient ids (`200001.0` and `200001` are the same), so that messages name a file by
its folder and position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from setvae_cli.errors import InputError
from setvae_cli.sources.columns import WrongColumn, as_numbers, as_text, plain
from setvae_cli.sources.labels import read_labels
from setvae_cli.sources.options import SourceOptions
from setvae_cli.sources.records import Kind, Labels, Records
from setvae_cli.sources.roles import Roles
from setvae_cli.sources.rows import rows_to_records
from setvae_cli.sources.tabular import (
    check_indices,
    check_rows,
    csv_columns,
    nearest,
    open_parquet,
    parquet_errors,
    read_csv,
)

FILES_PER_PART = 200
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
COLUMNS = ("variable", "value", "minute")
_ROLES = Roles("subject", "minute", "variable", "value")


@dataclass(frozen=True)
class PatientsPart:
    """Some patients of one split.

    Attributes:
        folder: Where they lie.
        split: Name of the split.
        first: Position of the first file in the folder, from 0.
        paths: One file a patient.
        skip_bad: Leave out and count files that cannot be used.
    """

    folder: str
    split: str
    first: int
    paths: tuple[Path, ...]
    skip_bad: bool

    def read(self) -> Records:
        """Read the patients, all at once where all are well.

        Raises:
            InputError: A file cannot be used, and bad files are not to be skipped.
        """
        tables: dict[str, pa.Table] = {}
        for index, path in enumerate(self.paths):
            with self._skipping(index):
                tables[patient_id(path)] = _patient(path)
        try:
            return self._records(tables)
        except (InputError, pa.ArrowException):
            for index, path in enumerate(self.paths):
                with self._skipping(index):
                    alone = {
                        name: tables.pop(name) for name in [patient_id(path)] if name in tables
                    }
                    self._records(alone)
                    tables |= alone
            return self._records(tables)

    @contextmanager
    def _skipping(self, index: int) -> Iterator[None]:
        """Leave out the file at `index` if it cannot be used, or say so without its name."""
        try:
            yield
        except InputError as error:
            if not self.skip_bad:
                raise InputError(
                    f"file {self.first + index + 1} of the folder: {error.what}",
                    where=self.folder,
                    mend="repair it, or leave such files out with --skip-bad-files",
                ) from None

    def _records(self, tables: Mapping[str, pa.Table]) -> Records:
        subjects = list(tables)
        filled = [table for table in tables.values() if table.num_rows]
        grouped = {"set_index" in table.column_names for table in filled}
        if len(grouped) > 1:
            raise InputError(
                "only some files have a column set_index",
                where=self.folder,
                mend="write it in all files, or in none",
            )
        roles = replace(_ROLES, set="set_index") if True in grouped else _ROLES
        rows = pa.concat_tables(filled or [_EMPTY], promote_options="permissive")
        number = np.repeat(np.arange(len(tables)), [table.num_rows for table in tables.values()])
        ids = pa.DictionaryArray.from_arrays(
            pa.array(number, pa.int32()), pa.array(subjects, pa.string())
        )
        rows = rows.append_column("subject", ids)
        records = rows_to_records(rows, roles, self.folder, subjects=subjects)
        split = pa.array([self.split] * len(subjects), pa.string())
        bad = len(self.paths) - len(tables)
        return replace(
            records,
            subjects=records.subjects.append_column("split", split),
            drops={**records.drops, **({"file that could not be read": bad} if bad else {})},
        )


class SeqSetVAESource:
    """Patients of the original's layout, whose parts may also be named singly."""

    name = "seqsetvae"

    def __init__(self, data: Path, settings: SourceOptions) -> None:
        self._data = data
        self._skip_bad = settings.skip_bad_files
        self._folders = split_folders(data)
        root = data.parent if data.name == "patient_ehr" else data
        self._labels = settings.labels or _existing(root / "oc.csv")
        self._statistics = settings.params_map_path or _existing(root / "stats.csv")
        self._embeddings = settings.embeddings_path or _existing(root / "cached.csv")

    def parts(self, scratch: Path | None = None) -> Iterator[PatientsPart]:
        """Groups of 200 patients of one split, sorted by file name.

        Raises:
            InputError: There are no patients, or one stands in two places.
        """
        patients = [path for paths in self._patients().values() for path in paths]
        if not patients:
            raise InputError(
                "no patient_ehr/{train,valid,test}/*.parquet",
                where=str(self._data),
                mend="name another --data",
            )
        several = len(patients) - len({patient_id(path) for path in patients})
        if several:
            raise InputError(
                f"{several:,} patients stand in more than one file or split",
                where=str(self._data),
                mend="keep each in one split",
            )
        for name, paths in self._patients().items():
            for first in range(0, len(paths), FILES_PER_PART):
                some = tuple(paths[first : first + FILES_PER_PART])
                folder = str(self._folders[name])
                yield PatientsPart(folder, SPLITS[name], first, some, self._skip_bad)

    def _patients(self) -> dict[str, list[Path]]:
        return {name: sorted(path.glob("*.parquet")) for name, path in self._folders.items()}

    def labels(self) -> Labels | None:
        """Outcomes of oc.csv."""
        return None if self._labels is None else read_labels(self._labels)

    def kinds(self) -> Mapping[str, Kind]:
        """None: all follow from training values."""
        return {}

    def statistics(self) -> Mapping[str, tuple[float, float]] | None:
        """Mean and standard deviation of each variable of stats.csv.

        Raises:
            InputError: A column or a number is missing, negative, or a variable stands twice.
        """
        return None if self._statistics is None else read_statistics(self._statistics)

    def embeddings(self) -> tuple[tuple[str, ...], np.ndarray] | None:
        """Names and vectors of cached.csv.

        Raises:
            InputError: A number is missing or not finite, all are zero, or a name stands twice.
        """
        return None if self._embeddings is None else read_embeddings(self._embeddings)

    def files(self) -> tuple[str, ...]:
        """Every patient's file, then outcomes, statistics and embeddings."""
        patients = [path for paths in self._patients().values() for path in paths]
        beside = (self._labels, self._statistics, self._embeddings)
        return tuple(str(path) for path in [*patients, *beside] if path is not None)

    def total(self) -> tuple[int, str]:
        """Patients to read."""
        return sum(len(paths) for paths in self._patients().values()), "patients"


def split_folders(data: Path) -> dict[str, Path]:
    """The folders of train, valid and test below ROOT or ROOT/patient_ehr; those that exist."""
    for root in (data / "patient_ehr", data):
        found = {name: root / name for name in SPLITS if (root / name).is_dir()}
        if "train" in found and any(any(path.glob("*.parquet")) for path in found.values()):
            return found
    return {}


def patient_id(path: Path) -> str:
    """The id in a file's name, without the `.0` of an id that once was a float."""
    return re.sub(r"^(\d+)\.0+$", r"\1", path.stem)


def read_statistics(path: Path) -> dict[str, tuple[float, float]]:
    """Read stats.csv.

    Raises:
        InputError: As SeqSetVAESource.statistics.
    """
    columns = ("variable", "mean", "std")
    _need(csv_columns(path), columns, path)
    table = read_csv(path, columns=columns, text=("variable",))
    names = _names(table["variable"], path)
    mean, std = (plain(table[name]).to_numpy(zero_copy_only=False) for name in ("mean", "std"))
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std >= 0).all()):
        raise InputError(
            "a mean or std is missing, not finite or negative",
            where=str(path),
            mend="correct it, or leave the file out so that they are fitted",
        )
    return dict(zip(names, zip(mean.tolist(), std.tolist(), strict=True), strict=True))


def read_embeddings(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Read cached.csv: names, and float32 [codes, width].

    Raises:
        InputError: As SeqSetVAESource.embeddings.
    """
    _need(csv_columns(path), ("Key",), path)
    table = read_csv(path, text=("Key",))
    names = _names(table["Key"], path)
    numbers = [plain(table[name]) for name in table.column_names if name != "Key"]
    if not numbers:
        raise InputError(
            "holds no numbers beside the column Key", where=str(path), mend="add an embedding a row"
        )
    rows = np.stack([column.to_numpy(zero_copy_only=False) for column in numbers], axis=1)
    vectors = rows.astype(np.float32)
    if not np.isfinite(vectors).all() or not vectors.any():
        raise InputError(
            "an embedding is missing or not finite, or all are 0",
            where=str(path),
            mend="embed these codes again",
        )
    return names, vectors


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _need(found: Sequence[str], columns: Sequence[str], path: Path) -> None:
    for name in columns:
        if name not in found:
            close = nearest(name, found)
            hint = f", nearest is '{close}'" if close else ""
            raise InputError(f"no column '{name}'{hint}", where=str(path), mend="rename it")


def _names(column: pa.ChunkedArray, path: Path) -> tuple[str, ...]:
    names = column.to_pylist()
    if None in names or "" in names or len(set(names)) < len(names):
        raise InputError(
            "a name is missing or stands twice", where=str(path), mend="give every row its own name"
        )
    return tuple(names)


def _patient(path: Path) -> pa.Table:
    """One patient's rows, of the same types for every patient."""
    file = open_parquet(path, may_be_empty=True)
    columns = [name for name in (*COLUMNS, "set_index") if name in file.schema_arrow.names]
    with parquet_errors(path):
        table = file.read(columns=columns, use_threads=False)
        check_rows(table.num_rows, file.metadata.num_rows)
        check_indices(table)
    _need(file.schema_arrow.names, COLUMNS, path)
    converted = {}
    for name in columns:
        try:
            converted[name] = (as_text if name == "variable" else as_numbers)(table[name])
        except WrongColumn as error:
            raise InputError(
                f"column '{name}' {error}", where=str(path), mend="correct the file"
            ) from error
    return pa.table(converted)


_EMPTY = pa.table(
    {
        "variable": pa.array([], pa.string()),
        "value": pa.array([], pa.float64()),
        "minute": pa.array([], pa.float64()),
    }
)
