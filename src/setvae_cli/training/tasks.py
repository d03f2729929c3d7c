"""Which labels a run predicts, and whether a store's splits can carry a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.slices import SliceRule
from setvae_cli.data.views import Cuts
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.numbers import count
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.settings.run import LoaderSettings
from setvae_cli.store.format import SPLITS
from setvae_cli.store.reader import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tasks:
    """Labels that are predicted.

    Attributes:
        names: Their names; empty where there is nothing to predict.
        classes: Classes of each.
    """

    names: tuple[str, ...]
    classes: tuple[int, ...]


def predicted_tasks(store: Store, weight: float, rows: NDArray[np.int64] | None = None) -> Tasks:
    """The store's labels that its training rows know.

    A label without a single training subject is left out, and said; without any label prediction
    is off, as it is without weight.

    Args:
        store: Whose labels.
        weight: Of prediction.
        rows: Training rows; None: those of its own training split.
    """
    if not weight:
        log.warning("--pred-weight 0: prediction is off, and the loss chooses the best checkpoint")
        return Tasks((), ())
    train = store.labels[store.split("train") if rows is None else rows]
    kept = []
    for number, name in enumerate(store.tasks):
        if (train[:, number] >= 0).any():
            kept.append((name, store.classes[number]))
        else:
            log.warning("no training subject has label %s: it is not predicted", name)
    if not kept:
        log.warning("no labels: prediction is off, and the loss chooses the best checkpoint")
    return Tasks(tuple(name for name, _ in kept), tuple(count for _, count in kept))


def tasks_of(objective: ObjectiveSettings, store: Store, rows: NDArray[np.int64]) -> Tasks:
    """What a run predicts: nothing where its objective reads no labels.

    Args:
        objective: Of the run.
        store: Whose labels.
        rows: Training rows.

    Raises:
        InputError: Nothing but prediction is in the loss, and no training subject has a label.
    """
    if not objective.has("joint"):
        return Tasks((), ())
    if objective.only_predicts and not (store.labels[rows] >= 0).any():
        raise InputError(
            "no training subject has a label, and prediction is all that is trained",
            where=str(store.path),
            mend="prepare the data with labels, or train with --recon-weight 1",
        )
    return predicted_tasks(store, objective.pred_weight, rows)


def check_judged(
    objective: ObjectiveSettings, store: Store, tasks: Tasks, rows: NDArray[np.int64]
) -> None:
    """Make sure that validation can tell checkpoints apart.

    Args:
        objective: Of the run.
        store: Whose labels.
        tasks: What it predicts.
        rows: Validation rows.

    Raises:
        InputError: Nothing but prediction is in the loss, and none of these rows has a label of it.
    """
    columns = [store.tasks.index(name) for name in tasks.names]
    if not objective.only_predicts or (store.labels[rows][:, columns] >= 0).any():
        return
    raise InputError(
        f"none of {count(len(rows))} validation subjects has the label "
        f"{' or '.join(tasks.names)}, by which the best checkpoint is chosen",
        where=str(store.path),
        mend="label some of them, or deal subjects out anew with --folds",
    )


def cuts_of(objective: ObjectiveSettings, store: Store, time_scale: float) -> Cuts | None:
    """Where an objective cuts subjects; None: nowhere.

    Raises:
        InputError: Positions of the store are not times.
    """
    if not objective.has("forecast"):
        return None
    axes = store.shard(0).positions.shape[1]
    if axes != 1:
        raise InputError(
            f"a forecast needs sets in time, and positions of this store have {axes} numbers",
            where=str(store.path),
            mend="leave forecast out of --objective",
        )
    first, last = objective.forecast_cut
    return Cuts(
        first=first * time_scale,
        last=last * time_scale,
        share=objective.forecast_cut_share,
        horizon=objective.forecast_horizon * time_scale,
    )


def slicing_of(objective: ObjectiveSettings, loader: LoaderSettings) -> SliceRule | None:
    """How an objective slices subjects; None: it does not.

    Raises:
        SettingsError: Batches hold one subject, so that slices of others are never seen.
    """
    if not objective.has("coles"):
        return None
    if loader.batch_size < 2 and loader.max_elements_per_batch is None:
        raise SettingsError(
            "1 leaves coles no other subject in a batch",
            where="--batch-size",
            mend="take at least 2; 64 is a good start",
        )
    least, most = objective.coles_sets
    beside = objective.parts != {"coles"}
    return SliceRule(objective.coles_slices, least, most, beside=beside)


def describe_data(
    store: Store,
    tasks: Tasks,
    splits: Mapping[str, NDArray[np.int64]] | None = None,
    *,
    reads_labels: bool = True,
) -> str:
    """One line: source, codes, subjects a split, positive share or classes of the first label."""
    splits = {name: store.split(name) for name in SPLITS} if splits is None else splits
    counts = "/".join(count(len(splits[name])) for name in SPLITS)
    line = f"{store.manifest.source}, {len(store.vocabulary.codes)} codes, {counts} subjects"
    if not tasks.names:
        return f"{line}, no labels" if reads_labels else f"{line}, labels are not read"
    if tasks.classes[0] > 2:
        return f"{line}, {tasks.classes[0]} classes"
    labels = store.labels[:, store.tasks.index(tasks.names[0])]
    return f"{line}, {100 * np.mean(labels[labels >= 0] > 0):.1f} % positive"
