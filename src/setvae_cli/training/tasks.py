"""Which labels a run predicts, and whether a store's splits can carry a run."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from setvae_cli.errors import InputError
from setvae_cli.numbers import count
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


def predicted_tasks(store: Store, weight: float) -> Tasks:
    """The store's labels that its training split knows.

    A label without a single training subject is left out, and said; without any label prediction
    is off, as it is without weight.
    """
    if not weight:
        log.warning("--pred-weight 0: prediction is off, and the loss chooses the best checkpoint")
        return Tasks((), ())
    train = store.labels[store.split("train")]
    kept = []
    for number, name in enumerate(store.tasks):
        if (train[:, number] >= 0).any():
            kept.append((name, store.classes[number]))
        else:
            log.warning("no training subject has label %s: it is not predicted", name)
    if not kept:
        log.warning("no labels: prediction is off, and the loss chooses the best checkpoint")
    return Tasks(tuple(name for name, _ in kept), tuple(count for _, count in kept))


def check_splits(store: Store) -> None:
    """Make sure that there is something to train, choose and measure with.

    Raises:
        InputError: A split has no subject.
    """
    for name in SPLITS:
        if not len(store.split(name)):
            mend = "give --split-fractions that leave it some, or more subjects"
            raise InputError(f"the {name} split has no subject", mend=mend)


def describe_data(store: Store, tasks: Tasks) -> str:
    """One line: source, codes, subjects a split, positive share of the first label."""
    counts = "/".join(count(len(store.split(name))) for name in SPLITS)
    line = f"{store.manifest.source}, {len(store.vocabulary.codes)} codes, {counts} subjects"
    if not tasks.names:
        return f"{line}, no labels"
    labels = store.labels[:, store.tasks.index(tasks.names[0])]
    return f"{line}, {100 * np.mean(labels[labels >= 0] > 0):.1f} % positive"
