"""Comparisons that take seconds: a tiny model, a tiny cohort, two steps of training."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.folder import ComparisonFolder, Predicted
from setvae_cli.training.starting import open_origin, with_architecture
from tests.tiny import Event, TinySource, records, write
from tests.trained import model_for, write_trained

SUBJECTS = 60
SPLITS = ("train", "train", "validation", "test", "train", "train")
SMALL = {
    "ensemble": 2,
    "with_trees": True,
    "max_epochs": 1,
    "max_steps": 2,
    "scratch_epochs": 1,
    "resamples": 20,
    "device": "cpu",
}


@contextmanager
def few_trees() -> Iterator[None]:
    """A context in which boosting stops after 30 trees, which is enough for so few subjects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setvae_cli.evaluation.baselines.MOST_TREES", 30)
        yield


def split_store(
    folder: Path,
    *,
    changed: Collection[int] = (),
    flipped: Collection[int] = (),
    unlabelled: Collection[int] = (),
    stays: int = 1,
) -> Store:
    """A store with given splits: subject i is in `SPLITS[i % 6]`.

    Args:
        folder: Where it goes.
        changed: Subjects with other values, and with a code twice that everybody else has once.
        flipped: Subjects with the other label.
        unlabelled: Subjects without one.
        stays: Subjects of the same split that are one patient.
    """
    generator = np.random.default_rng(0)
    events = [
        event
        for number in range(SUBJECTS)
        for event in _changed(_events(number, generator), number in changed)
    ]
    splits = [SPLITS[number % len(SPLITS)] for number in range(SUBJECTS)]
    deaths = [
        None if number in unlabelled else int((number % 5 < 2) != (number in flipped))
        for number in range(SUBJECTS)
    ]
    subjects = [f"s{number}" for number in range(SUBJECTS)]
    patients = [f"p{i % len(SPLITS)}-{i // (stays * len(SPLITS))}" for i in range(SUBJECTS)]
    told = records(events, subjects=subjects, split=splits, group_id=patients)
    labels = pa.array(deaths, pa.int32())
    told = replace(told, subjects=told.subjects.append_column("label.death", labels))
    return Store.open(write(TinySource([told]), folder).path)


def numbers_of(split: str) -> set[int]:
    """Of the subjects of a split."""
    return {i for i in range(SUBJECTS) if SPLITS[i % len(SPLITS)] == split}


def comparison_of(
    store: Store, folder: Path, *, trained_seed: int = 0, **options: object
) -> Comparison:
    """A comparison of a random model of a store, kept below a folder."""
    loaded = model_for(store, tasks=False, objective="elbo", max_steps=2, max_epochs=1)
    for number, weight in enumerate(loaded.model.parameters()):
        weight.data += 0.1 * trained_seed * (1 + number % 3)
    trained = write_trained(folder / "trained", loaded, str(store.path)).best_or_last()
    given = {"ckpt": str(trained), "data": str(store.path), **SMALL, **options}
    origin = open_origin(trained)
    settings = with_architecture(FinetuneSettings.from_flat(given), origin.header, trained)
    return Comparison(settings, store, ComparisonFolder(folder / "comparison"))


def said(comparison: Comparison) -> dict[str, Predicted]:
    """What every method of a comparison said, by the key of its job."""
    jobs = [job for job in comparison.extent.jobs() if job.predicts]
    return {job.key: comparison.folder.read(job) for job in jobs}


def _events(number: int, generator: np.random.Generator) -> list[Event]:
    name = f"s{number}"
    hours = range(int(generator.integers(3, 7)))
    drawn = generator.normal(10, 2, size=(len(hours), 2))
    return [
        (name, 0.0, "age", 40.0 + number % 7),
        *(
            (name, 60.0 * hour, code, float(value))
            for hour in hours
            for code, value in zip(("lab", "flow"), drawn[hour], strict=True)
        ),
    ]


def _changed(events: list[Event], is_changed: bool) -> list[Event]:
    if not is_changed:
        return events
    others = [(name, time, code, 3 * (value or 0) - 7) for name, time, code, value in events]
    return [*others, (others[0][0], 120.0, "age", 11.0)]
