"""A trained model's predictions of a split of a store, and all that is measured of them.

store -> rows of the split -> predictions -> labelled subjects a task -> findings
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from setvae_cli.data.portion import split_rows
from setvae_cli.errors import InputError
from setvae_cli.evaluation.attributes import attribute, attribute_names
from setvae_cli.evaluation.class_names import class_names, labels_of
from setvae_cli.evaluation.findings import (
    Findings,
    Progress,
    Provenance,
    TaskFindings,
    assess,
    thresholds_of,
)
from setvae_cli.evaluation.labelled import Integers, Labelled, labelled_tasks
from setvae_cli.evaluation.predict import Predictions, predict
from setvae_cli.evaluation.thresholds import Threshold
from setvae_cli.numbers import count
from setvae_cli.runs.model import LoadedModel
from setvae_cli.store.format import SPLITS
from setvae_cli.store.reader import Store

ALL = "all"
VALIDATION = "validation"


@dataclass(frozen=True)
class Wanted:
    """What is measured.

    Attributes:
        split: train, validation, test or all.
        tasks: Labels, of those that the model predicts.
        by: Attributes whose groups are measured each by itself.
        threshold: A probability, or `validation`.
        resamples: Bootstrap samples of an interval.
        seed: Of the bootstrap.
        batch_size: Subjects at once.
    """

    split: str
    tasks: tuple[str, ...]
    by: tuple[str, ...] = ()
    threshold: str = "0.5"
    resamples: int = 1000
    seed: int = 0
    batch_size: int = 64


@dataclass(frozen=True)
class MeasuredSplit:
    """Predictions of a split and what was found of them.

    Attributes:
        findings: Of the labels that were asked for.
        predictions: Of all labels that the model predicts.
        split: The split of each row.
        tasks, classes: Of the predictions.
    """

    findings: Findings
    predictions: Predictions
    split: tuple[str | None, ...]
    tasks: tuple[str, ...]
    classes: tuple[int, ...]


def measure_split(
    loaded: LoadedModel, store: Store, wanted: Wanted, source: Provenance, *, progress: Progress
) -> MeasuredSplit:
    """Predict a split and measure it; the model computes where its weights are.

    Raises:
        InputError: The split is empty, or the model knows too little of it; a label or an
            attribute is not there; validation cannot choose a threshold.
        NumericalError: A prediction is not finite.
    """
    rows = rows_by_split(loaded, store, wanted.split)
    header = loaded.header
    predictions = _predict(loaded, store, rows, wanted, progress, wanted.split)
    thresholds = _thresholds(loaded, store, wanted, progress)
    found: list[TaskFindings] = []
    for task, of, mine in labelled_rows(loaded, store, predictions):
        if task not in wanted.tasks:
            continue
        groups = [attribute(store, name, mine) for name in wanted.by] if len(mine) else []
        cut = thresholds.get(task)
        one = assess(
            of,
            groups,
            threshold=cut,
            resamples=wanted.resamples,
            seed=wanted.seed,
            progress=progress,
        )
        found.append(one)
    findings = Findings(
        source=source,
        split=wanted.split,
        subjects=len(rows),
        without_prediction=predictions.without_events,
        unmatched=predictions.unmatched,
        tasks=tuple(found),
        attributes=attribute_names(store),
        notes=tuple(_notes(loaded, store, wanted, predictions)),
        resamples=wanted.resamples,
        flattered=_flattered(loaded, store, wanted),
    )
    split = _split_of(loaded, store, predictions.rows)
    return MeasuredSplit(findings, predictions, split, header.tasks, header.classes)


def labelled_rows(
    loaded: LoadedModel, store: Store, predictions: Predictions
) -> Iterator[tuple[str, Labelled, Integers]]:
    """Each task with its labelled subjects that have a prediction, and their row numbers."""
    header = loaded.header
    predicted = ~np.isnan(predictions.logits).any(axis=1)
    mask = predictions.label_mask & predicted[:, None]
    tasks = labelled_tasks(
        predictions.logits,
        predictions.labels,
        mask,
        tasks=header.tasks,
        classes=header.classes,
        groups=groups_of(store, predictions.rows),
        names=class_names(header, store),
    )
    for number, of in enumerate(tasks):
        yield of.task, of, predictions.rows[mask[:, number]]


def rows_by_split(loaded: LoadedModel, store: Store, name: str) -> Integers:
    """Rows of a split, or of all; a fold of the model's run stands for the store's own splits.

    Raises:
        InputError: It is empty.
    """
    if name == ALL:
        return np.arange(len(store), dtype=np.int64)
    rows = _own_split(loaded, store, name)
    if not len(rows):
        mend = "name another with --split"
        raise InputError(f"the {name} split is empty", where=str(store.path), mend=mend)
    return rows


def groups_of(store: Store, rows: Integers) -> Integers:
    """Numbers of the groups (patients) of rows, from 0 in the order in which they come."""
    coded = pc.dictionary_encode(store.rows["group_id"].combine_chunks().take(rows))
    numbers: Integers = coded.indices.to_numpy().astype(np.int64)
    return numbers


def check_labels(
    loaded: LoadedModel, store: Store, tasks: Sequence[str], *, unlabelled: bool
) -> None:
    """Make sure that a store has the labels that are measured, of classes that the model knows.

    Args:
        loaded: The model.
        store: Whose labels.
        tasks: What is measured.
        unlabelled: Whether a store without any of them will do.

    Raises:
        InputError: It does not have them.
    """
    if not unlabelled and not set(tasks) & set(store.tasks):
        known = f"it has {', '.join(store.tasks)}" if store.tasks else "it has none"
        what = f"has no label {', '.join(tasks)}, which the model predicts: {known}"
        mend = "prepare it with labels, or have predictions alone with --split all"
        raise InputError(what, where=str(store.path), mend=mend)
    for task in loaded.header.tasks:
        if task in store.tasks:
            labels_of(loaded.header, store, task)


def _own_split(loaded: LoadedModel, store: Store, name: str) -> NDArray[np.int64]:
    """A split as the model's run had it; other data have their own."""
    if store.digest == loaded.header.data_digest:
        return split_rows(loaded.settings, store, name)
    return store.split(name)


def _split_of(loaded: LoadedModel, store: Store, rows: Integers) -> tuple[str | None, ...]:
    """The split of each row; None for one that the model's fold leaves out."""
    place = np.full(len(store), len(SPLITS))
    for number, name in enumerate(SPLITS):
        place[_own_split(loaded, store, name)] = number
    names = (*SPLITS, None)
    return tuple(names[one] for one in place[rows])


def _predict(
    loaded: LoadedModel, store: Store, rows: Integers, wanted: Wanted, progress: Progress, name: str
) -> Predictions:
    doing = "predicting all subjects" if name == ALL else f"predicting the {name} split"
    progress(doing, 0.0)
    size = wanted.batch_size
    return predict(loaded, store, rows, batch_size=size, tick=lambda done: progress(doing, done))


def _thresholds(
    loaded: LoadedModel, store: Store, wanted: Wanted, progress: Progress
) -> Mapping[str, Threshold]:
    if wanted.threshold != VALIDATION:
        return dict.fromkeys(wanted.tasks, Threshold.at(float(wanted.threshold)))
    rows = rows_by_split(loaded, store, VALIDATION)
    predictions = _predict(loaded, store, rows, wanted, progress, VALIDATION)
    tasks = labelled_rows(loaded, store, predictions)
    return thresholds_of([of for task, of, _ in tasks if task in wanted.tasks])


def _flattered(loaded: LoadedModel, store: Store, wanted: Wanted) -> bool:
    return store.digest == loaded.header.data_digest and wanted.split in ("train", ALL)


def _notes(
    loaded: LoadedModel, store: Store, wanted: Wanted, predictions: Predictions
) -> Iterator[str]:
    """What has to be known to read the figures."""
    if _flattered(loaded, store, wanted):
        which = "the split that" if wanted.split == "train" else "subjects that"
        yield f"the model was trained on {which} it is measured on here: figures flatter it"
    if store.digest == loaded.header.data_digest and wanted.split == VALIDATION:
        yield "validation chose this checkpoint: its figures there flatter it a little"
    if wanted.threshold == VALIDATION and wanted.split in (VALIDATION, ALL):
        yield "the threshold was chosen on subjects that it is measured on here"
    missing = [task for task in wanted.tasks if task not in store.tasks]
    if missing:
        yield f"the data have no label {', '.join(missing)}: what needs it is absent"
    if predictions.without_events:
        number = count(predictions.without_events)
        yield f"subjects without an event that the model knows, so without a prediction: {number}"
