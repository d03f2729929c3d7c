"""predictions.parquet: a line a subject, in the order of rows.

row int64 | subject_id string (where asked for) | split string
label.<task> int32                         null where missing
logit.<task> probability.<task> double     of class 1, for a task of two classes
logit.<task>.<class> probability.<task>.<class> double    for one of several
Both are null for a subject without an event that the model knows.
The file's metadata names setvae's version, the checkpoint, the digests of both data, and, as JSON
lists class_names.<task>, the classes of labels that were given as texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.evaluation.findings import Provenance
from setvae_cli.evaluation.labelled import outputs_of, probabilities
from setvae_cli.evaluation.predict import Predictions
from setvae_cli.files import atomic_writer


def write_predictions(
    path: Path,
    table: pa.Table,
    source: Provenance,
    class_names: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write a table of predictions, atomically, with page checksums.

    Args:
        path: The file.
        table: Of `as_table`.
        source: Where it comes from.
        class_names: Names of the classes of labels that were given as texts.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    named = {
        "setvae_version": source.version,
        "run": source.run,
        "checkpoint": source.checkpoint,
        "trained_on": source.trained_on,
        "data_digest": source.data,
        **{f"class_names.{task}": json.dumps(names) for task, names in (class_names or {}).items()},
    }
    with atomic_writer(path) as file:
        marked = table.replace_schema_metadata(named)
        pq.write_table(marked, file, write_page_checksum=True, compression="zstd")


def as_table(
    predictions: Predictions,
    split: Sequence[str | None],
    *,
    tasks: Sequence[str],
    classes: Sequence[int],
    ids: Sequence[str] | None = None,
) -> pa.Table:
    """The table of all rows that were asked for.

    Args:
        predictions: Of the rows.
        split: Of each row.
        tasks: Names of the tasks.
        classes: Classes of each task.
        ids: Subject of each row; None: row numbers only.
    """
    columns: dict[str, Any] = {"row": predictions.rows}
    if ids is not None:
        columns["subject_id"] = pa.array(ids, pa.string())
    columns["split"] = pa.array(split, pa.string())
    labels, mask = predictions.labels.astype(np.int32), predictions.label_mask
    for number, task in enumerate(tasks):
        columns[f"label.{task}"] = pa.array(labels[:, number], mask=~mask[:, number])
    for task, outputs in zip(tasks, outputs_of(classes), strict=True):
        logits = predictions.logits[:, outputs].astype(np.float64)
        columns |= _of_task(task, logits)
    return pa.table(columns)


def _of_task(task: str, logits: NDArray[np.float64]) -> dict[str, pa.Array]:
    chance, width = probabilities(logits), logits.shape[1]
    names = [task] if width == 1 else [f"{task}.{number}" for number in range(width)]
    chances = chance[:, -width:]
    found = {f"logit.{name}": _known(logits[:, place]) for place, name in enumerate(names)}
    return found | {
        f"probability.{name}": _known(chances[:, place]) for place, name in enumerate(names)
    }


def _known(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))
