"""What the baselines of a place are fitted on: its rows, their labels and features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.portion import rows_of, split_rows
from setvae_cli.evaluation.baselines import Predictor, Told
from setvae_cli.evaluation.summary_features import summary_features, telling_columns
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.comparison import Comparison, compared_label
from setvae_cli.training.compare.folder import Predicted
from setvae_cli.training.compare.jobs import Job, Place

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """Labelled rows of a place.

    Attributes:
        train, validation, test: Row numbers, ascending.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def judged(self) -> NDArray[np.int64]:
        """Of validation, then of test."""
        return np.concatenate((self.validation, self.test))

    def predicted(self, logits: NDArray[np.float64]) -> Predicted:
        """What was said of `judged`, in its order."""
        tested = np.arange(len(self.judged)) >= len(self.validation)
        return Predicted(self.judged, tested, logits)


class Material:
    """Rows and features of the places of a comparison; summaries of one place are remembered.

    Args:
        comparison: Whose.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._summaries: tuple[Place, NDArray[np.float32]] | None = None

    def rows(self, place: Place) -> Rows:
        """The labelled rows of a place."""
        comparison = self._comparison
        settings = comparison.tuned(Job("finetuned", place), None)
        portion = rows_of(settings, comparison.store)
        known = self.labels >= 0
        return Rows(*(_those(portion.splits[name], known) for name in SPLITS))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of every row of the store; -1: none."""
        store: Store = self._comparison.store
        return store.labels[:, store.tasks.index(self._comparison.label)]

    def summaries(self, place: Place) -> NDArray[np.float32]:
        """Summary features of every row of the store, as training rows of a place make them."""
        whole = Place(place.repeat, place.fold, 1.0)
        if self._summaries is None or self._summaries[0] != whole:
            comparison = self._comparison
            settings = comparison.tuned(Job("finetuned", whole), None)
            portion, store = rows_of(settings, comparison.store), comparison.store
            everyone = np.arange(len(store), dtype=np.int64)
            scale = portion.shape.time_scale
            found = summary_features(store, everyone, portion.vocabulary, time_scale=scale).values
            self._summaries = whole, found[:, telling_columns(found[portion.splits["train"]])]
        return self._summaries[1]

    def told(self, rows: NDArray[np.int64], features: NDArray[Any]) -> Told:
        """Features and labels of rows, from features of every row of the store."""
        return Told(features[rows], self.labels[rows])

    def fitted(self, place: Place, features: NDArray[Any], fit: Any) -> Predicted:
        """What a baseline says of a place.

        Args:
            place: Where.
            features: Of every row of the store; NaN: not known.
            fit: `fit_linear` or `fit_trees`.
        """
        rows = self.rows(place)
        classes = self._comparison.classes
        predictor: Predictor = fit(
            self.told(rows.train, features), self.told(rows.validation, features), classes
        )
        return rows.predicted(predictor(features[rows.judged]))


def lacking(settings: FinetuneSettings, store: Store) -> str | None:
    """Why nothing can be compared beside a run, one clause: labels are missing; None where it can.

    Args:
        settings: Of the run.
        store: Its data.

    Raises:
        InputError: There cannot be these folds.
    """
    label = compared_label(settings, store)
    if label not in store.tasks:
        return f"the data have no label {label:.60}"
    number = store.tasks.index(label)
    labels = store.labels[:, number]
    train, _, test = known = [
        np.unique(some[some >= 0])
        for some in (labels[split_rows(settings, store, name)] for name in SPLITS)
    ]
    for name, classes in zip(SPLITS, known, strict=True):
        if not len(classes):
            return f"no subject of the {name} split has the label {label:.60}"
    if len(train) < 2:
        return f"training subjects are all of class {train[0]} of the label {label:.60}"
    missing = sorted(set(range(store.classes[number])) - set(test.tolist()))
    if missing:
        return f"no subject of the test split is of class {missing[0]} of the label {label:.60}"
    return None


def learns_several(comparison: Comparison) -> bool:
    """Whether fine-tuning learns labels beside the one that is compared."""
    return len(comparison.settings.tuning.label or comparison.store.tasks) > 1


def _those(rows: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    return rows[known[rows]]
