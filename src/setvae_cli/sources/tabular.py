"""Parquet and CSV files opened with care: refused in one line, or an Arrow table of the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from setvae_cli.errors import InputError
from setvae_cli.files import check_regular
from setvae_cli.sources.columns import MISSING, is_text

PARQUET = (".parquet", ".pq")
TEXT = (".csv", ".txt", ".tsv")
BOMB_BYTES = 256 << 20  # decoded size from which a suspicious ratio is looked at
BOMB_RATIO = 400  # decoded bytes for a stored one; clinical tables stay under 60
_BLOCK_BYTES = 4 << 20  # of CSV text, parsed at once; Arrow reads 32 of them ahead


def open_parquet(
    path: Path, *, may_be_empty: bool = False, encoded: bool = False
) -> pq.ParquetFile:
    """Open a Parquet file and check its footer: columns told apart, honest size, some rows.

    Args:
        path: The file.
        may_be_empty: Whether a file without rows will do.
        encoded: Read text as dictionaries.

    Raises:
        InputError: It is missing, damaged, encrypted, no Parquet, empty, or a decompression bomb.
    """
    check_regular(path, "Parquet file")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        names = file.schema_arrow.names
        text = [field.name for field in file.schema_arrow if is_text(field.type)]
        if encoded and text:
            file = pq.ParquetFile(
                path,
                metadata=file.metadata,
                read_dictionary=text,
                page_checksum_verification=True,
            )
    except (pa.ArrowException, OSError, ValueError) as error:
        encrypted = "encrypt" in str(error).lower()
        raise InputError(
            "is encrypted" if encrypted else "is damaged or not Parquet",
            where=str(path),
            mend="decrypt it first" if encrypted else "check how it was written",
        ) from error
    _check_names(names, path)
    if not may_be_empty and (file.metadata.num_rows == 0 or not names):
        raise InputError("holds no rows", where=str(path), mend="check how it was written")
    _check_size(file, path)
    return file


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read some columns, or all, of a Parquet file.

    Raises:
        InputError: As `open_parquet`, or a page is damaged.
    """
    file = open_parquet(path)
    with parquet_errors(path):
        table = file.read(columns=None if columns is None else list(columns), use_threads=False)
        check_rows(table.num_rows, file.metadata.num_rows)
        check_indices(table)
    return with_wide_indices(table)


def stream_parquet(path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Some columns of a Parquet file, text as dictionaries, at most so many rows at a time.

    Raises:
        InputError: As `read_parquet`.
    """
    file, read = open_parquet(path, encoded=True), 0
    with parquet_errors(path):
        for groups in _runs_of_groups(file, rows):
            batches = file.iter_batches(rows, groups, columns=list(columns), use_threads=False)
            for table in map(pa.table, batches):
                check_indices(table)
                read += table.num_rows
                yield with_wide_indices(table)
        check_rows(read, file.metadata.num_rows)


def check_rows(read: int, promised: int) -> None:
    """Make sure that a file held the rows that its footer promised.

    Raises:
        pyarrow.ArrowInvalid: It did not.
    """
    if read != promised:
        raise pa.ArrowInvalid("rows are missing")


def check_indices(table: pa.Table) -> None:
    """Make sure that text read as dictionaries stays inside them; a page without checksum may lie.

    Raises:
        pyarrow.ArrowInvalid: It does not.
    """
    for column in table.columns:
        for chunk in column.chunks if pa.types.is_dictionary(column.type) else ():
            least, most = pc.min_max(chunk.indices).as_py().values()
            if most is not None and not 0 <= least <= most < len(chunk.dictionary):
                raise pa.ArrowInvalid("an index is out of bounds")


def with_wide_indices(table: pa.Table) -> pa.Table:
    """The table with dictionary indices of 32 bits, so that pieces of it fit one dictionary.

    A category of pandas has 8 bits, and each of several files may bring 128 values of its own.
    """
    for place, (name, kind) in enumerate(zip(table.schema.names, table.schema.types, strict=True)):
        if pa.types.is_dictionary(kind) and kind.index_type.bit_width < 32:
            chunks = [
                pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), chunk.dictionary)
                for chunk in table.column(place).chunks
            ]
            wide = pa.dictionary(pa.int32(), kind.value_type)
            table = table.set_column(place, name, pa.chunked_array(chunks, wide))
    return table


def _runs_of_groups(file: pq.ParquetFile, rows: int) -> Iterator[list[int]]:
    """Row groups, as many as hold so many rows; over all, `iter_batches` keeps what it read."""
    run: list[int] = []
    held = 0
    for group in range(file.num_row_groups):
        run.append(group)
        held += file.metadata.row_group(group).num_rows
        if held >= rows or group == file.num_row_groups - 1:
            yield run
            run, held = [], 0


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Context in which a damaged page becomes an InputError; Arrow's own text may quote data."""
    try:
        yield
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            "a part of the file is damaged", where=str(path), mend="write it again"
        ) from error


def read_csv(
    path: Path, *, columns: Sequence[str] | None = None, text: Sequence[str] | None = None
) -> pa.Table:
    """Read a CSV file (or one with tabs, or semicolons), empty cells as null.

    A text `NA` stays as it is, since it may be a code; numbers are null there.

    Args:
        path: The file.
        columns: Columns to read; default: all.
        text: Columns to read as text, where an empty cell is an empty text, the others being
            numbers; default: all are text.

    Raises:
        InputError: It is missing, empty, not UTF-8 text, or its rows differ in length.
    """
    parse = _parsing(path)
    names = csv_columns(path)
    kinds = {name: pa.string() if text is None or name in text else pa.float64() for name in names}
    convert = pa.csv.ConvertOptions(
        column_types=kinds,
        include_columns=None if columns is None else list(columns),
        strings_can_be_null=text is None,
        null_values=[""] if text is None else ["", *MISSING],
    )
    with _csv_errors(path):
        return pa.csv.read_csv(path, pa.csv.ReadOptions(use_threads=False), parse, convert)


def stream_csv(path: Path, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Some columns of a CSV file as dictionaries of text, about so many rows at a time.

    Empty cells are null.

    Raises:
        InputError: As `read_csv`.
    """
    text = pa.dictionary(pa.int32(), pa.string())
    convert = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(csv_columns(path), text),
        include_columns=list(columns),
        strings_can_be_null=True,
        null_values=[""],
    )
    options = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
    with _csv_errors(path), pa.csv.open_csv(path, options, _parsing(path), convert) as reader:
        blocks: list[pa.RecordBatch] = []
        for block in reader:
            blocks.append(block)
            if sum(len(each) for each in blocks) >= rows:
                yield pa.Table.from_batches(blocks).unify_dictionaries()
                blocks = []
        if blocks:
            yield pa.Table.from_batches(blocks).unify_dictionaries()


def csv_columns(path: Path) -> list[str]:
    """Columns of a CSV file, from its first rows.

    Raises:
        InputError: As `read_csv`, or a column appears twice, or there is no row.
    """
    with _csv_errors(path), pa.csv.open_csv(path, parse_options=_parsing(path)) as reader:
        names = list(reader.schema.names)
        empty = reader.read_next_batch().num_rows == 0
    _check_names(names, path)
    if empty:
        raise InputError("holds no rows", where=str(path), mend="check how it was written")
    return names


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file, or else a CSV file, whole."""
    return read_parquet(path) if path.suffix.lower() in PARQUET else read_csv(path)


def check_no_prediction_time(columns: Sequence[str], where: str) -> None:
    """Refuse a column of prediction times, rather than predict from events after them.

    Raises:
        InputError: There is one.
    """
    if "prediction_time" in columns:
        raise InputError(
            "column 'prediction_time': prediction times are not read from tables yet",
            where=where,
            mend="cut each subject's events there beforehand and drop the column",
        )


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The name that was probably meant."""
    lowered = {other.lower(): other for other in names}
    found = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def _parsing(path: Path) -> pa.csv.ParseOptions:
    """How to read a CSV file; unless told so, Arrow may end a block inside a quoted cell."""
    return pa.csv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True)


def _delimiter(path: Path) -> str:
    check_regular(path, "CSV file")
    with open(path, "rb") as stream:
        head = stream.readline(1 << 20)
    if b"\0" in head:
        raise InputError("is not text", where=str(path), mend="name a CSV or Parquet file")
    return max(",\t;", key=lambda mark: head.count(mark.encode()))


@contextmanager
def _csv_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except StopIteration as error:
        raise InputError("holds no rows", where=str(path), mend="check its content") from error
    except (pa.ArrowInvalid, UnicodeDecodeError):  # their text quotes the rows
        raise InputError(
            "is not a table of UTF-8 text with a header, rows of one length and numbers where due",
            where=str(path),
            mend="check how it was written",
        ) from None


def _check_names(names: Sequence[str], path: Path) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"column '{twice[0]}' appears twice", where=str(path), mend="rename one")


def _check_size(file: pq.ParquetFile, path: Path) -> None:
    footer = file.metadata
    decoded = footer.num_rows * 8 * len(file.schema_arrow.names)
    if decoded > BOMB_BYTES and decoded > BOMB_RATIO * path.stat().st_size:
        raise InputError(
            f"would unpack to {decoded >> 20:,} MB from {path.stat().st_size >> 10:,} kB",
            where=str(path),
            mend="check that it is what it claims to be",
        )
