"""Who is in which fold: dealt out by group, stratified by a label, the same for every method.

    groups with the label --+-- the fold -----------------------> test
                            +-- the others --+-- a fifth --------> validation
                                             +-- the rest -------> train
    groups without it ---------------------- no label is read --> train

A pure function of the names of the groups, their classes and the settings: neither the order of
rows nor the machine changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from setvae_cli.errors import InputError, SettingsError
from setvae_cli.settings.folds import FoldSettings
from setvae_cli.store.format import SPLITS
from setvae_cli.store.reader import Store
from setvae_cli.store.splits import deal, name_keys, ranked

VALIDATION_SHARE = 0.2
_TRAIN, _VALIDATION, _TEST = range(3)

Array = NDArray[Any]


@dataclass(frozen=True)
class FoldRows:
    """Row numbers of a fold, ascending.

    Attributes:
        train, validation, test: What a run trains on, chooses by and measures.
        statistics: What vocabulary and sizes are fitted on: the training rows, whatever share of
            their labels may be read.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    statistics: NDArray[np.int64]

    @property
    def splits(self) -> dict[str, NDArray[np.int64]]:
        """By the names of the store's own splits."""
        return dict(zip(SPLITS, (self.train, self.validation, self.test), strict=True))


def fold_rows(store: Store, settings: FoldSettings, *, reads_labels: bool) -> FoldRows:
    """The rows of one fold, or of the store's own splits where there are no folds.

    Args:
        store: Whose rows.
        settings: Which fold, and which share of its labels.
        reads_labels: Whether training reads labels. Where it does not, rows without the label
            train too, and a share of the labels changes nothing.

    Raises:
        InputError: The store cannot be dealt out in so many folds.
        SettingsError: The settings name no single fold or share, or no label of the store.
    """
    if len(settings.label_fraction) > 1:
        what, mend = "one run reads one share of the labels", "give one, or compare with finetune"
        raise SettingsError(what, where="--label-fraction", mend=mend)
    share = settings.label_fraction[0]
    if settings.folds is None and (share == 1 or not reads_labels):
        train, validation, test = (store.split(name) for name in SPLITS)
        return FoldRows(train, validation, test, statistics=train)
    classes = label_classes(store, settings.fold_label)
    names, group = _groups(store)
    side = _own_side(store) if settings.folds is None else _side(names, group, classes, settings)
    parts = [np.flatnonzero((side == part) & (classes >= 0)) for part in range(len(SPLITS))]
    everyone = np.flatnonzero(side == _TRAIN)
    if not reads_labels:
        return FoldRows(everyone, parts[_VALIDATION], parts[_TEST], statistics=everyone)
    keys = name_keys(names, f"labels {_drawing(settings)}")[group]
    train, validation = (_some(rows, classes, keys, share) for rows in parts[:_TEST])
    return FoldRows(train, validation, parts[_TEST], statistics=parts[_TRAIN])


def label_classes(store: Store, label: str | None) -> NDArray[np.int64]:
    """The class of every row in the label that folds are stratified by; -1: none.

    Raises:
        InputError: The store has no label.
        SettingsError: It has no label of this name.
    """
    if not store.tasks:
        what, mend = "has no label, and folds are stratified by one", "prepare it with labels"
        raise InputError(what, where=str(store.path), mend=mend)
    if label is not None and label not in store.tasks:
        known = ", ".join(store.tasks)
        what = f"the store has no label {label!r:.60}"
        raise SettingsError(what, where="--fold-label", mend=f"its labels are: {known}")
    return store.labels[:, store.tasks.index(label) if label else 0]


def _groups(store: Store) -> tuple[list[str], Array]:
    """Names of the groups, and the place among them of each row's."""
    groups = pc.dictionary_encode(store.rows["group_id"].combine_chunks())
    return groups.dictionary.to_pylist(), groups.indices.to_numpy()


def _own_side(store: Store) -> Array:
    side = np.empty(len(store), dtype=np.int64)
    for number, name in enumerate(SPLITS):
        side[store.split(name)] = number
    return side


def _side(names: list[str], group: Array, classes: Array, settings: FoldSettings) -> Array:
    """Train, validation or test of each row: that of its group."""
    if settings.folds is None or settings.fold is None:
        what = f"one run is one of the {settings.folds} folds"
        mend = f"give --fold, 0 to {(settings.folds or 2) - 1}, or compare with setvae finetune"
        raise SettingsError(what, where="--folds", mend=mend)
    strata = np.full(len(names), -1, dtype=np.int64)
    np.maximum.at(strata, group, classes)
    dealt = np.flatnonzero(strata >= 0)
    _check_enough(strata[dealt], settings.folds)
    purpose = f"{settings.fold_seed} {settings.repeat}"
    keys = name_keys(names, f"folds {purpose}")
    parts = deal(keys[dealt], strata[dealt], [1 / settings.folds] * settings.folds)
    side = np.full(len(names), _TRAIN)
    side[dealt[parts == settings.fold]] = _TEST
    others = dealt[parts != settings.fold]
    keys = name_keys(names, f"validation {purpose} {settings.fold}")
    chosen = deal(keys[others], strata[others], (1 - VALIDATION_SHARE, VALIDATION_SHARE))
    side[others[chosen == 1]] = _VALIDATION
    return side[group]


def _check_enough(strata: Array, folds: int) -> None:
    sizes = np.unique(strata, return_counts=True)[1]
    least = int(sizes.min()) if len(sizes) else 0
    if least < folds:
        raise InputError(
            f"a class of the label has {least} subjects, fewer than the {folds} folds",
            mend="use fewer --folds, or another label",
        )


def _drawing(settings: FoldSettings) -> str:
    """What a share of the labels is drawn by: every fold draws its own.

    One draw for all would let the same few subjects decide in each, as if they had been met often.
    """
    own = "" if settings.folds is None else f" {settings.repeat} {settings.fold}"
    return f"{settings.fold_seed}{own}"


def _some(rows: Array, classes: Array, keys: Array, share: float) -> NDArray[np.int64]:
    """A share of the rows, of each class one at least; those of a smaller share are among them."""
    place, sizes, order = ranked(keys[rows], classes[rows])
    return np.sort(rows[order[place < np.maximum(np.rint(share * sizes), 1)]])
