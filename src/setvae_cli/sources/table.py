"""Long tables: Parquet or CSV with one event a row, in one file or a folder of them.

A first pass over the ids finds where each subject's rows lie. Parts are ranges of rows where the
subjects of a Parquet table stand together; otherwise, and of CSV, a second pass brings the rows of
each part together on disk. The parts hold the subjects in the order of their first rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.sources.census import Census, take_census
from setvae_cli.sources.columns import WrongColumn, as_classes, as_ids, as_named_classes, encoded
from setvae_cli.sources.distinct import distinct_rows
from setvae_cli.sources.labels import check_labels, read_labels
from setvae_cli.sources.longtable import LongTable, Range
from setvae_cli.sources.options import SourceOptions
from setvae_cli.sources.partition import read_part, write_parts
from setvae_cli.sources.records import Kind, Labels, Records
from setvae_cli.sources.roles import Roles, parse_mapping, resolve
from setvae_cli.sources.rows import constant, read_role, rows_to_records
from setvae_cli.sources.textual import TextTypes

ROWS_PER_PART = 500_000
ROWS_AT_ONCE = 500_000
MOST_FILES = 500  # open at once; beyond this parts grow
LARGEST_GROUP = 2_000_000  # rows of a row group that ranges read as a whole, several times


@dataclass(frozen=True)
class RowsPart:
    """Rows of whole subjects: ranges of Parquet files, or a file put aside.

    Attributes:
        rows: Where they are.
        roles: Column of each role.
        where: The table, as the person wrote it.
        numbers: Columns of text that are numbers, in the whole table.
    """

    rows: tuple[Range, ...] | Path
    roles: Roles
    where: str
    numbers: frozenset[str] = frozenset()

    def read(self) -> Records:
        """Read and convert the rows.

        Raises:
            InputError: A column is not of its role's type, or a page is damaged.
        """
        if isinstance(self.rows, Path):
            rows = read_part(self.rows)
        else:
            columns = self.roles.events()
            if not self.rows:  # its footer names rows that no row group holds
                raise InputError(
                    "a part of the file is damaged", where=self.where, mend="write it again"
                )
            rows = pa.concat_tables([piece.read(columns) for piece in self.rows])
        return rows_to_records(rows, self.roles, self.where, numbers=self.numbers)


class TableSource:
    """Events in long tables whose columns are found by `--map` or by their usual names."""

    name = "table"

    def __init__(self, data: Path, settings: SourceOptions) -> None:
        self._where = str(data)
        self._table = LongTable(data)
        self._label_file = settings.labels
        self._mapping = parse_mapping(settings.map)
        self._roles = resolve(
            list(self._table.columns),
            self._mapping,
            self._where,
            labels_here=settings.labels is None,
        )

    def parts(self, scratch: Path) -> Iterator[RowsPart]:
        """Whole subjects, about half a million rows at a time.

        Args:
            scratch: Where the rows of subjects that do not stand together are brought together.

        Raises:
            InputError: A file is damaged, ids are no ids, or times are neither numbers nor dates
                of one time zone.
            RunError: The disk is full.
        """
        table = self._table
        types = TextTypes(self._roles, table.columns, self._where, attributes=not table.parquet)
        census = take_census(self._ids(types))
        found: Iterable[tuple[Range, ...] | Path]
        if table.parquet and census.together and table.largest_group() <= LARGEST_GROUP:
            found = table.ranges(census.cuts(ROWS_PER_PART).tolist())
        else:
            cuts = census.cuts(max(ROWS_PER_PART, census.rows // MOST_FILES))
            found = write_parts(self._numbered(census, cuts), len(cuts) - 1, scratch)
        for rows in found:
            yield RowsPart(rows, self._roles, self._where, types.numbers())

    def _ids(self, types: TextTypes) -> Iterator[pa.DictionaryArray]:
        """Ids of all rows, while the types of text columns are found."""
        columns = list(dict.fromkeys([self._roles.subject, *types.columns]))
        for batch in self._table.batches(columns, ROWS_AT_ONCE):
            types.look(batch)
            yield self._encoded_ids(batch)

    def _numbered(
        self, census: Census, cuts: NDArray[np.int64]
    ) -> Iterator[tuple[pa.Table, NDArray[np.uint16]]]:
        """All rows, and the part of each."""
        parts = census.parts(cuts)
        for batch in self._table.batches(self._roles.events(), ROWS_AT_ONCE):
            yield batch, parts[census.find(self._encoded_ids(batch))]

    def _encoded_ids(self, rows: pa.Table) -> pa.DictionaryArray:
        convert = partial(encoded, convert=as_ids)
        return read_role(convert, rows, self._roles.subject, "subject", self._where)

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
        names = list(dict.fromkeys([self._roles.subject, *self._roles.labels.values()]))
        types = pa.schema([(name, self._table.columns[name]) for name in names])
        self._outcomes(types.empty_table())  # refuses types whose values cannot be compared
        table = distinct_rows(self._table.batches(names, ROWS_AT_ONCE))
        outcomes, class_names = self._outcomes(table)
        return check_labels(outcomes, self._where, class_names)

    def _outcomes(self, table: pa.Table) -> tuple[pa.Table, dict[str, tuple[str, ...]]]:
        """Rows of ids and label columns as the classes of each subject, and names of classes."""
        ids = self._encoded_ids(table)
        ids = ids.dictionary.take(ids.indices)
        named = pc.not_equal(pc.utf8_trim_whitespace(ids), "").fill_null(False)
        table, ids = table.filter(named), ids.filter(named)
        numbered = ids.dictionary_encode()
        columns, names = {"subject_id": numbered.dictionary}, {}
        for task, column in self._roles.labels.items():
            place = f"{self._where}: column '{column}'"
            read = as_named_classes if task in self._mapping.labels else _numbered_classes
            try:
                classes, names[task] = read(table[column])
            except WrongColumn as error:
                mend = f"map another one with --map label:{task}=COLUMN"
                raise InputError(str(error), where=place, mend=mend) from error
            columns[task] = constant(classes, numbered.indices, len(numbered.dictionary), place)
        return pa.table(columns), names

    def kinds(self) -> Mapping[str, Kind]:
        """None: all follow from training values."""
        return {}

    def statistics(self) -> None:
        """None: statistics are fitted on training rows."""

    def embeddings(self) -> None:
        """None: codes are learned."""

    def files(self) -> tuple[str, ...]:
        """The tables, and the file of labels."""
        labels = [self._label_file] if self._label_file else []
        return tuple(str(path) for path in [*self._table.files, *labels])

    def total(self) -> tuple[int, str] | None:
        """Rows of Parquet files; unknown for CSV."""
        rows = self._table.total()
        return None if rows is None else (rows, "rows")


def _numbered_classes(column: pa.ChunkedArray) -> tuple[pa.Int32Array, tuple[str, ...]]:
    return as_classes(column), ()
