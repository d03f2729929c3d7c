"""Whether a trained model saw what fine-tuning on the same data is about to test or to leave out.

A checkpoint names no subject. On its own data its settings tell whom it saw; of other data nothing
is known, also not where the same subjects stand in both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.portion import split_rows
from setvae_cli.errors import InputError
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.model import settings_of
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.store.reader import Store

UNKNOWN = "other data; were test subjects among them, their figures flatter"
_MEND = "train one with the same --folds and --fold, or compare all folds: --folds without --fold"
_LABELS = "start from one of --objective elbo or forecast, or compare several shares"


def check_unseen(
    settings: FinetuneSettings, store: Store, header: Header, path: Path, tasks: tuple[str, ...]
) -> None:
    """Make sure that the test subjects are new to a checkpoint, and labels left out as well.

    Args:
        settings: Of the fine-tuning.
        store: Its data.
        header: Of the checkpoint.
        path: Its file.
        tasks: Labels that are fine-tuned on.

    Raises:
        InputError: It was trained or chosen on some of them.
    """
    found = known_before(settings, store, header, path, tasks)
    if found == "subjects":
        what = "was trained on these data, and knows subjects that this fold tests"
        raise InputError(what, where=str(path), mend=_MEND)
    if found == "labels":
        what = "was trained on these data, and read labels beyond this --label-fraction"
        raise InputError(what, where=str(path), mend=_LABELS)


def known_before(
    settings: FinetuneSettings, store: Store, header: Header, path: Path, tasks: tuple[str, ...]
) -> str | None:
    """What a checkpoint of the same data knows already: test `subjects`, `labels`, or nothing.

    Args:
        settings, store, header, path, tasks: As `check_unseen` has them.
    """
    if header.data_digest != store.digest:
        return None
    before = settings_of(header, path)
    seen = _learnt_from(before, store)
    if np.isin(split_rows(settings, store, "test"), seen).any():
        return "subjects"
    if not before.objective.reads_labels or not set(tasks) & set(header.tasks):
        return None
    columns = [store.tasks.index(task) for task in tasks if task in header.tasks]
    told = seen[(store.labels[seen][:, columns] >= 0).any(axis=1)]
    return None if np.isin(told, _learnt_from(settings, store)).all() else "labels"


def _learnt_from(settings: TrainSettings, store: Store) -> NDArray[np.int64]:
    """Rows that a run was trained on or chosen by."""
    return np.union1d(
        split_rows(settings, store, "train"), split_rows(settings, store, "validation")
    )
