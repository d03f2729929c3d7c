"""The distinct rows of a table that is read in batches, such as ids with their labels."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from setvae_cli.sources.columns import places
from setvae_cli.sources.partition import compact

_PENDING = 1_000_000  # rows to wait for before they are compared with one another


def distinct_rows(batches: Iterable[pa.Table]) -> pa.Table:
    """The distinct rows of some batches of one schema, in the order of their first rows."""
    found: list[pa.Table] = []
    held = 0
    for batch in batches:
        found.append(_distinct(batch))
        if sum(table.num_rows for table in found) > max(_PENDING, 2 * held):
            found = [_distinct(pa.concat_tables(found))]
            held = found[0].num_rows
    return _distinct(pa.concat_tables(found))


def _distinct(rows: pa.Table) -> pa.Table:
    number = np.zeros(rows.num_rows, np.int64)
    for column in rows.unify_dictionaries().columns:
        array = column.combine_chunks()
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        pair = number * (len(array.dictionary) + 1) + places(array) + 1
        number = pa.array(pair).dictionary_encode().indices.to_numpy().astype(np.int64)
    first = np.zeros(int(number.max(initial=-1)) + 1, np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    return pa.table(compact(rows.take(pa.array(first))))
