"""embeddings.parquet: a line a row of the store, in the order of rows.

subject_id string | row int64 | split string      the split of the model's run; null: it had none
prediction_time double                            only where the store has any
label.<task> int32                                only where labels were asked for
e0, e1, ... float                                 the embedding, a column a number

With a column a number it joins and reads as it is in data frames, databases and tables of features,
where a column of lists would have to be taken apart first. Null stands where the model knows no
event of a row. What the numbers come from stands in the file's metadata, under keys that begin with
`setvae.`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.evaluation.embed import Piece
from setvae_cli.files import atomic_writer
from setvae_cli.store.format import LABEL
from setvae_cli.store.reader import Store

PREFIX = "setvae."


def write_embeddings(
    path: Path,
    store: Store,
    pieces: Iterator[Piece],
    splits: Mapping[str, NDArray[np.int64]],
    *,
    with_labels: bool,
    about: Mapping[str, str],
) -> int:
    """Write a file of embeddings, atomically: an earlier one stays until the end.

    Args:
        path: The file.
        store: Whose rows.
        pieces: What is written, in order; at least one.
        splits: Row numbers by split.
        with_labels: Whether labels of the store are written too.
        about: Where the numbers come from.

    Returns:
        Numbers a row.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    metadata = {f"{PREFIX}{key}": value for key, value in about.items()}
    if with_labels:
        names = store.manifest.class_names
        metadata |= {f"{PREFIX}class_names.{task}": json.dumps(names[task]) for task in names}
    named = _split_names(len(store), splits)
    writer: pq.ParquetWriter | None = None
    size = 0
    with atomic_writer(path) as file:
        try:
            for piece in pieces:
                table = _table(store, piece, named, with_labels).replace_schema_metadata(metadata)
                writer = writer or pq.ParquetWriter(
                    file, table.schema, compression="zstd", write_page_checksum=True
                )
                writer.write_table(table)
                size = int(piece.embedding.shape[1])
        finally:
            if writer is not None:
                writer.close()
    return size


def check_place(path: Path) -> None:
    """Make sure that a file of embeddings may take a place.

    Raises:
        InputError: Something else is there.
    """
    if not path.exists() and not path.is_symlink():
        return
    try:
        ours = any(key.startswith(PREFIX.encode()) for key in pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException):
        ours = False
    if not ours:
        what = "exists already and is no file of embeddings of setvae"
        raise InputError(what, where=str(path), mend="name another file with --out")


def _split_names(rows: int, splits: Mapping[str, NDArray[np.int64]]) -> NDArray[np.object_]:
    """The split of every row of a store; None where it is in none."""
    named = np.full(rows, None, dtype=object)
    for name, some in splits.items():
        named[some] = name
    return named


def _table(store: Store, piece: Piece, named: NDArray[np.object_], with_labels: bool) -> pa.Table:
    own = store.rows.take(piece.rows)
    columns: dict[str, Any] = {
        "subject_id": own["subject_id"],
        "row": piece.rows,
        "split": pa.array(named[piece.rows], pa.string()),
    }
    if _is_known(store, "prediction_time"):
        columns["prediction_time"] = own["prediction_time"]
    if with_labels:
        columns |= {name: own[name] for name in own.column_names if name.startswith(LABEL)}
    missing = np.isnan(piece.embedding[:, 0])
    for place, numbers in enumerate(np.ascontiguousarray(piece.embedding.T)):
        columns[f"e{place}"] = pa.array(numbers, mask=missing)
    return pa.table(columns)


def _is_known(store: Store, name: str) -> bool:
    """Whether a column of the rows is there and holds anything."""
    return name in store.rows.column_names and store.rows[name].null_count < len(store)
