"""curves.parquet: every value of every curve in one long table.

run string | tag string | step int64 | epoch double | value double | seconds double
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from setvae_cli.files import atomic_writer
from setvae_cli.reports.curves.series import Curves, Series

_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("run", _WORD, nullable=False),
        pa.field("tag", _WORD, nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("epoch", pa.float64()),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("seconds", pa.float64()),
    ]
)


def write_table(path: Path, runs: Sequence[Curves]) -> None:
    """Write the curves of all runs, atomically, with page checksums.

    Epochs and seconds that a log does not tell are null.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    tables = [pa.table(columns, schema=SCHEMA) for columns in _columns(runs)]
    whole = pa.concat_tables(tables).unify_dictionaries() if tables else SCHEMA.empty_table()
    with atomic_writer(path) as file:
        pq.write_table(whole, file, write_page_checksum=True, compression="zstd")


def _columns(runs: Sequence[Curves]) -> Iterator[list[pa.Array]]:
    for run in runs:
        for tag in sorted(run.series):
            series = run.series[tag]
            yield [
                _word(run.name, series),
                _word(tag, series),
                pa.array(series.steps),
                pa.array(series.epochs, mask=np.isnan(series.epochs)),
                pa.array(series.values),
                pa.array(series.seconds, mask=np.isnan(series.seconds)),
            ]


def _word(word: str, series: Series) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(len(series), np.int32), pa.array([word]))
