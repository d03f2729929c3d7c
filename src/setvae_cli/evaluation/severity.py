"""How ill each subject is: a score in the store, the truth of the built-in cohort, or the risk."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.errors import DataError
from setvae_cli.store.format import ATTRIBUTE, TRUTH
from setvae_cli.store.reader import Store

SCORES = ("SOFA", "SAPS-I")
TRUE, PREDICTED = "true severity", "predicted risk"

Floats = NDArray[np.float32]


def severity(store: Store, rows: NDArray[np.int64], risk: Floats) -> tuple[Floats, str]:
    """The severity of some rows, and what it is; NaN where it is not known.

    Args:
        store: Where attributes and the truth of a simulated cohort lie.
        rows: Row numbers.
        risk: Predicted risk of each, for where nothing better is known.

    Raises:
        DataError: The truth of the cohort is damaged.
    """
    for score in SCORES:
        for name in store.rows.column_names:
            if name.startswith(ATTRIBUTE) and _alike(name.removeprefix(ATTRIBUTE), score):
                found = _numbers(store.rows[name], rows)
                if found is not None:
                    return np.where(found < 0, np.nan, found), score  # below 0: not taken
    if (store.path / TRUTH).is_file():
        return _truth(store, rows), TRUE
    return risk, PREDICTED


def _alike(name: str, score: str) -> bool:
    """Whether a name is a score's, whatever its case and what stands between its letters."""
    plain = [re.sub("[^a-z0-9]", "", text.lower()) for text in (name, score)]
    return plain[0] == plain[1]


def _numbers(column: pa.ChunkedArray, rows: NDArray[np.int64]) -> Floats | None:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return None
    taken = column.cast(pa.float64()).to_numpy()[rows].astype(np.float32)
    return taken if np.isfinite(taken).any() else None


def _truth(store: Store, rows: NDArray[np.int64]) -> Floats:
    path = store.path / TRUTH
    try:
        truth = pq.read_table(path, columns=["subject_id", "severity"])
    except (pa.ArrowInvalid, OSError) as error:
        mend = "prepare the store again"
        what = "the truth of the cohort is damaged"
        raise DataError(what, where=str(path), mend=mend) from error
    mine = store.rows["subject_id"].take(pa.array(rows))
    place = pc.index_in(mine, value_set=truth["subject_id"].combine_chunks())
    known = truth["severity"].combine_chunks().take(place)
    return np.asarray(known.to_numpy(zero_copy_only=False), dtype=np.float32)
