"""Long tables: Parquet or CSV with one event a row, in one file or a folder of them.

A Parquet table whose subjects each stand together is streamed by row ranges. Otherwise, and where
times are text, as in CSV, the needed columns are read once, get their types from all rows, and are
brought into the order in which subjects first appear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setvae_cli.errors import InputError
from setvae_cli.sources.columns import WrongColumn, as_classes, as_ids, is_text
from setvae_cli.sources.labels import check_labels, read_labels
from setvae_cli.sources.options import SourceOptions
from setvae_cli.sources.records import Kind, Labels, Records
from setvae_cli.sources.roles import Roles, parse_mapping, resolve
from setvae_cli.sources.rows import constant, rows_to_records, typed
from setvae_cli.sources.tabular import (
    PARQUET,
    csv_columns,
    open_parquet,
    parquet_errors,
    read_csv,
)

ROWS_PER_PART = 500_000


@dataclass(frozen=True)
class Range:
    """Rows `start` to `stop` of one Parquet file."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True)
class RowsPart:
    """Rows of whole subjects: in memory, or ranges of Parquet files."""

    rows: pa.Table | tuple[Range, ...]
    roles: Roles
    where: str

    def read(self) -> Records:
        """Read and convert the rows.

        Raises:
            InputError: A column is not of its role's type, or a page is damaged.
        """
        rows = self.rows
        if not isinstance(rows, pa.Table):
            columns = self.roles.events()
            rows = pa.concat_tables([read_range(piece, columns) for piece in rows])
        return rows_to_records(rows, self.roles, self.where)


class TableSource:
    """Events in long tables whose columns are found by `--map` or by their usual names."""

    name = "table"

    def __init__(self, data: Path, settings: SourceOptions) -> None:
        self._where = str(data)
        self._files = table_files(data)
        if not self._files:
            raise InputError("holds no .parquet or .csv file", where=self._where)
        self._parquet = self._files[0].suffix.lower() in PARQUET
        self._label_file = settings.labels
        self._mapping = parse_mapping(settings.map)
        self._roles = resolve(
            _common_columns(self._files, self._parquet),
            self._mapping,
            self._where,
            labels_here=settings.labels is None,
        )

    def parts(self) -> Iterator[RowsPart]:
        """Whole subjects, about half a million rows at a time.

        Raises:
            InputError: A file is damaged, or ids are no ids.
        """
        if self._parquet and not is_text(_schema(self._files[0])[self._roles.time]):
            cuts = self._cuts()
            if cuts is not None:
                for ranges in _ranges(self._files, cuts):
                    yield RowsPart(ranges, self._roles, self._where)
                return
        yield from self._gathered()

    def _cuts(self) -> list[int] | None:
        """Rows at which parts begin, if every subject's rows stand together; else None."""
        cuts, row, last = [0], 0, None
        seen: set[str | None] = set()
        size = ROWS_PER_PART
        for path in self._files:
            file = open_parquet(path)
            for group in range(file.num_row_groups):
                with parquet_errors(path):
                    column = file.read_row_group(group, columns=[self._roles.subject])
                size = max(size, column.num_rows)
                runs = pc.run_end_encode(_ids(column, self._roles.subject, self._where))
                ends = runs.run_ends.to_pylist()
                for identity, start in zip(runs.values.to_pylist(), [0, *ends], strict=False):
                    if identity == last and row + start > 0:
                        continue
                    if identity in seen:
                        return None
                    seen.add(identity)
                    last = identity
                    if row + start - cuts[-1] >= size:
                        cuts.append(row + start)
                row += column.num_rows
        return [*cuts, row]

    def _gathered(self) -> Iterator[RowsPart]:
        """All rows in memory, subjects in the order of their first row."""
        table = self._read(self._roles.events())
        table = typed(table, self._roles, self._where, attributes=not self._parquet)
        ids = _ids(table, self._roles.subject, self._where)
        subject = pc.fill_null(pc.dictionary_encode(ids).indices, 2**31 - 1).to_numpy()
        if np.any(np.diff(subject) < 0):
            order = np.argsort(subject, kind="stable")
            table, subject = table.take(pa.array(order)), subject[order]
        starts = np.flatnonzero(np.diff(subject, prepend=-1))
        cuts = [0]
        while len(subject) - cuts[-1] > ROWS_PER_PART:
            after = np.searchsorted(starts, cuts[-1] + ROWS_PER_PART)
            if after == len(starts):
                break
            cuts.append(int(starts[after]))
        for start, stop in zip(cuts, [*cuts[1:], len(subject)], strict=True):
            yield RowsPart(table.slice(start, stop - start), self._roles, self._where)

    def _read(self, columns: list[str]) -> pa.Table:
        if not self._parquet:
            return pa.concat_tables([read_csv(path, columns=columns) for path in self._files])
        tables = []
        for path in self._files:
            with parquet_errors(path):
                tables.append(open_parquet(path).read(columns=columns, use_threads=False))
        return pa.concat_tables(tables)

    def labels(self) -> Labels | None:
        """Labels of a file of their own, or of the table's label columns.

        Raises:
            InputError: A label is no class number, or varies within a subject.
        """
        if self._label_file is not None:
            return read_labels(
                self._label_file, subject=self._roles.subject, tasks=self._mapping.labels
            )
        if not self._roles.labels:
            return None
        names = [self._roles.subject, *self._roles.labels.values()]
        table = self._read(list(dict.fromkeys(names)))
        ids = _ids(table, self._roles.subject, self._where)
        named = pc.not_equal(pc.utf8_trim_whitespace(ids), "").fill_null(False)
        table, ids = table.filter(named), ids.filter(named)
        subjects = pc.unique(ids)
        number = pc.cast(pc.index_in(ids, subjects), pa.int32())
        columns = {"subject_id": subjects}
        for task, column in self._roles.labels.items():
            place = f"{self._where}: column '{column}'"
            try:
                classes = as_classes(table[column])
            except WrongColumn as error:
                raise InputError(str(error), where=place) from error
            columns[task] = constant(classes, number, len(subjects), place)
        return check_labels(pa.table(columns), self._where)

    def kinds(self) -> Mapping[str, Kind]:
        """None: all follow from training values."""
        return {}

    def statistics(self) -> None:
        """None: statistics are fitted on training rows."""

    def embeddings(self) -> None:
        """None: codes are learned."""

    def truth(self) -> None:
        """None: nobody knows."""

    def files(self) -> tuple[str, ...]:
        """The tables, and the file of labels."""
        labels = [self._label_file] if self._label_file else []
        return tuple(str(path) for path in [*self._files, *labels])

    def total(self) -> tuple[int, str] | None:
        """Rows of Parquet files; unknown for CSV."""
        if not self._parquet:
            return None
        return sum(open_parquet(path).metadata.num_rows for path in self._files), "rows"


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


def read_range(piece: Range, columns: list[str]) -> pa.Table:
    """Read some rows, touching only the row groups that hold them.

    Raises:
        InputError: A page is damaged.
    """
    file = open_parquet(piece.path)
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    ends = np.cumsum(sizes)
    groups = np.flatnonzero((ends > piece.start) & (ends - sizes < piece.stop))
    skipped = int(ends[groups[0]] - sizes[groups[0]])
    with parquet_errors(piece.path):
        table = file.read_row_groups(groups.tolist(), columns=columns, use_threads=False)
    return table.slice(piece.start - skipped, piece.stop - piece.start)


def _ids(table: pa.Table, column: str, where: str) -> pa.StringArray:
    try:
        return as_ids(table[column])
    except WrongColumn as error:
        raise InputError(
            f"column '{column}' {error}",
            where=where,
            mend="map another one with --map subject=COLUMN",
        ) from error


def _common_columns(files: tuple[Path, ...], parquet: bool) -> list[str]:
    """Columns of the files, which must agree in name and, for Parquet, in type."""
    first: dict[str, pa.DataType] = {}
    for path in files:
        found = _schema(path) if parquet else dict.fromkeys(csv_columns(path), pa.string())
        if first and found != first:
            differing = sorted(set(first.items()) ^ set(found.items()), key=str)[0][0]
            raise InputError(
                f"column '{differing}' differs from that of {files[0].name}",
                where=str(path),
                mend="write all files with one schema",
            )
        first = first or found
    return list(first)


def _schema(path: Path) -> dict[str, pa.DataType]:
    schema = open_parquet(path).schema_arrow
    return dict(zip(schema.names, schema.types, strict=True))


def _ranges(files: tuple[Path, ...], cuts: list[int]) -> Iterator[tuple[Range, ...]]:
    """Global row ranges as ranges of files."""
    sizes = [open_parquet(path).metadata.num_rows for path in files]
    ends = np.cumsum(sizes)
    for start, stop in pairwise(cuts):
        yield tuple(
            Range(path, max(0, start - int(end) + size), min(size, stop - int(end) + size))
            for path, end, size in zip(files, ends, sizes, strict=True)
            if end > start and end - size < stop
        )
