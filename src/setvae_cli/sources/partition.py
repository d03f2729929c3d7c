"""A table brought together on disk: a file a part, with its rows in the order of the table."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa

from setvae_cli.files import disk_errors


def write_parts(
    batches: Iterable[tuple[pa.Table, np.ndarray]], n_parts: int, folder: Path
) -> list[Path]:
    """Append rows to the files of their parts, in the order in which they come.

    Args:
        batches: Rows of one schema, and the part of each, from 0.
        n_parts: At most 65 535, and fewer than the files that a process may have open.
        folder: An empty private folder.

    Returns:
        The file of each part.

    Raises:
        RunError: The disk is full, or refuses a write.
    """
    paths = [folder / f"{number:05d}.arrow" for number in range(n_parts)]
    writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
    with ExitStack() as stack:
        for table, part in batches:
            rows = table.combine_chunks()
            if np.any(part[1:] < part[:-1]):
                order = np.argsort(part.astype(np.uint16), kind="stable")
                rows, part = rows.take(pa.array(order)).combine_chunks(), part[order]
            starts = np.flatnonzero(np.append(True, part[1:] != part[:-1]))
            for start, stop in zip(starts, [*starts[1:], len(part)], strict=True):
                batch = compact(rows.slice(start, stop - start))
                with disk_errors(folder):
                    number = int(part[start])
                    if number not in writers:
                        writers[number] = _open(paths[number], batch.schema, stack)
                    writers[number].write_batch(batch)
    return paths


def read_part(path: Path) -> pa.Table:
    """The rows of a part."""
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
        return reader.read_all()


def _open(path: Path, schema: pa.Schema, stack: ExitStack) -> pa.ipc.RecordBatchStreamWriter:
    file = stack.enter_context(pa.OSFile(str(path), "wb"))
    return stack.enter_context(pa.ipc.new_stream(file, schema))


def compact(rows: pa.Table) -> pa.RecordBatch:
    """The rows as one batch, whose dictionaries hold only what occurs in it."""
    columns = {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if pa.types.is_dictionary(array.type):
            used = array.indices.dictionary_encode()
            array = pa.DictionaryArray.from_arrays(
                used.indices, array.dictionary.take(used.dictionary)
            )
        columns[name] = array
    return pa.record_batch(columns)
