"""What a trained model says of rows of a store: logits, embeddings, and the labels they face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray

from setvae_cli.data.batch import SetBatch
from setvae_cli.errors import InputError, NumericalError
from setvae_cli.evaluation.class_names import labels_of
from setvae_cli.evaluation.sweep import placed
from setvae_cli.evaluation.views import in_order, views_of
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.model import LoadedModel
from setvae_cli.store.reader import Store


@dataclass(frozen=True)
class Predictions:
    """One entry a row that was asked for, ascending.

    Attributes:
        rows: Row numbers.
        logits: One a binary task, one a class of other tasks, side by side; NaN of a row without
            an event that the model knows.
        embedding: In the model's precision; NaN where logits are.
        labels: Class numbers of the model's tasks; -1 where missing, as all are of a task that
            the store does not have.
        label_mask: True where there is a label.
        without_events: Rows without an event that the model knows.
        unmatched: Share of events whose code the model does not know.
    """

    rows: Int64[np.ndarray, "subjects"]
    logits: Float[np.ndarray, "subjects outputs"]
    embedding: Float[np.ndarray, "subjects size"]
    labels: Int64[np.ndarray, "subjects tasks"]
    label_mask: Bool[np.ndarray, "subjects tasks"]
    without_events: int
    unmatched: float


def predict(
    loaded: LoadedModel,
    store: Store,
    rows: NDArray[np.int64],
    *,
    batch_size: int = 64,
    tick: Callable[[float], None] | None = None,
) -> Predictions:
    """Ask a model about rows, where its weights are; posterior means, no noise.

    A row is seen up to the length limit of the model's run, cut as that cut it; where it cut at
    random, the latest sets are kept.

    Args:
        loaded: The model.
        store: Events; of another vocabulary, codes are matched by name.
        rows: Row numbers in any order; each is there once in the result.
        batch_size: Subjects at once.
        tick: Is told which share of the subjects is done.

    Raises:
        InputError: A row is not there, the model knows too few events of the store, or does not
            know a class of a label.
        NumericalError: A prediction is not finite.
    """
    dataset = views_of(loaded, store, rows)
    if not len(dataset):
        what = "the model knows no event of the rows that were asked for"
        raise InputError(what, where=str(store.path), mend="name other data")
    asked = np.unique(np.asarray(rows, dtype=np.int64))
    logits, embedding = (
        beside_missing(asked, dataset.rows, found)
        for found in _computed(loaded, _told(in_order(dataset, batch_size), len(dataset), tick))
    )
    labels = _labels(loaded.header, store, asked)
    return Predictions(
        rows=asked,
        logits=logits,
        embedding=embedding,
        labels=labels,
        label_mask=labels >= 0,
        without_events=len(asked) - len(dataset),
        unmatched=dataset.unmatched,
    )


def beside_missing(
    asked: Int64[np.ndarray, "subjects"],
    seen: Int64[np.ndarray, "seen"],
    found: Float[np.ndarray, "seen size"],
) -> Float[np.ndarray, "subjects size"]:
    """One line a row that was asked for, NaN where none was found.

    Args:
        asked: Row numbers, ascending.
        seen: Those that were found, ascending.
        found: What was found of each.

    Raises:
        NumericalError: What was found is not finite.
    """
    if not np.isfinite(found).all():
        what, mend = "the model gives numbers that are not finite", "take an earlier checkpoint"
        raise NumericalError(what, mend=mend)
    whole = np.full((len(asked), found.shape[1]), np.nan, found.dtype)
    whole[np.searchsorted(asked, seen)] = found
    return whole


def _told(
    batches: Iterable[SetBatch], subjects: int, tick: Callable[[float], None] | None
) -> Iterator[SetBatch]:
    """The batches, each told when the next one is asked for."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch.rows)
        if tick:
            tick(done / subjects)


def _computed(loaded: LoadedModel, batches: Iterable[SetBatch]) -> tuple[Any, Any]:
    """Logits and embeddings of all batches."""
    model, logits, embeddings = loaded.model.eval(), [], []
    with torch.no_grad():
        for batch in batches:
            output = model(placed(batch, model), noise_seed=None)
            logits.append(output.logits.double().cpu())
            embeddings.append(output.embedding.cpu())
    return torch.cat(logits).numpy(), torch.cat(embeddings).numpy()


def _labels(
    header: Header, store: Store, rows: Int64[np.ndarray, "subjects"]
) -> Int64[np.ndarray, "subjects tasks"]:
    labels = np.full((len(rows), len(header.tasks)), -1, dtype=np.int64)
    for place, task in enumerate(header.tasks):
        if task in store.tasks:
            labels[:, place] = labels_of(header, store, task)[rows]
    return labels
