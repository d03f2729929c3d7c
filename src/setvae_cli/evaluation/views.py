"""Rows of a store as a trained model sees them when nothing is left to chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.dataset import SetDataset
from setvae_cli.data.sampler import EpochSampler
from setvae_cli.errors import InputError
from setvae_cli.runs.model import LoadedModel
from setvae_cli.settings.run import LoaderSettings
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary


def whole_views(
    store: Store,
    vocabulary: Vocabulary,
    rows: NDArray[np.int64],
    loader: LoaderSettings,
    *,
    tasks: tuple[str, ...] = (),
    plan_sets: bool = False,
) -> SetDataset:
    """Rows with the length limit of a model, cut where training cut them; random becomes latest.

    Args:
        store: Events.
        vocabulary: The model's; codes of another store are matched by name.
        rows: Row numbers, in any order.
        loader: Of the model's run.
        tasks: Labels to give.
        plan_sets: Whether batches come with rectangles by set.

    Raises:
        InputError: A row is not there, or the model knows too few events of the store.
    """
    rows = np.unique(np.asarray(rows, dtype=np.int64))
    wrong = rows[(rows < 0) | (rows >= len(store))]
    if len(wrong):
        what = f"there is no row {wrong[0]}: rows are numbered from 0 to {len(store) - 1}"
        raise InputError(what, where=str(store.path))
    return SetDataset(
        store,
        vocabulary,
        rows,
        tasks=tasks,
        max_sequence_length=loader.max_sequence_length,
        truncate="latest" if loader.truncate == "random" else loader.truncate,
        plan_sets=plan_sets,
    )


def views_of(loaded: LoadedModel, store: Store, rows: NDArray[np.int64]) -> SetDataset:
    """Rows as a trained model sees them, with those of its labels that the store has."""
    return whole_views(
        store,
        loaded.vocabulary,
        rows,
        loaded.settings.loader,
        tasks=tuple(task for task in loaded.header.tasks if task in store.tasks),
        plan_sets=loaded.model.needs_set_plan,
    )


def in_order(dataset: SetDataset, batch_size: int) -> Iterator[SetBatch]:
    """Batches of consecutive rows."""
    if not len(dataset):
        return
    labelled = dataset.labels >= 0
    for request in EpochSampler(dataset.n_elements, labelled, batch_size, seed=0, shuffle=False):
        yield dataset.batch(request)
