"""What of a store a run sees: its rows, and the statistics of those that it trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.folds import FoldRows, fold_rows
from setvae_cli.errors import InputError
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.sources.records import Kind
from setvae_cli.store.format import Shape
from setvae_cli.store.reader import Store
from setvae_cli.store.shareable import shareable_vocabulary
from setvae_cli.store.statistics import fit_vocabulary, shard_rows
from setvae_cli.store.summary import fit_shape
from setvae_cli.store.vocabulary import Vocabulary

FIXED_KINDS: tuple[Kind, ...] = (
    "presence",
    "category",
)  # what a layout says; the other two follow from values


@dataclass(frozen=True)
class Portion:
    """Rows and statistics of a run.

    Attributes:
        splits: Row numbers by train, validation and test.
        vocabulary: Codes with the statistics of the training rows.
        shape: Sizes of the training rows.
    """

    splits: Mapping[str, NDArray[np.int64]]
    vocabulary: Vocabulary
    shape: Shape


def rows_of(settings: TrainSettings, store: Store) -> Portion:
    """The portion of a store that a run of these settings sees.

    A pure function of both, so that a resume, another rank and a report find the same.

    Raises:
        InputError: The store cannot be dealt out in so many folds, or a split has no subject.
        SettingsError: The settings name no single fold or share of labels.
    """
    whole = counted_rows(settings, store)
    return replace(whole, vocabulary=shareable_vocabulary(store, whole.vocabulary))


def counted_rows(settings: TrainSettings, store: Store) -> Portion:
    """The same with every code of the store, also those that no model may know by name.

    Raises:
        InputError, SettingsError: As `rows_of`.
    """
    rows = _fold_rows(settings, store)
    for name, some in rows.splits.items():
        if not len(some):
            mend = "give --split-fractions that leave it some, or more subjects"
            raise InputError(f"the {name} split has no subject", mend=mend)
    if settings.fold.folds is None:
        return Portion(rows.splits, store.vocabulary, store.shape)
    refitted = fit_vocabulary(store, rows.statistics, fixed=FIXED_KINDS)
    shape = fit_shape(shard_rows(store, rows.statistics)).rounded()
    return Portion(rows.splits, refitted, shape)


def split_rows(settings: TrainSettings, store: Store, name: str) -> NDArray[np.int64]:
    """The rows that a run of these settings called train, validation or test."""
    return _fold_rows(settings, store).splits[name]


def _fold_rows(settings: TrainSettings, store: Store) -> FoldRows:
    """Folds and shares are of the label that is fine-tuned on, unless another one is named."""
    fold = settings.fold
    if isinstance(settings, FinetuneSettings) and settings.tuning.label and not fold.fold_label:
        fold = fold.model_copy(update={"fold_label": settings.tuning.label[0]})
    return fold_rows(store, fold, reads_labels=settings.objective.reads_labels)
