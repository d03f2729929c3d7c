"""The files of one long table: which columns they have, and their rows in batches.

The files of a folder are named by their place in the order of their names, which may be ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from setvae_cli.errors import DataError, InputError, SetvaeError
from setvae_cli.sources.tabular import (
    PARQUET,
    check_indices,
    check_rows,
    csv_columns,
    open_parquet,
    parquet_errors,
    stream_csv,
    stream_parquet,
    with_wide_indices,
)


@dataclass(frozen=True)
class Range:
    """Rows `start` to `stop` of one Parquet file, which errors call `where`."""

    path: Path
    start: int
    stop: int
    where: str

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Read these rows, touching only the row groups that hold them; text as dictionaries.

        Raises:
            InputError: A page is damaged.
            DataError: The file has become shorter.
        """
        with _called(self.path, self.where):
            return self._read(columns)

    def _read(self, columns: Sequence[str]) -> pa.Table:
        file = open_parquet(self.path, encoded=True)
        sizes = group_sizes(file)
        ends = np.cumsum(sizes)
        groups = np.flatnonzero((ends > self.start) & (ends - sizes < self.stop))
        if self.stop > sizes.sum():
            raise DataError(
                "was changed while it was read",
                where=str(self.path),
                mend="run again when nothing writes to it",
            )
        skipped = int(ends[groups[0]] - sizes[groups[0]])
        with parquet_errors(self.path):
            table = file.read_row_groups(groups.tolist(), columns=list(columns), use_threads=False)
            check_rows(table.num_rows, int(sizes[groups].sum()))
            check_indices(table)
        return with_wide_indices(table.slice(self.start - skipped, self.stop - self.start))


class LongTable:
    """One table in Parquet or CSV files of the same columns.

    Attributes:
        files: The files, in the order of their rows.
        parquet: Whether they are Parquet files; CSV files otherwise.
        columns: Type of each column; in CSV all are text.
    """

    def __init__(self, data: Path) -> None:
        self.files = table_files(data)
        if not self.files:
            raise InputError(
                "holds no .parquet or .csv file", where=str(data), mend="name another --data"
            )
        self.parquet = self.files[0].suffix.lower() in PARQUET
        self._names = _names(data, self.files)
        self.columns = _common_columns(self._names, self.parquet)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """Some columns of all rows in order, text as dictionaries.

        Args:
            columns: Which ones.
            rows: About how many rows a batch has.

        Raises:
            InputError: A file is damaged.
        """
        for path in self.files:
            stream = stream_parquet if self.parquet else stream_csv
            with _called(path, self._names[path]):
                yield from stream(path, columns, rows)

    def ranges(self, cuts: Sequence[int]) -> Iterator[tuple[Range, ...]]:
        """The rows between each two cuts as ranges of Parquet files."""
        sizes = [self._open(path).metadata.num_rows for path in self.files]
        ends = np.cumsum(sizes)
        for start, stop in pairwise(cuts):
            yield tuple(
                Range(
                    path,
                    max(0, start - int(end) + size),
                    min(size, stop - int(end) + size),
                    self._names[path],
                )
                for path, end, size in zip(self.files, ends, sizes, strict=True)
                if end > start and end - size < stop
            )

    def largest_group(self) -> int:
        """Rows of the largest row group of Parquet files, which is read as a whole."""
        return max(int(group_sizes(self._open(path)).max()) for path in self.files)

    def total(self) -> int | None:
        """Rows of Parquet files; unknown for CSV."""
        if not self.parquet:
            return None
        return sum(int(self._open(path).metadata.num_rows) for path in self.files)

    def _open(self, path: Path) -> pa.parquet.ParquetFile:
        with _called(path, self._names[path]):
            return open_parquet(path)


def table_files(data: Path) -> tuple[Path, ...]:
    """A file itself; or a folder's Parquet files, or else its CSV files, sorted by name."""
    if not data.is_dir():
        return (data,)
    for types in (PARQUET, (".csv", ".tsv")):
        for pattern in ("*", "*/*"):
            found = [path for path in data.glob(pattern) if path.suffix.lower() in types]
            if found:
                return tuple(sorted(found))
    return ()


def group_sizes(file: pa.parquet.ParquetFile) -> np.ndarray:
    """Rows of each row group."""
    groups = range(file.num_row_groups)
    return np.array([file.metadata.row_group(group).num_rows for group in groups])


def _names(data: Path, files: tuple[Path, ...]) -> dict[Path, str]:
    """What errors call each file: as the person named it, or its place in the folder named."""
    if files == (data,):
        return {data: str(data)}
    return {path: f"{data}: file {place} of the folder" for place, path in enumerate(files, 1)}


@contextmanager
def _called(path: Path, where: str) -> Iterator[None]:
    """Context in which errors about a file call it by another name."""
    try:
        yield
    except SetvaeError as error:
        if error.where != str(path) or where == str(path):
            raise
        raise type(error)(error.what, where=where, mend=error.mend) from None


def _common_columns(files: Mapping[Path, str], parquet: bool) -> dict[str, pa.DataType]:
    """Columns of the files, which must agree in name and, for Parquet, in type."""
    first: dict[str, pa.DataType] = {}
    for path, where in files.items():
        with _called(path, where):
            found = _schema(path) if parquet else dict.fromkeys(csv_columns(path), pa.string())
        if first and found != first:
            differing = sorted(set(first.items()) ^ set(found.items()), key=str)[0][0]
            raise InputError(
                f"column '{differing}' differs from that of the first",
                where=where,
                mend="write all files with one schema",
            )
        first = first or found
    return first


def _schema(path: Path) -> dict[str, pa.DataType]:
    schema = open_parquet(path).schema_arrow
    return dict(zip(schema.names, schema.types, strict=True))
