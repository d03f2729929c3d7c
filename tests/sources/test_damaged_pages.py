"""Parquet without page checksums: damage that Arrow itself lets pass is found behind it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from setvae_cli.errors import InputError
from setvae_cli.sources.tabular import open_parquet, read_parquet, stream_parquet


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "events.parquet"
    names = [f"s{row // 3}" for row in range(48)]
    pq.write_table(pa.table({"subject_id": names}), path, compression="none")
    return path


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def stream(path: Path) -> pa.Table:
    names = open_parquet(path).schema_arrow.names
    return pa.concat_tables(stream_parquet(path, names, 1000))


def test_an_index_that_points_outside_its_dictionary_is_a_damaged_part(table: Path) -> None:
    whole, column = table.read_bytes(), pq.ParquetFile(table).metadata.row_group(0).column(0)
    start, refused = column.data_page_offset, 0
    stop = column.dictionary_page_offset + column.total_compressed_size
    for place in range(start, stop):
        for bit in range(8):
            table.write_bytes(flipped(whole, place, bit))
            try:
                found = stream(table)
            except InputError:
                refused += 1
            else:
                found.validate(full=True)
                assert found.num_rows == 48
    assert refused > 0


def test_rows_that_the_footer_promises_are_read_or_missed(table: Path) -> None:
    whole, refused = table.read_bytes(), 0
    for place in range(whole.rindex(b"PAR1") - 500, len(whole)):
        table.write_bytes(flipped(whole, place, place % 8))
        for read in (stream, read_parquet):
            try:
                assert read(table).num_rows == pq.ParquetFile(table).metadata.num_rows
            except InputError:
                refused += 1
    assert refused > 0
